//! Probes and intents: what they ask can be answered, and they do not contradict each other.

use super::addresses::{family, unusable};
use super::facts::{Facts, IntentsFrom};
use super::look_up::LookUp;
use super::packets::{BOTH, Families, Packets, agree};
use super::{Problem, Problems};
use crate::model::{IntentRow, ProbeRow};
use crate::types::{Addresses, InterfaceType, Name, Ports, ProbeResult, Protocol};

pub(super) fn check_probe<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let Some(probe) = facts.rows.find::<ProbeRow>(&(name.clone(),)) else {
        return;
    };
    let path = || super::path(&*probe);
    let ports = |port: Option<u16>| port.map(Ports::single);
    let (source_port, destination_port) = (ports(probe.source_port), ports(probe.destination_port));
    let packets = Packets {
        // Without a protocol, it is an echo request of the family.
        protocol: probe.protocol,
        source_port: source_port.as_ref(),
        destination_port: destination_port.as_ref(),
        icmp_type: probe.icmp_type,
        icmp_code: probe.icmp_code,
    };
    packets.check(&path, problems);
    let mut wrong = |field: &str, message: String| {
        problems.push(Problem::new(path().join(field), message));
    };
    match probe.protocol {
        Some(Protocol::TcpUdp) => wrong("protocol", "a packet is TCP or UDP, not both".to_owned()),
        Some(protocol) if protocol.has_ports() && probe.destination_port.is_none() => {
            let message = format!("a packet of protocol {protocol} goes to a port");
            wrong("destination_port", message);
        }
        _ => {}
    }
    let of_protocol = packets.family();
    if of_protocol.is_some_and(|is_ipv4| is_ipv4 != probe.source.is_ipv4()) {
        let message = format!("{} is not {}", probe.source, family_name(of_protocol));
        wrong("protocol", message);
    }
    if let Some(why) = unusable(probe.source) {
        let message = format!("expected the address of a host, {} is {why}", probe.source);
        wrong("source", message);
    }
    let others = [
        ("destination", Some(probe.destination)),
        ("via", probe.via),
        ("translated_source", probe.translated_source),
        ("translated_destination", probe.translated_destination),
    ];
    for (field, address) in others {
        if let Some(address) = address.filter(|a| a.is_ipv4() != probe.source.is_ipv4()) {
            let family = family(probe.source);
            let source = probe.source;
            wrong(
                field,
                format!("expected an {family} address like source {source}, found {address}"),
            );
        }
    }
    if probe.expect != ProbeResult::Forwarded {
        let outcomes = [
            ("out_interface", probe.out_interface.is_some()),
            ("via", probe.via.is_some()),
            ("translated_source", probe.translated_source.is_some()),
            (
                "translated_destination",
                probe.translated_destination.is_some(),
            ),
            (
                "translated_destination_port",
                probe.translated_destination_port.is_some(),
            ),
        ];
        for (field, _) in outcomes.iter().filter(|(_, is_there)| *is_there) {
            wrong(
                field,
                format!("a packet that is {} does not leave", probe.expect),
            );
        }
    }
    if probe.translated_destination_port.is_some()
        && !probe.protocol.is_some_and(Protocol::has_ports)
    {
        let message = "only packets of a protocol with ports go to one".to_owned();
        wrong("translated_destination_port", message);
    }
    if let Some(interface) = facts.interface(&probe.interface)
        && interface.row.kind() == InterfaceType::Loopback
    {
        let message = format!(
            "nothing comes in by \"{}\": it is a loopback",
            probe.interface
        );
        wrong("interface", message);
    }
}

fn family_name(is_ipv4: Option<bool>) -> &'static str {
    if is_ipv4 == Some(true) {
        "IPv4"
    } else {
        "IPv6"
    }
}

pub(super) fn check_intent<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let Some(intent) = facts.rows.find::<IntentRow>(&(name.clone(),)) else {
        return;
    };
    let path = || super::path(&*intent);
    let packets = Packets {
        protocol: intent.protocol,
        destination_port: intent.destination_port.as_ref(),
        ..Packets::default()
    };
    packets.check(&path, problems);
    if intent.from_vpc == intent.to_vpc {
        let message = format!(
            "expected another VPC than \"{}\", where packets come from",
            intent.from_vpc
        );
        problems.push(Problem::new(path().join("to"), message));
    }
    let of = |addresses: &Option<Addresses>| match addresses {
        Some(addresses) => only(addresses.range().first().is_ipv4()),
        None => BOTH,
    };
    let protocol = packets.family().map_or(BOTH, only);
    if !agree(&[of(&intent.source), of(&intent.destination), protocol]) {
        let message = "it is about no packet: what it says is of different families";
        problems.push(Problem::new(path(), message));
    }
}

fn only(is_ipv4: bool) -> Families {
    (is_ipv4, !is_ipv4)
}

/// No two intents for the same packets say that they never, and that they always get there.
pub(super) fn check_intents<L: LookUp>(
    facts: &Facts<'_, L>,
    from: &Name,
    to: &Name,
    problems: &mut Problems,
) {
    let mut intents = facts.rows.by::<IntentsFrom>(&(from.clone(),));
    intents.retain(|intent| intent.to_vpc == *to);
    for (index, intent) in intents.iter().enumerate() {
        let contradicts = |other: &&std::borrow::Cow<'_, IntentRow>| {
            other.reach != intent.reach && meet(other, intent)
        };
        if let Some(other) = intents[..index].iter().find(contradicts) {
            let message = format!(
                "intent \"{}\" says that such packets {} get there",
                other.name, other.reach
            );
            problems.push(Problem::new(super::path(&**intent).join("reach"), message));
        }
    }
}

/// Whether some packet is one that both intents are about.
fn meet(a: &IntentRow, b: &IntentRow) -> bool {
    let overlap = |a: &Option<Addresses>, b: &Option<Addresses>| match (a, b) {
        (Some(a), Some(b)) => a.range().overlaps(b.range()),
        _ => true,
    };
    let protocols = match (a.protocol, b.protocol) {
        (Some(a), Some(b)) => a.numbers().any(|a| b.numbers().any(|b| a == b)),
        _ => true,
    };
    let ports = match (&a.destination_port, &b.destination_port) {
        (Some(a), Some(b)) => a.overlaps(b),
        _ => true,
    };
    overlap(&a.source, &b.source) && overlap(&a.destination, &b.destination) && protocols && ports
}
