//! Changes of links are counted, however they come.

use proptest::prelude::*;

use super::messages::{self, LinkMessage, Seen};
use super::{Device, KernelLinks, LinkChange};
use rewire_tables::InterfaceIndex;

/// A device as the kernel has it.
#[derive(Clone, Copy, Debug)]
struct Real {
    is_set_up: bool,
    has_carrier: bool,
    carrier_changes: u32,
    /// How often its link has changed.
    changes: u64,
}

impl Real {
    fn is_up(self) -> bool {
        self.is_set_up && self.has_carrier
    }

    fn seen(self) -> Option<Seen> {
        Some(Seen {
            is_set_up: self.is_set_up,
            is_up: self.is_up(),
            carrier_changes: self.carrier_changes,
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// It is set up or down, which is told at once.
    Set(bool),
    /// Its carrier comes or goes, which is told later.
    Carrier(bool),
    Told,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => any::<bool>().prop_map(Event::Set),
        4 => any::<bool>().prop_map(Event::Carrier),
        1 => Just(Event::Told),
    ]
}

proptest! {
    /// However many changes of the carrier share a message, all are counted.
    #[test]
    fn every_change_of_a_link_is_counted(events in prop::collection::vec(event(), 0..60), first in any::<u32>()) {
        let mut real = Real { is_set_up: true, has_carrier: true, carrier_changes: first, changes: 0 };
        let mut device = Device { name: "eth0".to_owned(), known: None };
        let told = device.become_as(7, real.seen());
        prop_assert_eq!(told, Some(LinkChange { is_up: true, changes: 0 }));
        let mut counted = 0;
        let mut tell = |device: &mut Device, real: Real| {
            let change = device.become_as(7, real.seen()).expect("it is this device");
            counted += change.changes;
            assert_eq!(change.is_up, real.is_up());
        };
        for event in events {
            let was_up = real.is_up();
            match event {
                Event::Set(is_set_up) => real.is_set_up = is_set_up,
                Event::Carrier(has_carrier) => {
                    let grown = u32::from(real.has_carrier != has_carrier);
                    real.carrier_changes = real.carrier_changes.wrapping_add(grown);
                    real.has_carrier = has_carrier;
                }
                Event::Told => {}
            }
            real.changes += u64::from(was_up != real.is_up());
            if !matches!(event, Event::Carrier(_)) {
                tell(&mut device, real);
            }
        }
        tell(&mut device, real);
        prop_assert_eq!(counted, real.changes);
    }

    #[test]
    fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0u8..200, kind in 15u8..19) {
        let mut bytes = bytes;
        if bytes.len() > 8 {
            bytes[..4].copy_from_slice(&u32::from(length).to_ne_bytes());
            bytes[4..6].copy_from_slice(&u16::from(kind).to_ne_bytes());
        }
        for message in messages::read(&bytes) {
            prop_assert!(!message.name.contains('\0') || message.name.len() < bytes.len());
        }
    }
}

#[test]
fn a_device_that_goes_and_another_of_its_name_are_changes() {
    let mut device = Device {
        name: "eth0".to_owned(),
        known: None,
    };
    let up = |carrier_changes| {
        Some(Seen {
            is_set_up: true,
            is_up: true,
            carrier_changes,
        })
    };
    let change = |is_up, changes| Some(LinkChange { is_up, changes });
    assert_eq!(device.become_as(7, None), None, "another one is gone");
    assert_eq!(device.become_as(7, up(1)), change(true, 0));
    assert_eq!(device.become_as(6, None), None, "an earlier one is gone");
    assert_eq!(device.become_as(7, None), change(false, 1));
    assert_eq!(device.become_as(8, up(9)), change(true, 1));
    assert_eq!(device.become_as(8, up(11)), change(true, 2));
}

/// The loopback device is everywhere.
#[test]
fn the_kernel_answers() {
    let mut links = KernelLinks::open().expect("a socket");
    let lo = InterfaceIndex(3);
    links.follow(lo, "lo");
    links.follow(InterfaceIndex(4), "there-is-none");
    let mut told = Vec::new();
    links.take(&mut |interface, change| told.push((interface, change.changes)));
    assert_eq!(told, [(lo, 0)]);
    assert!(links.is_up(lo).is_some());
    assert_eq!(links.is_up(InterfaceIndex(4)), None);
    links.forget(lo);
    assert_eq!(links.is_up(lo), None);
}

#[test]
fn a_question_is_read_as_what_it_asks() {
    let mut message = messages::question("wan0");
    // As if it were an answer.
    message[4..6].copy_from_slice(&16_u16.to_ne_bytes());
    let read: Vec<_> = messages::read(&message).collect();
    let seen = Seen {
        is_set_up: false,
        is_up: false,
        carrier_changes: 0,
    };
    let expected = LinkMessage {
        number: 0,
        name: "wan0",
        seen: Some(seen),
    };
    assert_eq!(read, [expected]);
}
