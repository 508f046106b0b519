//! The gateway's unix socket: who may ask it something, and how much of its time that may take.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Daemon;
use super::clients::{self, Service};
use super::protocol::{Request, refusal};
use super::record;
use crate::failure::{Code, Failure};

/// The longest request, in bytes.
const LONGEST_REQUEST: usize = 64 << 10;
/// How long a connection may take to send its next request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a peer may take to read its answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The socket, where only its owner may ask. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Endpoint {
    path: PathBuf,
    /// Tells our socket from one that somebody has put in its place.
    inode: u64,
}

/// Binds the socket. What a gateway that is gone has left behind is replaced; a gateway that answers is not.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, Endpoint), Failure> {
    make_room(path)?;
    let cannot = |error: io::Error| {
        Failure::new(
            Code::Failed,
            format!("cannot listen on {}: {error}", path.display()),
        )
    };
    // Made under another name and put in place whole: whoever finds the socket finds it listening, and ours alone.
    let name = format!(".{}.sock", std::process::id());
    let made = path.with_file_name(name);
    let _ = fs::remove_file(&made);
    let listener = UnixListener::bind(&made).map_err(cannot)?;
    let in_place = (|| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let inode = fs::symlink_metadata(&made)?.ino();
        fs::rename(&made, path)?;
        Ok(inode)
    })();
    match in_place {
        Ok(inode) => Ok((
            listener,
            Endpoint {
                path: path.to_owned(),
                inode,
            },
        )),
        Err(error) => {
            let _ = fs::remove_file(&made);
            Err(cannot(error))
        }
    }
}

/// Answers requests on the socket.
pub(crate) struct Requests<'a>(pub(crate) &'a Daemon);

impl Service<UnixStream> for Requests<'_> {
    const NAME: &'static str = "connection";
    const MOST: usize = 64;

    fn talk(&self, stream: UnixStream) {
        // A peer that goes away, or is too slow, has ended its connection itself.
        let _ = Peer::new(stream).and_then(|mut peer| peer.converse(self.0));
    }

    fn refuse(&self, stream: UnixStream) {
        let _ = Peer::new(stream)
            .and_then(|mut peer| peer.say(&refusal("there are too many connections")));
    }
}

/// Refuses where a gateway answers, or where something else than a socket is in the way.
fn make_room(path: &Path) -> Result<(), Failure> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let shown = path.display();
    if !found.file_type().is_socket() {
        let message = format!("cannot listen on {shown}: there is something else than a socket");
        return Err(Failure::new(Code::Failed, message)
            .help("it was not touched; name another place with --socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let message = format!("another gateway is listening on {shown}");
            Err(Failure::new(Code::AlreadyRunning, message)
                .help("`rewire status` shows what it does"))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!("replacing the socket that a gateway has left behind at {shown}");
            Ok(())
        }
        Err(error) => Err(Failure::new(
            Code::Failed,
            format!("cannot listen on {shown}: {error}"),
        )),
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the socket {} could not be removed", self.path.display());
        }
    }
}

/// The other end of one connection.
struct Peer {
    stream: UnixStream,
    /// What was received and not used yet.
    received: Vec<u8>,
}

impl Peer {
    fn new(stream: UnixStream) -> io::Result<Peer> {
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        Ok(Peer {
            stream,
            received: Vec::new(),
        })
    }

    /// Answers requests until there are no more.
    fn converse(&mut self, daemon: &Daemon) -> io::Result<()> {
        while let Some(line) = self.line()? {
            let answer = match Request::read(&line) {
                Ok(Request::Record(query)) => return self.record(daemon, &query),
                Ok(request) => request.answer(daemon, || self.is_gone()),
                Err(why) => Some(refusal(&why)),
            };
            match answer {
                Some(answer) => self.say(&answer)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A recording: its connection is for nothing else.
    fn record(&mut self, daemon: &Daemon, query: &record::Query) -> io::Result<()> {
        let mut said = self.stream.try_clone()?;
        daemon.record(
            query,
            |line| said.write_all(format!("{line}\n").as_bytes()),
            || self.is_gone(),
        )
    }

    fn say(&mut self, answer: &Value) -> io::Result<()> {
        self.stream.write_all(format!("{answer}\n").as_bytes())
    }

    /// The next line without its end; none where the peer has no more.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + REQUEST_TIME;
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.received[looked_at..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let rest = self.received.split_off(looked_at + end + 1);
                let mut line = std::mem::replace(&mut self.received, rest);
                line.pop();
                return Ok(Some(line));
            }
            looked_at = self.received.len();
            if looked_at > LONGEST_REQUEST {
                self.say(&refusal(&format!(
                    "the request is longer than {LONGEST_REQUEST} bytes"
                )))?;
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            if self.receive(left)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Receives something; 0 where the peer has said its last.
    fn receive(&mut self, timeout: Duration) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(timeout))?;
        clients::receive(&mut self.stream, &mut self.received)
    }

    /// Whether the peer has hung up, while it waits for an answer. One that sends on and on has not the patience either.
    fn is_gone(&mut self) -> bool {
        match self.receive(Duration::from_millis(1)) {
            Ok(count) => count == 0 || self.received.len() > LONGEST_REQUEST,
            Err(error) => ![ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
        }
    }
}
