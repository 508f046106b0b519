//! As much of HTTP/1.1 as a page that only reads needs: GET, one request after the other on a connection, answers whose
//! length is known (RFC 9112).
//!
//! Written here because the server that metrics use starts a thread for every connection and waits for each without end:
//! whoever can reach the port could take all of the gateway's memory. Here a client has a bounded head, bounded time, and
//! one of a bounded number of places.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 8 << 10;
/// How long a connection may stay without a request.
const IDLE_TIME: Duration = Duration::from_secs(20);
/// How long a request may take to arrive, once it has begun.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a client may take to read a part of its answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without its query, as it was sent.
    pub(crate) path: String,
    /// Names and values, decoded.
    pub(crate) query: Vec<(String, String)>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// Whether the connection goes on after the answer.
    pub(crate) keeps: bool,
}

impl Request {
    /// The value of a header; its name is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a head without the empty line at its end.
    fn parse(head: &[u8]) -> Result<Request, &'static str> {
        let head = std::str::from_utf8(head).map_err(|_| "the request is no UTF-8")?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let parts = (words.next(), words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some(version), None) = parts else {
            return Err("the request line has not three words");
        };
        let persistent = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err("only HTTP/1.1 is spoken here"),
        };
        if !target.starts_with('/') {
            return Err("the target of a request is a path");
        }
        let headers: Vec<_> = lines.map(header).collect::<Result<_, _>>()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: parameters(query)?,
            headers,
            keeps: persistent,
        };
        let has_body = request.header("transfer-encoding").is_some()
            || request
                .header("content-length")
                .is_some_and(|length| length != "0");
        if has_body {
            return Err("a request has no body here");
        }
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        request.keeps &= !request.header("connection").is_some_and(closes);
        Ok(request)
    }
}

fn header(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("a header has no name");
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// The parameters of a query, as forms write them: `a=1&b=x%20y+z`.
fn parameters(query: &str) -> Result<Vec<(String, String)>, &'static str> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// What percent signs and plus signs stand for.
fn decode(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "the query is not well formed";
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or(WRONG)?;
                u8::try_from(high << 4 | low).map_err(|_| WRONG)?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| WRONG)
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A line of text.
    pub(crate) fn plain(code: u16, text: &str) -> Answer {
        Answer {
            code,
            content_type: "text/plain; charset=utf-8",
            body: format!("{text}\n").into_bytes(),
        }
    }

    /// The bytes that go to the client. Nothing of it is kept anywhere, framed, or loaded with what is not from here.
    fn encode(&self, keeps: bool) -> Vec<u8> {
        let reason = match self.code {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Error",
        };
        let allow = match self.code {
            405 => "Allow: GET\r\n",
            _ => "",
        };
        let connection = if keeps { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\n\
             Content-Type: {}\r\n\
             Content-Length: {}\r\n\
             {allow}Connection: {connection}\r\n\
             Cache-Control: no-store\r\n\
             Content-Security-Policy: default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\n\
             Referrer-Policy: no-referrer\r\n\
             X-Content-Type-Options: nosniff\r\n\
             \r\n",
            self.code,
            self.content_type,
            self.body.len(),
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A client's connection.
pub(crate) struct Conversation {
    stream: TcpStream,
    /// What was received and not used yet.
    received: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Conversation> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        Ok(Conversation {
            stream,
            received: Vec::new(),
        })
    }

    /// Answers requests until there are no more, or until one is none.
    pub(crate) fn converse(
        &mut self,
        mut answer: impl FnMut(&Request) -> Answer,
    ) -> io::Result<()> {
        while let Some(head) = self.head()? {
            match Request::parse(&head) {
                Ok(request) => {
                    self.say(&answer(&request), request.keeps)?;
                    if !request.keeps {
                        return Ok(());
                    }
                }
                Err(why) => return self.say(&Answer::plain(400, why), false),
            }
        }
        Ok(())
    }

    /// Sends an answer.
    pub(crate) fn say(&mut self, answer: &Answer, keeps: bool) -> io::Result<()> {
        self.stream.write_all(&answer.encode(keeps))
    }

    /// The next head, without the empty line behind it; none where the client has no more.
    fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        const END: &[u8] = b"\r\n\r\n";
        let mut deadline = Instant::now()
            + match self.received.is_empty() {
                true => IDLE_TIME,
                false => REQUEST_TIME,
            };
        loop {
            let end = self
                .received
                .windows(END.len())
                .position(|four| four == END);
            if let Some(end) = end {
                let rest = self.received.split_off(end + END.len());
                let mut head = std::mem::replace(&mut self.received, rest);
                head.truncate(end);
                return Ok(Some(head));
            }
            if self.received.len() > LONGEST_HEAD {
                self.say(&Answer::plain(431, "the request is too long"), false)?;
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let is_first = self.received.is_empty();
            if self.receive(left)? == 0 {
                return Ok(None);
            }
            if is_first {
                deadline = Instant::now() + REQUEST_TIME;
            }
        }
    }

    /// Receives something; 0 where the client has said its last.
    fn receive(&mut self, timeout: Duration) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(timeout))?;
        crate::daemon::clients::receive(&mut self.stream, &mut self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request, &'static str> {
        Request::parse(head.as_bytes())
    }

    #[test]
    fn a_browsers_request_is_read() {
        let head = "GET /api/connections?vpc=blue&address=10.0.0.0%2F8&text=a+b HTTP/1.1\r\n\
                    Host: 127.0.0.1:9475\r\nACCEPT: */*";
        let request = parse(head).unwrap();
        assert_eq!(
            (&*request.method, &*request.path),
            ("GET", "/api/connections")
        );
        let query = [("vpc", "blue"), ("address", "10.0.0.0/8"), ("text", "a b")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(request.query, query);
        assert_eq!(request.header("host"), Some("127.0.0.1:9475"));
        assert_eq!(request.header("accept"), Some("*/*"));
        assert!(request.keeps);
        assert!(!parse("GET / HTTP/1.1\r\nConnection: Close").unwrap().keeps);
        assert!(!parse("GET / HTTP/1.0").unwrap().keeps);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (head, why) in [
            ("", "the request line has not three words"),
            ("GET /", "the request line has not three words"),
            ("GET / x HTTP/1.1", "the request line has not three words"),
            ("GET / HTTP/2", "only HTTP/1.1 is spoken here"),
            (
                "GET http://elsewhere/ HTTP/1.1",
                "the target of a request is a path",
            ),
            ("GET / HTTP/1.1\r\nnothing", "a header has no colon"),
            ("GET / HTTP/1.1\r\n folded: x", "a header has no name"),
            (
                "GET / HTTP/1.1\r\ncontent-length: 3",
                "a request has no body here",
            ),
            (
                "GET / HTTP/1.1\r\ntransfer-encoding: chunked",
                "a request has no body here",
            ),
            ("GET /?a=%2 HTTP/1.1", "the query is not well formed"),
            ("GET /?a=%ff HTTP/1.1", "the query is not well formed"),
        ] {
            assert_eq!(parse(head), Err(why), "{head}");
        }
        assert_eq!(
            Request::parse(b"GET /\xff HTTP/1.1"),
            Err("the request is no UTF-8")
        );
    }

    #[test]
    fn an_answer_says_what_it_may_be_used_for() {
        let bytes = Answer::plain(405, "only GET").encode(false);
        let text = String::from_utf8(bytes).unwrap();
        insta::assert_snapshot!(text.replace("\r\n", "\n"));
    }
}
