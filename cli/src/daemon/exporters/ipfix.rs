//! An exporter of type ipfix: what connections have done, and what NAT has done, to a collector, over UDP.
//!
//! A collector can make nothing of records before it has heard of their templates, and over UDP nobody knows what it has heard. So they
//! are sent at the start and every minute; with them what interfaces and VPCs are called, which is also sent when a revision has
//! changed.
//!
//! Where a machine says that no collector is there, templates alone are sent every second until it says so no more. What is to be told
//! waits meanwhile, in a bounded number.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::datagrams::Datagrams;
use super::{Exporter, ExporterConfig};
use crate::daemon::Daemon;
use crate::daemon::ipfix::{Messages, write, write_names};

/// How often it looks what workers have told.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Events that are taken at once, at most.
const AT_ONCE: usize = 4_096;
/// How often templates are sent (RFC 7011, section 8.4).
const TEMPLATES_EVERY: Duration = Duration::from_secs(60);
/// The gateway is one observation domain.
const DOMAIN: u32 = 1;

/// How often templates are sent to where nobody was.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long nobody may say that nobody is there, until somebody is.
const SILENCE: Duration = Duration::from_millis(200);

/// Sends until it is told to end, and then what waits.
pub(super) fn run(daemon: &Daemon, exporter: &Exporter, config: &ExporterConfig, reader: u64) {
    let mut link = Link {
        daemon,
        exporter,
        datagrams: Datagrams::new(exporter, config),
        messages: Messages::new(DOMAIN),
        probed: None,
        is_up: false,
        templates_due: Instant::now(),
        revision: 0,
        records_before: 0,
    };
    loop {
        let goes_on = exporter.pause(LOOK_EVERY);
        match link.is_ready(!goes_on) {
            true => link.send_all(reader),
            // What workers tell meanwhile waits outside of their rings.
            false => daemon.flows.gather(),
        }
        if !goes_on {
            break;
        }
    }
    daemon.flows.leave(reader);
}

struct Link<'a> {
    daemon: &'a Daemon,
    exporter: &'a Exporter,
    datagrams: Datagrams<'a>,
    messages: Messages,
    /// When templates were sent to see whether somebody is there.
    probed: Option<Instant>,
    /// Whether nobody has said that nobody is there.
    is_up: bool,
    templates_due: Instant,
    /// The revision whose names were sent last.
    revision: u64,
    /// Records in the datagram that was sent last: whether somebody has taken it is known with the next one.
    records_before: u32,
}

impl Link<'_> {
    /// Whether somebody seems to be there; or, where it is the end, whether there is nothing known against it.
    fn is_ready(&mut self, is_end: bool) -> bool {
        if self.is_up {
            return true;
        }
        let now = Instant::now();
        match self.probed {
            Some(probed) if self.datagrams.is_refused() => {
                // Not before the time for the next probe.
                self.probed = None;
                self.templates_due = probed + PROBE_EVERY;
            }
            Some(probed) if now < probed + SILENCE && !is_end => {}
            Some(_) => {
                self.is_up = true;
                self.datagrams.is_up();
            }
            None if now < self.templates_due => {}
            None => {
                self.introduce(true);
                let templates = self.messages.waiting_introductions();
                let sent = (0..templates).all(|_| self.send_next() == Some(true));
                match sent {
                    true => self.probed = Some(now),
                    false => self.templates_due = now + PROBE_EVERY,
                }
            }
        }
        self.is_up
    }

    /// Sends what waits, until nothing does or nobody is there.
    fn send_all(&mut self, reader: u64) {
        loop {
            let is_due = self.templates_due <= Instant::now();
            if is_due || self.revision != self.daemon.shared.revision() {
                self.introduce(is_due);
            }
            let messages = &mut self.messages;
            let has_more = self.daemon.flows.take(reader, AT_ONCE, |event, time_of| {
                write(messages, event, time_of);
            });
            messages.finish();
            while let Some(sent) = self.send_next() {
                if !sent {
                    self.is_up = false;
                    self.probed = None;
                    self.templates_due = Instant::now();
                    return;
                }
            }
            if !has_more {
                return;
            }
        }
    }

    /// Says what records mean, ahead of all others; with their templates, or what interfaces and VPCs are called alone.
    fn introduce(&mut self, with_templates: bool) {
        if with_templates {
            self.templates_due = Instant::now() + TEMPLATES_EVERY;
        }
        self.revision = self.daemon.shared.revision();
        let table = self.daemon.connection_table.as_ref();
        let names = table.and_then(|table| table.names().ok());
        self.messages.introduce(|messages| {
            if with_templates {
                messages.add_templates();
            }
            if let Some(names) = &names {
                write_names(messages, names);
            }
        });
    }

    /// Sends the next message. None where there is none; false where it has not gone.
    fn send_next(&mut self) -> Option<bool> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // Modulo 2^32, as the format has it.
        let time = since.unwrap_or_default().as_secs() as u32;
        let message = self.messages.next(time)?;
        let records = message.records;
        let sent = self.datagrams.send(&message.bytes);
        match sent {
            true => {
                self.exporter.records.fetch_add(records.into(), Relaxed);
                self.messages.gone();
                self.records_before = records;
            }
            // Nobody has taken the one before. This one waits.
            false => {
                let lost = std::mem::take(&mut self.records_before);
                self.exporter.records_lost.fetch_add(lost.into(), Relaxed);
            }
        }
        Some(sent)
    }
}
