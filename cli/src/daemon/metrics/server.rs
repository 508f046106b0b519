//! Answers scrapes.

use std::fmt;
use std::io::Cursor;
use std::net::{SocketAddr, TcpListener};

use tiny_http::{Header, Method, Response};

use super::open_metrics::{self, CONTENT_TYPE};
use super::snapshot;
use crate::daemon::Daemon;

/// A metrics server that does not serve yet.
pub(crate) struct Server {
    server: tiny_http::Server,
    /// The address that it has taken.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Takes the address, or says why not.
    pub(crate) fn bind(address: SocketAddr) -> Result<Server, String> {
        let cannot =
            |error: &dyn fmt::Display| format!("cannot serve metrics on {address}: {error}");
        let listener = TcpListener::bind(address).map_err(|error| cannot(&error))?;
        let address = listener.local_addr().map_err(|error| cannot(&error))?;
        let server =
            tiny_http::Server::from_listener(listener, None).map_err(|error| cannot(&error))?;
        Ok(Server { server, address })
    }

    /// Answers until [`stop`](Self::stop), and says so each time.
    pub(crate) fn serve(&self, daemon: &Daemon, mut answered: impl FnMut()) {
        while let Ok(request) = self.server.recv() {
            let answer = match (request.method(), request.url()) {
                (Method::Get | Method::Head, "/metrics") => {
                    let text = open_metrics::write(&snapshot(daemon));
                    typed(200, text, CONTENT_TYPE)
                }
                (_, "/metrics") => plain(405, "only GET\n"),
                (Method::Get, "/") => plain(200, "metrics are at /metrics\n"),
                _ => plain(404, "there is only /metrics\n"),
            };
            match request.respond(answer) {
                Ok(()) => answered(),
                Err(error) => tracing::debug!(%error, "a scrape was not answered"),
            }
        }
    }

    /// Lets `serve` return.
    pub(crate) fn stop(&self) {
        self.server.unblock();
    }
}

fn plain(code: u16, body: &str) -> Response<Cursor<Vec<u8>>> {
    typed(code, body.to_owned(), "text/plain; charset=utf-8")
}

fn typed(code: u16, body: String, kind: &str) -> Response<Cursor<Vec<u8>>> {
    let response = Response::from_string(body).with_status_code(code);
    match Header::from_bytes("Content-Type", kind) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
