//! Datagrams to a collector: nobody answers, so what can be known is whether the system took them, and whether somebody said that
//! nobody is there.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{Exporter, ExporterConfig};

/// How long a datagram may wait for room in the socket.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long until a socket is tried again that could not be had.
const RETRY: Duration = Duration::from_secs(1);
/// Datagrams that go at once, and how long the next ones wait: more than a collector's socket holds would be lost there.
const AT_ONCE: u32 = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// The way to a collector.
pub(super) struct Datagrams<'a> {
    exporter: &'a Exporter,
    config: &'a ExporterConfig,
    socket: Option<UdpSocket>,
    next_try: Instant,
    at_once: u32,
}

impl<'a> Datagrams<'a> {
    /// To the exporter's address.
    pub(super) fn new(exporter: &'a Exporter, config: &'a ExporterConfig) -> Self {
        Datagrams {
            exporter,
            config,
            socket: None,
            next_try: Instant::now(),
            at_once: 0,
        }
    }

    /// Sends one; false where it has not gone: the socket cannot be had or has no room, or nobody has taken the one before.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.at_once += 1;
        if self.at_once > AT_ONCE {
            self.at_once = 0;
            std::thread::sleep(PAUSE);
        }
        match self.try_send(bytes) {
            None => false,
            Some(Ok(())) => {
                self.exporter.sent.fetch_add(1, Relaxed);
                self.exporter.bytes.fetch_add(bytes.len() as u64, Relaxed);
                true
            }
            Some(Err(error)) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Whether somebody has said that nobody takes what was sent last.
    pub(super) fn is_refused(&mut self) -> bool {
        let error = match &self.socket {
            Some(socket) => socket.take_error().ok().flatten(),
            None => return true,
        };
        if let Some(error) = &error {
            self.failed(error);
        }
        error.is_some()
    }

    /// The collector seems to be there; says so where it is news.
    pub(super) fn is_up(&self) {
        if !self.exporter.up.swap(true, Relaxed) {
            let (name, address) = (&self.config.name, self.config.address);
            tracing::info!(exporter = name, %address, "datagrams go to the collector");
        }
    }

    /// Counts a failure; says it where it is news.
    fn failed(&mut self, error: &Error) {
        // A socket that was refused is as good as ever; whatever else it was may be mended by another.
        if error.kind() != ErrorKind::ConnectionRefused {
            self.socket = None;
            self.next_try = Instant::now() + RETRY;
        }
        let was_up = self.exporter.up.swap(false, Relaxed);
        let failed = self.exporter.failed.fetch_add(1, Relaxed);
        if was_up || failed == 0 {
            let (name, address) = (&self.config.name, self.config.address);
            tracing::warn!(exporter = name, %address, "nobody takes what is sent: {error}");
        }
    }

    /// The address that datagrams come from; none while the socket is not to be had.
    pub(super) fn local_address(&mut self) -> Option<IpAddr> {
        if let Err(error) = self.open()? {
            self.failed(&error);
        }
        let address = self.socket.as_ref()?.local_addr().ok()?;
        Some(address.ip())
    }

    /// Sees to it that there is a socket; none where it is too early to try again.
    fn open(&mut self) -> Option<Result<(), Error>> {
        if self.socket.is_none() {
            if Instant::now() < self.next_try {
                return None;
            }
            match connect(self.config.address) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(()))
    }

    /// None while the socket is not to be had.
    fn try_send(&mut self, bytes: &[u8]) -> Option<Result<(), Error>> {
        if let Err(error) = self.open()? {
            return Some(Err(error));
        }
        let socket = self.socket.as_ref()?;
        Some(socket.send(bytes).map(|_| ()))
    }
}

fn connect(address: SocketAddr) -> Result<UdpSocket, Error> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    Ok(socket)
}
