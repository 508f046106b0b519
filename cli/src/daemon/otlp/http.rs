//! One request by HTTP/1.1, and what came of it. No more: the collector is another's machine, and is asked for nothing but
//! whether it has taken what it was sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a collector may take for a request, all in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer of which anything is read, in bytes: the first line is what counts.
const LONGEST_ANSWER: usize = 4 << 10;

/// Where to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) SocketAddr);

/// Why something was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// Nobody answered, or not in time.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// What was answered is no HTTP.
    #[error("the answer is not HTTP: {0:?}")]
    NotHttp(String),
    /// The collector refuses what it was sent, and would again.
    #[error("the collector refuses it: {0}")]
    Refused(String),
    /// The collector has no time now (429, 502, 503 and 504, as OTLP says).
    #[error("the collector is busy: {0}")]
    Busy(String),
}

impl Failed {
    /// Whether it makes sense to send the same again.
    pub(crate) fn is_for_now(&self) -> bool {
        matches!(self, Failed::Connection(_) | Failed::Busy(_))
    }
}

impl Target {
    /// Sends a body, and waits until the collector has taken it.
    pub(crate) fn post(self, path: &str, body: &[u8]) -> Result<(), Failed> {
        let Target(address) = self;
        let deadline = Instant::now() + PATIENCE;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: rewire/{}\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        for mut part in [head.as_bytes(), body] {
            while !part.is_empty() {
                stream.set_write_timeout(Some(left(deadline)?))?;
                match stream.write(part) {
                    Ok(written) => part = &part[written..],
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // A collector may answer before it has read all, and close.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        judge(&first_line(&mut stream, deadline)?)
    }
}

/// The time that is left: an error where there is none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// What the answer begins with.
fn first_line(stream: &mut TcpStream, deadline: Instant) -> io::Result<String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while answer.len() < LONGEST_ANSWER && !answer.contains(&b'\n') {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    Ok(String::from_utf8_lossy(line).trim_end().to_owned())
}

/// What a status line means to who has sent something by OTLP.
fn judge(line: &str) -> Result<(), Failed> {
    let rest = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_once(' '));
    let status = rest.map(|(_, status)| status.to_owned());
    let code = status
        .as_deref()
        .and_then(|status| status.get(..3)?.parse::<u16>().ok());
    match (code, status) {
        (Some(200..=299), _) => Ok(()),
        (Some(429 | 502 | 503 | 504), Some(status)) => Err(Failed::Busy(status)),
        (Some(_), Some(status)) => Err(Failed::Refused(status)),
        _ => Err(Failed::NotHttp(line.chars().take(80).collect())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert!(judge("HTTP/1.1 200 OK").is_ok());
        assert!(judge("HTTP/1.0 202 Accepted").is_ok());
        let busy = judge("HTTP/1.1 503 Service Unavailable").unwrap_err();
        assert!(busy.is_for_now(), "{busy}");
        let refused = judge("HTTP/1.1 400 Bad Request").unwrap_err();
        assert!(!refused.is_for_now());
        assert_eq!(
            refused.to_string(),
            "the collector refuses it: 400 Bad Request"
        );
        for no_http in [
            "",
            "SSH-2.0-x",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 2é",
            "HTTP/2 200",
        ] {
            let error = judge(no_http).unwrap_err();
            assert!(matches!(error, Failed::NotHttp(_)), "{no_http}");
        }
    }

    #[test]
    fn a_body_arrives_whole_and_who_is_not_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target(listener.local_addr().unwrap());
        let body: Vec<u8> = (0..1 << 20).map(|n| n as u8).collect();
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| target.post("/v1/metrics", &body));
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = vec![0; 64 << 10];
            let whole = loop {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
                let end = request.windows(4).position(|w| w == b"\r\n\r\n");
                if let Some(end) = end.filter(|end| request.len() - end - 4 >= body.len()) {
                    break request.split_off(end + 4);
                }
                assert_ne!(count, 0, "it ends early");
            };
            assert!(whole == body);
            let head = String::from_utf8(request).unwrap();
            assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("Content-Type: application/x-protobuf\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            sent.join().unwrap().unwrap();
        });
        drop(listener);
        let error = target.post("/v1/metrics", b"").unwrap_err();
        assert!(error.is_for_now(), "{error}");
    }
}
