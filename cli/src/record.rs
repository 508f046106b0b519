//! What a gateway says of a recording, line by line, and the folder that it goes into.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::daemon::record::{Began, Query, VERSION};
use crate::failure::{Code, Failure};
use crate::gateway::no_gateway;

/// How long a line is waited for before it is looked whether it is enough.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the gateway may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of a recording.
pub(crate) struct Stream {
    path: PathBuf,
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
    /// When the gateway has had long enough to end.
    until: Option<Instant>,
}

/// What came of waiting for a line.
pub(crate) enum Next<T> {
    Line(T),
    /// Nothing yet.
    Quiet,
}

impl Stream {
    /// Begins a recording.
    pub(crate) fn begin(socket: &Path, query: &Query) -> Result<(Stream, Began), Failure> {
        let connected = UnixStream::connect(socket);
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind()) =>
            {
                return Err(no_gateway(socket));
            }
            Err(error) => return Err(failed(socket, &error.to_string())),
        };
        let mut request = json!(query);
        request["request"] = json!("record");
        let sent = stream
            .set_read_timeout(Some(LOOK_EVERY))
            .and_then(|()| stream.write_all(format!("{request}\n").as_bytes()));
        sent.map_err(|error| failed(socket, &error.to_string()))?;
        let mut stream = Stream {
            path: socket.to_owned(),
            reader: BufReader::with_capacity(1 << 20, stream),
            line: Vec::new(),
            until: Some(Instant::now() + PATIENCE),
        };
        let first = loop {
            if let Next::Line(first) = stream.next::<Value>()? {
                break first;
            }
        };
        stream.until = None;
        if let Some(error) = first.get("error") {
            return Err(failed(socket, &format!("it refuses: {error}")));
        }
        if first.get("version") != Some(&json!(VERSION)) {
            return Err(failed(socket, "it is of another version"));
        }
        let began =
            serde_json::from_value(first).map_err(|error| failed(socket, &error.to_string()))?;
        Ok((stream, began))
    }

    /// The next line, if it comes soon.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Next<T>, Failure> {
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {
                let read = serde_json::from_slice(&self.line);
                self.line.clear();
                let line = read.map_err(|error| failed(&self.path, &error.to_string()))?;
                Ok(Next::Line(line))
            }
            Ok(_) => Err(failed(
                &self.path,
                "it closed the connection before the end",
            )),
            Err(error)
                if [
                    ErrorKind::WouldBlock,
                    ErrorKind::TimedOut,
                    ErrorKind::Interrupted,
                ]
                .contains(&error.kind()) =>
            {
                match self.until.is_some_and(|until| Instant::now() >= until) {
                    true => Err(failed(&self.path, "it does not answer")),
                    false => Ok(Next::Quiet),
                }
            }
            Err(error) => Err(failed(&self.path, &error.to_string())),
        }
    }

    /// It is enough: what there is by now is said still.
    pub(crate) fn end(&mut self) {
        self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        // Where the gateway has gone away, the next line says so.
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
    }
}

fn failed(socket: &Path, why: &str) -> Failure {
    let message = format!(
        "the recording of the gateway at {} failed: {why}",
        socket.display()
    );
    Failure::new(Code::Failed, message)
}
