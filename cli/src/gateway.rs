//! The client of a running gateway: one unix socket, one JSON object a line, each request answered by one line.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::{Code, Failure};

/// The longest answer that is taken, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// How long a gateway may take to answer a question: a look at a million routes takes it a part of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the gateway at a socket, if one runs there, for what a query says: its answer, which must be of this version.
///
/// # Errors
///
/// Why there is no answer, in words.
pub(crate) fn ask<T: DeserializeOwned>(
    socket: &Path,
    request: &str,
    query: &impl Serialize,
    version: u32,
) -> Result<Option<T>, String> {
    ask_within(socket, request, query, version, PATIENCE)
}

/// As [`ask`], of what takes the gateway up to `patience`.
///
/// # Errors
///
/// Why there is no answer, in words.
pub(crate) fn ask_within<T: DeserializeOwned>(
    socket: &Path,
    request: &str,
    query: &impl Serialize,
    version: u32,
    patience: Duration,
) -> Result<Option<T>, String> {
    let gateway = Gateway::connect(socket).map_err(|error| error.to_string())?;
    let Some(mut gateway) = gateway else {
        return Ok(None);
    };
    let mut message = json!({ "request": request });
    if let (Some(message), Ok(Value::Object(query))) =
        (message.as_object_mut(), serde_json::to_value(query))
    {
        message.extend(query);
    }
    let answer = gateway
        .request(&message, patience)
        .map_err(|error| error.to_string())?;
    if let Some(error) = answer.get("error") {
        return Err(format!("the gateway refuses: {error}"));
    }
    if answer.get("version") != Some(&json!(version)) {
        return Err("the gateway is of another version".to_owned());
    }
    let answer = serde_json::from_value(answer)
        .map_err(|error| format!("the gateway's answer to {request} cannot be read: {error}"))?;
    Ok(Some(answer))
}

/// What is said where no gateway runs that could be asked.
pub(crate) fn no_gateway(socket: &Path) -> Failure {
    let message = format!("no gateway is running on {}", socket.display());
    Failure::new(Code::NoGateway, message)
        .help("start one with `rewire run`, or name its socket with --socket")
}

/// Why the gateway gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// The socket is there, and cannot be used.
    #[error("cannot connect to the gateway at {}: {source}", .path.display())]
    Connect {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Sending or receiving failed.
    #[error("the connection to the gateway at {} failed: {source}", .path.display())]
    Connection {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The answer did not come in time.
    #[error("the gateway at {} has not answered in {} s", .path.display(), .timeout.as_secs_f64())]
    TimedOut { path: PathBuf, timeout: Duration },
    /// The gateway went away without an answer.
    #[error("the gateway at {} closed the connection without an answer", .path.display())]
    Closed { path: PathBuf },
    /// The answer is no JSON object on one line.
    #[error("the gateway at {} gave an answer that cannot be read: {why}", .path.display())]
    Answer { path: PathBuf, why: String },
}

/// A connection to the gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    path: PathBuf,
    stream: UnixStream,
}

impl Gateway {
    /// Connects; `None` where nobody listens.
    pub(crate) fn connect(path: &Path) -> Result<Option<Gateway>, GatewayError> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Some(Gateway {
                path: path.to_owned(),
                stream,
            })),
            // No socket, or one that a gateway left behind when it died.
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(source) => Err(GatewayError::Connect {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Sends a request and waits for its answer, all within `timeout`.
    pub(crate) fn request(
        &mut self,
        request: &Value,
        timeout: Duration,
    ) -> Result<Value, GatewayError> {
        let deadline = Instant::now() + timeout;
        self.stream
            .set_write_timeout(Some(timeout.max(Duration::from_millis(1))))
            .and_then(|()| self.stream.write_all(format!("{request}\n").as_bytes()))
            .map_err(|source| self.failed(source, timeout))?;
        let line = self.line(deadline, timeout)?;
        let answer = serde_json::from_slice::<Value>(&line).map_err(|e| e.to_string());
        match answer {
            Ok(answer) if answer.is_object() => Ok(answer),
            Ok(_) => Err(self.unreadable("expected a JSON object")),
            Err(why) => Err(self.unreadable(&why)),
        }
    }

    /// The next line without its end. What follows it is lost: a request has one line for its answer.
    fn line(&mut self, deadline: Instant, timeout: Duration) -> Result<Vec<u8>, GatewayError> {
        let mut line = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed(ErrorKind::TimedOut.into(), timeout));
            }
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut buffer));
            let count = match read {
                Ok(0) => {
                    let path = self.path.clone();
                    return Err(GatewayError::Closed { path });
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error, timeout)),
            };
            let received = &buffer[..count];
            if let Some(end) = received.iter().position(|b| *b == b'\n') {
                line.extend_from_slice(&received[..end]);
                return Ok(line);
            }
            line.extend_from_slice(received);
            if line.len() > LONGEST_ANSWER {
                return Err(self.unreadable("it does not end"));
            }
        }
    }

    fn failed(&self, source: std::io::Error, timeout: Duration) -> GatewayError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => GatewayError::TimedOut { path, timeout },
            _ => GatewayError::Connection { path, source },
        }
    }

    fn unreadable(&self, why: &str) -> GatewayError {
        GatewayError::Answer {
            path: self.path.clone(),
            why: why.to_owned(),
        }
    }
}
