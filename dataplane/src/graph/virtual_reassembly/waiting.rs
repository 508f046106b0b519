//! Fragments that came before their datagram's first one, and wait for it.

use std::collections::VecDeque;

use super::datagrams::DatagramId;
use crate::graph::context::Received;

/// Fragments that wait at once, of all datagrams.
const MOST: usize = 256;
/// Fragments that wait for one first fragment: enough for the largest datagram there is, with the MTU of Ethernet.
const MOST_OF_ONE: u16 = 48;
const NOWHERE: u16 = u16::MAX;

struct Frame<B> {
    /// None: the place is free.
    frame: Option<Received<B>>,
    /// The next one of the same datagram, or the next free place.
    next: u16,
}

/// The fragments of one datagram, in the order in which they came.
#[derive(Clone, Copy)]
struct Queue {
    first: u16,
    last: u16,
    length: u16,
}

const EMPTY: Queue = Queue {
    first: NOWHERE,
    last: NOWHERE,
    length: 0,
};

/// The fragments that wait, by datagram; and those that wait no longer, and go on with the next burst.
pub(super) struct Waiting<B> {
    frames: Vec<Frame<B>>,
    free: u16,
    queues: Vec<Queue>,
    number: usize,
    released: VecDeque<Received<B>>,
}

impl<B> Waiting<B> {
    /// Of so many datagrams.
    pub(super) fn new(datagrams: usize) -> Self {
        let frame = |next| Frame { frame: None, next };
        let next = |place| {
            if place + 1 == MOST as u16 {
                NOWHERE
            } else {
                place + 1
            }
        };
        Waiting {
            frames: (0..MOST as u16).map(|place| frame(next(place))).collect(),
            free: 0,
            queues: vec![EMPTY; datagrams],
            number: 0,
            released: VecDeque::with_capacity(MOST),
        }
    }

    /// The number of those that are held.
    pub(super) fn held(&self) -> usize {
        self.number + self.released.len()
    }

    /// All that are held.
    pub(super) fn into_frames(self) -> impl Iterator<Item = Received<B>> {
        let waiting = self.frames.into_iter().filter_map(|place| place.frame);
        self.released.into_iter().chain(waiting)
    }

    /// Whether some wait no longer.
    pub(super) fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Keeps a fragment; hands it back where too many wait.
    pub(super) fn keep(&mut self, id: DatagramId, frame: Received<B>) -> Result<(), Received<B>> {
        let queue = &mut self.queues[id.slot()];
        let place = self.free;
        // Those that are released have room of their own, which is as large: they count, too.
        let is_full = self.number + self.released.len() >= MOST;
        if queue.length >= MOST_OF_ONE || is_full || place == NOWHERE {
            return Err(frame);
        }
        self.free = self.frames[usize::from(place)].next;
        self.frames[usize::from(place)] = Frame {
            frame: Some(frame),
            next: NOWHERE,
        };
        match self.frames.get_mut(usize::from(queue.last)) {
            Some(last) => last.next = place,
            None => queue.first = place,
        }
        queue.last = place;
        queue.length += 1;
        self.number += 1;
        Ok(())
    }

    /// Lets the fragments of a datagram go on.
    pub(super) fn release(&mut self, id: DatagramId) {
        while let Some(frame) = self.take(id) {
            self.released.push_back(frame);
        }
    }

    /// A fragment of a datagram that is to wait no longer.
    pub(super) fn take(&mut self, id: DatagramId) -> Option<Received<B>> {
        let queue = &mut self.queues[id.slot()];
        let place = queue.first;
        let kept = self.frames.get_mut(usize::from(place))?;
        let frame = kept.frame.take();
        queue.first = std::mem::replace(&mut kept.next, self.free);
        queue.length -= 1;
        if queue.length == 0 {
            *queue = EMPTY;
        }
        self.free = place;
        self.number -= 1;
        frame
    }

    /// Moves those that wait no longer out, as many as there is room for.
    pub(super) fn go_on(&mut self, room: usize, out: &mut Vec<Received<B>>) {
        let number = self.released.len().min(room);
        out.extend(self.released.drain(..number));
    }
}
