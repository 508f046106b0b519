//! A bundle of what is recorded of a running gateway, as it is being written.

use std::io::Write;
use std::path::Path;

use super::error::BundleError;
use super::manifest::{
    CONNECTIONS, JOURNAL, Manifest, PACKETS, ROUTES, Recorded, Revisions, Scheduled, Settings,
    format_of,
};
use super::routes;
use super::write::{self, Digested};
use crate::capture::{Direction, Recording};
use crate::heard::HeardRoute;
use crate::history::History;
use crate::options::{KnownNeighbor, Options};

/// A recording on its way. Dropped before it is finished, it goes.
pub struct Draft {
    draft: write::Draft,
    packets: Recording<Digested>,
    /// There once something was heard.
    routes: Option<Digested>,
    heard: u64,
    connections: Option<Digested>,
    received: u64,
    left: u64,
    bytes: u64,
}

impl Draft {
    /// Begins one, in a folder that is not there yet.
    ///
    /// # Errors
    ///
    /// [`BundleError::Exists`], [`BundleError::Write`].
    pub fn begin(place: &Path) -> Result<Draft, BundleError> {
        let draft = write::Draft::begin(place)?;
        let failed = |source| draft.failed(PACKETS, source);
        let sink = draft.open(PACKETS).map_err(failed)?;
        let packets = Recording::new(sink).map_err(failed)?;
        Ok(Draft {
            draft,
            packets,
            routes: None,
            heard: 0,
            connections: None,
            received: 0,
            left: 0,
            bytes: 0,
        })
    }

    /// Adds a frame of so many bytes, of which `bytes` are the first, with its time in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`BundleError::Write`].
    pub fn frame(
        &mut self,
        interface: &str,
        leaves: bool,
        nanoseconds: u64,
        (bytes, length): (&[u8], usize),
    ) -> Result<(), BundleError> {
        let direction = match leaves {
            true => Direction::Out,
            false => Direction::In,
        };
        match leaves {
            true => self.left += 1,
            false => self.received += 1,
        }
        self.bytes += bytes.len() as u64;
        let written = self
            .packets
            .write(interface, direction, nanoseconds, (bytes, length));
        written.map_err(|source| self.draft.failed(PACKETS, source))
    }

    /// Adds what routing daemons said.
    ///
    /// # Errors
    ///
    /// [`BundleError::Write`].
    pub fn heard(&mut self, heard: &[HeardRoute]) -> Result<(), BundleError> {
        let written = (|| {
            if self.routes.is_none() && !heard.is_empty() {
                self.routes = Some(self.draft.open(ROUTES)?);
            }
            let sink = self.routes.iter_mut();
            for sink in sink {
                for heard in heard {
                    routes::write(sink, heard)?;
                }
            }
            Ok(())
        })();
        self.heard += heard.len() as u64;
        written.map_err(|source| self.draft.failed(ROUTES, source))
    }

    /// Adds a part of the connections that were there before.
    ///
    /// # Errors
    ///
    /// [`BundleError::Write`].
    pub fn connections(&mut self, part: &[u8]) -> Result<(), BundleError> {
        let written = (|| {
            if self.connections.is_none() {
                self.connections = Some(self.draft.open(CONNECTIONS)?);
            }
            let mut sinks = self.connections.iter_mut();
            sinks.try_for_each(|sink| sink.write_all(part))
        })();
        written.map_err(|source| self.draft.failed(CONNECTIONS, source))
    }

    /// The frames that came in so far, those that left, and the bytes of both.
    pub fn so_far(&self) -> (u64, u64, u64) {
        (self.received, self.left, self.bytes)
    }

    /// Ends it: with the revisions that were live meanwhile, of which the first is compiled as a whole, when each became so, and what
    /// the gateway knew.
    ///
    /// # Errors
    ///
    /// [`BundleError::Write`].
    pub fn finish(
        mut self,
        (history, first): (&History, u64),
        schedule: Vec<Scheduled>,
        (hash_seed, mut neighbors): (u64, Vec<KnownNeighbor>),
        recorded: Recorded,
        rewire: &str,
    ) -> Result<Manifest, BundleError> {
        let digest = self.packets.finish().finish();
        let digest = digest.map_err(|source| self.draft.failed(PACKETS, source))?;
        self.draft.files.insert(PACKETS.to_owned(), digest);
        for (name, sink) in [(ROUTES, self.routes), (CONNECTIONS, self.connections)] {
            let Some(sink) = sink else { continue };
            let digest = sink.finish();
            let digest = digest.map_err(|source| self.draft.failed(name, source))?;
            self.draft.files.insert(name.to_owned(), digest);
        }
        self.draft.add(JOURNAL, |sink| {
            history.write(sink).map_err(std::io::Error::other)
        })?;
        neighbors.sort();
        let options = Options {
            hash_seed,
            workers: u16::try_from(recorded.workers).unwrap_or(u16::MAX),
            ..Options::default()
        };
        let manifest = Manifest {
            format: format_of(&self.draft.files),
            rewire: rewire.to_owned(),
            revisions: Revisions {
                first,
                last: history.last(),
            },
            beginning_ns: recorded.from_ns,
            schedule,
            settings: Settings::of(&options),
            frames: self.received,
            expected: Vec::new(),
            failure: None,
            report_digest: None,
            neighbors,
            recording: Some(Recorded {
                received: self.received,
                left: self.left,
                heard_routes: Some(self.heard),
                ..recorded
            }),
            shrunk: None,
            files: self.draft.files.clone(),
        };
        self.draft.finish(&manifest)?;
        Ok(manifest)
    }
}
