//! What one worker is watched for.

use std::num::NonZeroU16;

use rewire_tables::InterfaceIndex;

use super::places::{MOST_WATCHES, WantedBy};
use super::{AtPort, Lost, Watch};
use crate::buffer::PacketBuffer;
use crate::clock::Instant;
use crate::drop_reason::DropReason;
use crate::graph::{Node, Received};
use crate::walk::{Fact, Mark, Onward, Step};

/// The watches of a worker, and the marks that it gives.
#[derive(Debug)]
pub(crate) struct Watches {
    /// By their places; few, so that they are looked through.
    watches: Vec<Watch>,
    wanted: Option<WantedBy>,
    first_mark: u16,
    marks: u16,
    next_mark: u16,
    /// Where the frames of marked packets lie that are about to leave: their buffers have no mark any more.
    leaving: Vec<(usize, Mark)>,
}

impl Watches {
    /// None yet, of the worker with this number among so many, which sends so many frames a burst.
    pub(crate) fn new(worker: u16, workers: u16, burst: usize) -> Watches {
        let marks = (u16::MAX / workers.max(1)).max(1);
        Watches {
            watches: Vec::with_capacity(MOST_WATCHES),
            wanted: None,
            first_mark: 1 + worker * marks,
            marks,
            next_mark: 0,
            leaving: Vec::with_capacity(burst),
        }
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        !self.watches.is_empty()
    }

    /// One more, in place of whoever had its place.
    pub(crate) fn begin(&mut self, watch: Watch) {
        self.watches.retain(|other| other.place != watch.place);
        self.wanted = Some(watch.wanted_by.clone());
        self.watches.push(watch);
    }

    /// One less.
    pub(crate) fn end(&mut self, id: u64) {
        self.watches.retain(|watch| watch.id != id);
    }

    /// Marks the frames that somebody wants, of those that no worker has seen.
    pub(crate) fn mark<B: PacketBuffer>(&mut self, received: &mut [Received<B>]) {
        self.leaving.clear();
        let Some(wanted) = &self.wanted else { return };
        for frame in received.iter_mut().filter(|frame| frame.hops == 0) {
            let by = self.watches.iter_mut().fold(0, |by, watch| {
                by | (u8::from(watch.takes(frame.buffer.bytes())) << watch.place)
            });
            if by == 0 {
                continue;
            }
            frame.mark = NonZeroU16::new(self.first_mark + self.next_mark).map(Mark);
            self.next_mark = (self.next_mark + 1) % self.marks;
            if let Some(mark) = frame.mark {
                wanted.set(mark, by);
            }
        }
    }

    /// A node has decided something about a packet that is marked.
    pub(crate) fn see(&mut self, step: &Step, frame: &[u8], now: Instant) {
        if let Fact::Next(Onward::Transmit(_)) = step.fact
            && self.leaving.len() < self.leaving.capacity()
        {
            self.leaving.push((frame.as_ptr().addr(), step.packet));
        }
        let Some(wanted) = &self.wanted else { return };
        for watch in &mut self.watches {
            if wanted.is(step.packet, watch.place) {
                watch.see(step, None, frame, now);
            }
        }
    }

    /// A frame was dropped outside of the nodes.
    #[cold]
    pub(crate) fn lost(&mut self, lost: &Lost<'_>, now: Instant) {
        for watch in &mut self.watches {
            let is_marked = |mark: Mark| {
                let wanted = self.wanted.as_ref();
                wanted.is_some_and(|wanted| wanted.is(mark, watch.place))
            };
            let is_marked = lost.mark.is_some_and(is_marked);
            watch.lose(lost, is_marked, now);
        }
    }

    /// These frames were about to leave by an interface, and are dropped.
    #[cold]
    pub(crate) fn left_behind<B: PacketBuffer>(
        &mut self,
        interface: InterfaceIndex,
        frames: &[B],
        reason: DropReason,
        now: Instant,
    ) {
        for frame in frames {
            let frame = frame.bytes();
            let place = frame.as_ptr().addr();
            let mut leaving = self.leaving.iter();
            let mark = leaving.find(|(lies, _)| *lies == place);
            let lost = Lost {
                mark: mark.map(|(_, mark)| *mark),
                node: Node::EthernetOutput,
                reason,
                port: Some(AtPort {
                    interface,
                    leaves: true,
                }),
                frame,
            };
            self.lost(&lost, now);
        }
    }
}
