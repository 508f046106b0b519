//! The web console: a page that shows what the gateway does, on loopback alone. It only reads.
//!
//! The page is part of the program and asks nobody but this server; what it shows are the answers of [`api`], which are
//! those of the unix socket. [Why a listener of its own](../../../docs/decisions/0041-a-console-in-the-gateway.md).

mod api;
mod assets;
mod http;
mod trace;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

use rewire_configdb::Store;

use super::Daemon;
use super::clients::Service;
use crate::failure::{Code, Failure};
use http::{Answer, Conversation, Request};

/// Where the console is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Off,
    /// Where nobody said so: where that is taken, the gateway does without.
    Usual(SocketAddr),
    /// Where somebody said so.
    At(SocketAddr),
}

/// Takes the address, if there is to be a console.
pub(crate) fn bind(place: Where) -> Result<Option<(TcpListener, SocketAddr)>, Failure> {
    let listen = |address: SocketAddr| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    let cannot =
        |address, error: std::io::Error| format!("cannot serve the console on {address}: {error}");
    match place {
        Where::Off => Ok(None),
        Where::At(address) => match listen(address) {
            Ok(bound) => Ok(Some(bound)),
            Err(error) => Err(Failure::new(Code::Failed, cannot(address, error))
                .help("take another address with --console, or turn it off with --console off")),
        },
        // A second gateway on one machine is no reason to forward nothing.
        Where::Usual(address) => match listen(address) {
            Ok(bound) => Ok(Some(bound)),
            Err(error) => {
                tracing::warn!("{}", cannot(address, error));
                Ok(None)
            }
        },
    }
}

/// Answers browsers.
pub(crate) struct Console<'a> {
    daemon: &'a Daemon,
    /// Read by one at a time.
    store: Mutex<Store>,
    /// Held by whoever looks at connections: workers are asked for one look at a time.
    looking: Mutex<()>,
    /// Held by whoever traces a packet: one walks at a time.
    tracing: Mutex<()>,
}

impl<'a> Console<'a> {
    pub(crate) fn new(daemon: &'a Daemon) -> Result<Self, Failure> {
        Ok(Console {
            daemon,
            store: Mutex::new(Store::open_read_only(&daemon.store)?),
            looking: Mutex::default(),
            tracing: Mutex::default(),
        })
    }

    fn answer(&self, request: &Request) -> Answer {
        if request.method != "GET" {
            return Answer::plain(405, "only GET");
        }
        if !request.header("host").is_some_and(is_loopback) {
            return Answer::plain(
                403,
                "the console is asked by the name of this machine: localhost",
            );
        }
        match request.path.strip_prefix("/api/") {
            Some(_) if is_foreign(request) => Answer::plain(403, "another site's page may not ask"),
            Some(what) => self.ask(what, &request.query),
            None => assets::find(&request.path)
                .unwrap_or_else(|| Answer::plain(404, "there is no such page")),
        }
    }
}

impl Service<TcpStream> for Console<'_> {
    const NAME: &'static str = "console";
    const MOST: usize = 32;

    fn talk(&self, stream: TcpStream) {
        // A client that goes away, or is too slow, has ended its connection itself.
        let _ = Conversation::new(stream)
            .and_then(|mut conversation| conversation.converse(|request| self.answer(request)));
    }

    fn refuse(&self, stream: TcpStream) {
        let _ = Conversation::new(stream).and_then(|mut conversation| {
            conversation.say(&Answer::plain(503, "there are too many connections"), false)
        });
    }
}

/// Whether a Host header names this machine as it names itself. A page of another site can have its own name lead here
/// (DNS rebinding), but that is the name that its requests carry. Any port will do: ssh forwards from another one.
fn is_loopback(host: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let name = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(address) => address,
        None => name,
    };
    let is_loopback = |address: std::net::IpAddr| address.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Whether a browser says that a page from elsewhere asks. It would not see the answer; but looking costs something.
fn is_foreign(request: &Request) -> bool {
    let site = request.header("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_names_are_taken() {
        for host in [
            "localhost",
            "LOCALHOST:9475",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.9.9.9:80",
            "[::1]:9475",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "127.0.0.1.example.org:9475",
            "10.0.0.1",
            "[2001:db8::1]:80",
            "localhost.",
            ":80",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
