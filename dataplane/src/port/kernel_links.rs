//! The links of the kernel's network devices, as the kernel tells of them: every change, and not only what a look finds.
//!
//! The kernel sends a message (rtnetlink(7), `RTM_NEWLINK`) when a device is set up or down or its carrier changes. Changes of the carrier
//! that follow each other closely share one; so each message has the number of all that there have been (`IFLA_CARRIER_CHANGES`). What is
//! counted is that number's growth while the device is set up, made odd or even as the link is another one than before or not.
//!
//! Nobody waits for a message: whoever wants to know reads what is there. Where there were too many, the devices are asked again.

mod messages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rewire_tables::InterfaceIndex;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use super::LinkChange;
use messages::{LinkMessage, Seen, question};

/// The group of messages about links (`RTMGRP_LINK`).
const LINKS: u32 = 1;
/// Room for the largest message: with the counters of many queues and virtual functions.
const LARGEST: usize = 64 << 10;

/// Who hears of links, in the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct KernelLinks {
    socket: OwnedFd,
    devices: BTreeMap<InterfaceIndex, Device>,
    received: Vec<u8>,
}

/// A device behind an interface's port.
#[derive(Debug)]
struct Device {
    name: String,
    /// What is known of it; none as long as nothing is.
    known: Option<Known>,
}

/// A device at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// Its number, which another device of that name does not have.
    number: i32,
    seen: Seen,
}

impl KernelLinks {
    /// Begins to hear.
    ///
    /// # Errors
    /// Where there is no such socket.
    pub(crate) fn open() -> io::Result<KernelLinks> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Of its protocols, the first is that of links and routes.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, LINKS))?;
        Ok(KernelLinks {
            socket,
            devices: BTreeMap::new(),
            received: vec![0; LARGEST],
        })
    }

    /// Follows the device of an interface's port, from now on; where it did already, it goes on.
    pub(crate) fn follow(&mut self, interface: InterfaceIndex, name: &str) {
        let is_known = self.devices.get(&interface);
        if is_known.is_none_or(|device| device.name != name) {
            let name = name.to_owned();
            let device = Device { name, known: None };
            self.devices.insert(interface, device);
        }
        self.ask(name);
    }

    /// The interface has another port, or none.
    pub(crate) fn forget(&mut self, interface: InterfaceIndex) {
        self.devices.remove(&interface);
    }

    /// Whether the link of an interface's device is up; none where none is followed, or nothing is known of it.
    pub(crate) fn is_up(&self, interface: InterfaceIndex) -> Option<bool> {
        let known = self.devices.get(&interface)?.known?;
        Some(known.seen.is_up)
    }

    /// Asks for a device as it is now. The kernel answers before this returns; there is an error where there is no such device, which
    /// nobody needs: it is told of when it comes.
    fn ask(&self, name: &str) {
        let _ = send(&self.socket, &question(name), SendFlags::empty());
    }

    /// Reads what there is, and tells what has become of links that are followed.
    pub(crate) fn take(&mut self, changed: &mut dyn FnMut(InterfaceIndex, LinkChange)) {
        let mut received = std::mem::take(&mut self.received);
        loop {
            match recv(&self.socket, &mut received[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    let messages = messages::read(received.get(..length).unwrap_or_default());
                    for message in messages {
                        self.hear(&message, changed);
                    }
                }
                // Some were lost. The numbers of changes are in the answers, too.
                Err(Errno::NOBUFS) => {
                    for device in self.devices.values() {
                        self.ask(&device.name);
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.received = received;
    }

    fn hear(
        &mut self,
        message: &LinkMessage<'_>,
        changed: &mut dyn FnMut(InterfaceIndex, LinkChange),
    ) {
        let devices = self.devices.iter_mut();
        for (interface, device) in devices.filter(|(_, device)| device.name == message.name) {
            if let Some(change) = device.become_as(message.number, message.seen) {
                changed(*interface, change);
            }
        }
    }
}

impl Device {
    /// What a message says is so from now on; none where it is about an earlier device of this name.
    fn become_as(&mut self, number: i32, seen: Option<Seen>) -> Option<LinkChange> {
        let before = self.known;
        let Some(seen) = seen else {
            // It is gone.
            let before = before.filter(|before| before.number == number)?.seen;
            let seen = Seen {
                is_set_up: false,
                is_up: false,
                ..before
            };
            self.known = Some(Known { number, seen });
            return Some(LinkChange {
                is_up: false,
                changes: before.is_up.into(),
            });
        };
        self.known = Some(Known { number, seen });
        let changes = before.map_or(0, |before| match before.number == number {
            true => changes(before.seen, seen),
            false => u64::from(before.seen.is_up != seen.is_up),
        });
        Some(LinkChange {
            is_up: seen.is_up,
            changes,
        })
    }
}

/// How often a link has changed from one message to the next.
fn changes(before: Seen, now: Seen) -> u64 {
    let differs = u64::from(before.is_up != now.is_up);
    if !before.is_set_up {
        // What its carrier did meanwhile, nobody could see.
        return differs;
    }
    // Each was one; and one more may be that it was set down.
    let grown = now.carrier_changes.wrapping_sub(before.carrier_changes);
    let grown = u64::from(grown);
    grown + (grown & 1 ^ differs)
}
