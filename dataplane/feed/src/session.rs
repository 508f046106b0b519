//! One session: a connection, and the bytes of it that are not used yet.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;

use crate::counters::SourceCounters;
use crate::decode::decode;
use crate::frame::{self, FrameError, LONGEST_FRAME};
use crate::update::Update;

/// Bytes that are received at once, at most: some thousands of routes, and never less than a frame.
const BUFFER: usize = 4 * (LONGEST_FRAME + 1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) number: u32,
    buffer: Box<[u8]>,
    /// What is in the buffer and not used yet.
    used: std::ops::Range<usize>,
}

/// What is left to do with a session.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing until more comes.
    Waits,
    /// There are whole frames left, or there may be more to receive.
    More,
    /// It is over, in these words.
    Over(String),
}

impl Session {
    /// Begins on a connection that was just taken.
    pub(crate) fn begin(stream: TcpStream, peer: SocketAddr, number: u32) -> io::Result<Session> {
        stream.set_nonblocking(true)?;
        // A daemon whose machine is gone never says so.
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(&stream, std::time::Duration::from_secs(30))?;
        Ok(Session {
            stream,
            peer,
            number,
            buffer: vec![0; BUFFER].into(),
            used: 0..0,
        })
    }

    /// Receives what is there, and reads frames until there are `most` updates or no more bytes. A frame is never cut in two: the
    /// daemon puts into one what belongs together, as when a route changes.
    pub(crate) fn receive(
        &mut self,
        updates: &mut Vec<Update>,
        most: usize,
        counters: &SourceCounters,
    ) -> Progress {
        match self.frames(updates, most, counters) {
            Err(error) => {
                counters.framing_errors.fetch_add(1, Relaxed);
                return Progress::Over(error.to_string());
            }
            Ok(true) => return Progress::More,
            Ok(false) => {}
        }
        self.buffer.copy_within(self.used.clone(), 0);
        self.used = 0..self.used.len();
        match self.stream.read(&mut self.buffer[self.used.end..]) {
            Ok(0) if self.used.is_empty() => Progress::Over("the daemon has closed it".to_owned()),
            Ok(0) => Progress::Over("the daemon has closed it within a frame".to_owned()),
            Ok(count) => {
                counters.bytes.fetch_add(count as u64, Relaxed);
                self.used.end += count;
                match self.frames(updates, most, counters) {
                    Ok(_) => Progress::More,
                    Err(error) => {
                        counters.framing_errors.fetch_add(1, Relaxed);
                        Progress::Over(error.to_string())
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Waits,
            Err(error) if error.kind() == ErrorKind::Interrupted => Progress::More,
            Err(error) => Progress::Over(error.to_string()),
        }
    }

    /// Reads whole frames; says whether there were enough updates before they came to an end.
    fn frames(
        &mut self,
        updates: &mut Vec<Update>,
        most: usize,
        counters: &SourceCounters,
    ) -> Result<bool, FrameError> {
        let mut messages = 0;
        let enough = loop {
            if updates.len() >= most {
                break Ok(true);
            }
            match frame::first(&self.buffer[self.used.clone()]) {
                Ok(Some((bytes, length))) => {
                    messages += decode(bytes, updates, |reason| counters.ignore(reason));
                    self.used.start += length;
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        counters.messages.fetch_add(messages, Relaxed);
        enough
    }
}
