//! What rules say about packets above IP: fields that only some protocols have.

use super::{Problem, Problems};
use crate::document::Path;
use crate::types::{Ports, Protocol};

/// The fields of an object that say what packets look like.
#[derive(Clone, Copy, Default)]
pub(super) struct Packets<'a> {
    pub(super) protocol: Option<Protocol>,
    pub(super) source_port: Option<&'a Ports>,
    pub(super) destination_port: Option<&'a Ports>,
    pub(super) icmp_type: Option<u8>,
    pub(super) icmp_code: Option<u8>,
}

impl Packets<'_> {
    /// The fields that are there, but for the protocol, and whether each is of ICMP.
    fn fields(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let fields = [
            ("source_port", self.source_port.is_some(), false),
            ("destination_port", self.destination_port.is_some(), false),
            ("icmp_type", self.icmp_type.is_some(), true),
            ("icmp_code", self.icmp_code.is_some(), true),
        ];
        let there = fields.into_iter().filter(|(_, is_there, _)| *is_there);
        there.map(|(field, _, icmp)| (field, icmp))
    }

    /// The names of the fields that are there.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let protocol = self.protocol.map(|_| "protocol");
        protocol
            .into_iter()
            .chain(self.fields().map(|(field, _)| field))
    }

    pub(super) fn check(&self, path: &dyn Fn() -> Path, problems: &mut Problems) {
        for (field, icmp) in self.fields() {
            let (fits, needed) = match icmp {
                true => (Protocol::is_icmp as fn(Protocol) -> bool, "icmp or icmpv6"),
                false => (Protocol::has_ports as _, "tcp, udp, tcp_udp or sctp"),
            };
            let message = match self.protocol {
                Some(protocol) if fits(protocol) => continue,
                Some(protocol) => format!("packets of protocol {protocol} have no {field}"),
                None => format!("{field} needs a protocol that has it"),
            };
            problems.push(
                Problem::new(path().join(field), message)
                    .help(format!("leave {field} out, or make the protocol {needed}")),
            );
        }
        if self.icmp_code.is_some() && self.icmp_type.is_none() {
            let message = "a code needs the type that it belongs to";
            problems.push(Problem::new(path().join("icmp_code"), message).help("add icmp_type"));
        }
    }

    /// The family that packets must be of, by their protocol: whether it is IPv4.
    pub(super) fn family(&self) -> Option<bool> {
        match self.protocol {
            Some(Protocol::Number(1)) => Some(true),
            Some(Protocol::Number(58)) => Some(false),
            _ => None,
        }
    }
}

/// Which families addresses are of, as a set: IPv4, IPv6.
pub(super) type Families = (bool, bool);

/// What is of either family.
pub(super) const BOTH: Families = (true, true);

/// The families of addresses, given by whether each is IPv4. None at all stand for any.
pub(super) fn families(addresses: impl Iterator<Item = bool>) -> Families {
    let found = addresses.fold((false, false), |(v4, v6), is_ipv4| {
        (v4 || is_ipv4, v6 || !is_ipv4)
    });
    if found == (false, false) { BOTH } else { found }
}

/// Whether some packet can be of all these families at once.
pub(super) fn agree(families: &[Families]) -> bool {
    families.iter().all(|f| f.0) || families.iter().all(|f| f.1)
}
