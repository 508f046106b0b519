//! Messages: a header, and sets of templates or records, no longer than a packet takes (RFC 7011, section 3.1).

use std::collections::VecDeque;

use super::element::Values;
use super::template::{self, Template};

/// Bytes of a message at most: what fits a link of 1,500 bytes, tunnels included, so that it is never cut to pieces.
const MOST_BYTES: usize = 1_400;

const VERSION: u16 = 10;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
const TEMPLATE_SET: u16 = 2;
const OPTIONS_TEMPLATE_SET: u16 = 3;

/// Makes messages of records, one after the other.
#[derive(Debug)]
pub(crate) struct Messages {
    domain: u32,
    /// Data records that were sent, modulo 2^32.
    sequence: u32,
    /// Data records in the message that is open.
    records: u32,
    message: Vec<u8>,
    /// The number of the set that is open, and where it begins.
    set: Option<(u16, usize)>,
    /// Messages that are ready, but for their time and sequence number.
    ready: VecDeque<Message>,
    /// How many of these, in front, say what others mean.
    introductions: usize,
    scratch: Vec<u8>,
}

/// A message that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    /// Data records in it.
    pub(crate) records: u32,
}

impl Messages {
    /// None yet, of an observation domain.
    pub(crate) fn new(domain: u32) -> Self {
        Messages {
            domain,
            sequence: 0,
            records: 0,
            message: Vec::with_capacity(MOST_BYTES),
            set: None,
            ready: VecDeque::new(),
            introductions: 0,
            scratch: Vec::with_capacity(256),
        }
    }

    /// Adds all templates.
    pub(crate) fn add_templates(&mut self) {
        for template in template::ALL {
            let set = match template.scope {
                0 => TEMPLATE_SET,
                _ => OPTIONS_TEMPLATE_SET,
            };
            self.add(set, |out| template.write(out));
        }
    }

    /// Adds a record.
    pub(super) fn add_record(&mut self, template: &Template, values: &Values) {
        self.add(template.number, |out| template.write_record(values, out));
        self.records += 1;
    }

    fn add(&mut self, set: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        let is_open = self.set.is_some_and(|(open, _)| open == set);
        let more = self.scratch.len() + if is_open { 0 } else { SET_HEADER };
        if self.message.len() + more > MOST_BYTES {
            self.finish();
        }
        if self.message.is_empty() {
            self.message.extend([0; HEADER]);
        }
        if self.set.is_none_or(|(open, _)| open != set) {
            self.close_set();
            self.set = Some((set, self.message.len()));
            self.message.extend(set.to_be_bytes());
            self.message.extend([0; 2]);
        }
        self.message.extend(&self.scratch);
    }

    fn close_set(&mut self) {
        if let Some((_, start)) = self.set.take() {
            let length = (self.message.len() - start) as u16;
            self.message[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Lets what was added go, as far as it was not full.
    pub(crate) fn finish(&mut self) {
        self.close_set();
        if self.message.is_empty() {
            return;
        }
        let mut bytes = std::mem::replace(&mut self.message, Vec::with_capacity(MOST_BYTES));
        let length = bytes.len() as u16;
        bytes[0..2].copy_from_slice(&VERSION.to_be_bytes());
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.domain.to_be_bytes());
        let records = std::mem::take(&mut self.records);
        self.ready.push_back(Message { bytes, records });
    }

    /// What is added here goes before all that is ready; what was added so before, and has not gone, is forgotten.
    pub(crate) fn introduce(&mut self, add: impl FnOnce(&mut Self)) {
        self.finish();
        self.ready.drain(..self.introductions);
        let mut rest = std::mem::take(&mut self.ready);
        add(self);
        self.finish();
        self.introductions = self.ready.len();
        self.ready.append(&mut rest);
    }

    /// How many of the messages that are ready were added [ahead of others](Self::introduce).
    pub(crate) fn waiting_introductions(&self) -> usize {
        self.introductions
    }

    /// The next message, as it is to be sent at this time, in seconds since the Unix epoch. It stays the next one until it
    /// [has gone](Self::gone).
    pub(crate) fn next(&mut self, time: u32) -> Option<&Message> {
        let sequence = self.sequence;
        let message = self.ready.front_mut()?;
        message.bytes[4..8].copy_from_slice(&time.to_be_bytes());
        message.bytes[8..12].copy_from_slice(&sequence.to_be_bytes());
        Some(message)
    }

    /// The next message has gone: the one behind it is next.
    pub(crate) fn gone(&mut self) {
        if let Some(message) = self.ready.pop_front() {
            self.sequence = self.sequence.wrapping_add(message.records);
            self.introductions = self.introductions.saturating_sub(1);
        }
    }
}
