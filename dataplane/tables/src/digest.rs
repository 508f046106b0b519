//! A digest of what the tables say, whatever way they came to say it.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use crate::acl::{AclDecision, AclRule, AddressRanges, PacketPattern};
use crate::address::Address;
use crate::lpm::Lpm;
use crate::nat::{Masquerade, MasqueradeList, PortParity};
use crate::route::{NextHop, Route};
use crate::tables::Tables;
use crate::{AclIndex, InterfaceIndex, PeeringIndex, VpcIndex};

/// A digest of tables: BLAKE3 over their canonical lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TablesDigest([u8; 32]);

impl fmt::Display for TablesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TablesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Tables {
    /// The digest of the policy in these tables: not of revision, generation or what was learned, and not of the
    /// indices that VPCs and interfaces happen to have. Cost: the whole tables.
    pub fn digest(&self) -> TablesDigest {
        let mut hasher = blake3::Hasher::new();
        for line in self.canonical_lines() {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        TablesDigest(*hasher.finalize().as_bytes())
    }

    /// What the tables say, a line an entry, sorted, with names in place of indices. Equal tables give equal lines.
    pub fn canonical_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, vpc) in self.vpcs() {
            lines.push(format!("vpc {}", vpc.name()));
        }
        // Every slot, named or not: a route that was left behind by its VPC must show.
        for (position, vpc) in self.vpcs.iter().enumerate() {
            let name = self.vpc_name(VpcIndex(position as u16));
            self.route_lines(&name, &vpc.routes4, &mut lines);
            self.route_lines(&name, &vpc.routes6, &mut lines);
            let distances = vpc.distances.iter();
            let timeouts = vpc.timeouts.iter();
            lines.extend(timeouts.map(|timeouts| format!("timeouts {name} {timeouts}")));
            lines.extend(
                distances.map(|(prefix, distance)| format!("distance {name} {prefix} {distance}")),
            );
        }
        for (position, vpc) in self.vpcs.iter().enumerate() {
            if let Some(limits) = vpc.connection_limits() {
                let name = self.vpc_name(VpcIndex(position as u16));
                let mut line = format!("limits {name}");
                for (field, most) in [
                    ("most", limits.most),
                    ("most_per_source", limits.most_per_source),
                ] {
                    if let Some(most) = most {
                        write!(line, " {field}={most}").expect("writing to a String does not fail");
                    }
                }
                lines.push(line);
            }
        }
        for (_, interface) in self.interfaces() {
            let mut line = format!(
                "interface {} vpc={} mac={} mtu={} addresses={:?}",
                interface.name,
                self.vpc_name(interface.vpc),
                interface.mac,
                interface.mtu,
                interface.addresses
            );
            for (field, acl) in [("acl_in", interface.acl_in), ("acl_out", interface.acl_out)] {
                if let Some(acl) = acl {
                    write!(line, " {field}={}", self.acl_name(acl))
                        .expect("writing to a String does not fail");
                }
            }
            if interface.offload {
                line.push_str(" offload");
            }
            lines.push(line);
        }
        for ((interface, address), mac) in &self.static_neighbors {
            lines.push(format!(
                "neighbor {} {address} {mac}",
                self.interface_name(*interface)
            ));
        }
        for (key, to) in &self.nat.port_forwards {
            lines.push(format!(
                "port_forward {} {}/{}/{}/{} -> {}/{}/{}{}{}{}",
                to.name,
                self.vpc_name(key.vpc),
                key.protocol,
                key.address,
                key.port,
                self.vpc_name(to.vpc),
                to.address,
                to.port,
                to.sources
                    .as_ref()
                    .map(|sources| format!(" sources={sources}"))
                    .unwrap_or_default(),
                idle(to.idle_timeout),
                self.by_peering(to.peering)
            ));
        }
        for (direction, rules) in [
            (
                "external",
                self.nat.static_by_external.values().collect::<Vec<_>>(),
            ),
            ("internal", self.nat.static_by_internal.values().collect()),
        ] {
            lines.extend(rules.into_iter().map(|rule| {
                format!(
                    "static_by_{direction} {} {} {} = {} {}{}{}{}",
                    rule.name,
                    self.vpc_name(rule.external_vpc),
                    rule.external,
                    self.vpc_name(rule.internal_vpc),
                    rule.internal,
                    if rule.nptv6 { " nptv6" } else { "" },
                    idle(rule.idle_timeout),
                    self.by_peering(rule.peering)
                )
            }));
        }
        for ((vpc, interface), rules) in &self.nat.masquerades {
            let place = format!(
                "{} {}",
                self.vpc_name(*vpc),
                self.interface_name(*interface)
            );
            masquerade_lines(&place, &rules.rules4, &mut lines);
            masquerade_lines(&place, &rules.rules6, &mut lines);
        }
        for (vpc, rules) in &self.nat.nat64 {
            let place = self.vpc_name(*vpc);
            lines.extend(rules.iter().enumerate().map(|(place_in_list, rule)| {
                let outside = self.vpc_name(rule.vpc);
                format!(
                    "nat64 {} {place} {place_in_list} to {outside} {rule}",
                    rule.name
                )
            }));
        }
        for (vpc, exclusions) in &self.nat.exclusions {
            lines.extend(exclusions.iter().map(|rule| {
                let interface = match rule.interface {
                    Some(interface) => self.interface_name(interface),
                    None => "any".to_owned(),
                };
                format!(
                    "exclusion {} {} {interface} {}",
                    rule.name,
                    self.vpc_name(*vpc),
                    rule.condition
                )
            }));
        }
        // Every slot, named or not, as with VPCs.
        for (position, acl) in self.acls.iter().enumerate() {
            let name = self.acl_name(AclIndex(position as u16));
            if acl.name.is_some() {
                let default = format!("{:?}", acl.default_action()).to_lowercase();
                lines.push(format!("acl {name} default={default}"));
            }
            for (sequence, rule) in acl.rules() {
                lines.push(self.acl_rule_line(&name, sequence, rule));
            }
        }
        // Every slot, named or not: what was left behind by its peering must show.
        for (position, peering) in self.peerings.iter().enumerate() {
            let name = self.peering_name(PeeringIndex(position as u16));
            if peering.name.is_some() {
                let acl = peering
                    .acl
                    .map(|acl| format!(" acl={}", self.acl_name(acl)));
                lines.push(format!("peering {name}{}", acl.unwrap_or_default()));
            }
            for (vpc, side) in &peering.sides {
                let place = format!("{name} {}", self.vpc_name(*vpc));
                sender_lines(&place, &side.senders4, &mut lines);
                sender_lines(&place, &side.senders6, &mut lines);
                masquerade_lines(&place, &side.masquerades.rules4, &mut lines);
                masquerade_lines(&place, &side.masquerades.rules6, &mut lines);
            }
        }
        lines.sort_unstable();
        lines
    }

    fn acl_rule_line(&self, acl: &str, sequence: u32, rule: &AclRule) -> String {
        let vpc = |vpc: Option<VpcIndex>| vpc.map_or("any".to_owned(), |vpc| self.vpc_name(vpc));
        let addresses = |set: &Option<Arc<AddressRanges>>| match set {
            Some(set) => set.to_string(),
            None => "any".to_owned(),
        };
        let AclDecision { action, scope, log } = rule.decision;
        let decision = format!("{action:?} {scope:?}").to_lowercase();
        let packets: Vec<String> = rule.packets.iter().map(PacketPattern::to_string).collect();
        format!(
            "acl_rule {acl} {sequence} {decision}{} vpc={}->{} {} -> {} {}",
            if log { " log" } else { "" },
            vpc(rule.from),
            vpc(rule.to),
            addresses(&rule.sources),
            addresses(&rule.destinations),
            packets.join(" or ")
        )
    }

    fn acl_name(&self, index: AclIndex) -> String {
        match &self.acl(index).name {
            Some(name) => name.to_string(),
            None => format!("no-acl{index}"),
        }
    }

    fn vpc_name(&self, index: VpcIndex) -> String {
        match &self.vpc(index).name {
            Some(name) => name.to_string(),
            None => format!("no-vpc{index}"),
        }
    }

    fn peering_name(&self, index: PeeringIndex) -> String {
        match &self.peering(index).name {
            Some(name) => name.to_string(),
            None => format!("no-peering{index}"),
        }
    }

    /// How a translation says that it belongs to a peering.
    fn by_peering(&self, peering: Option<PeeringIndex>) -> String {
        let text = |index| format!(" peering={}", self.peering_name(index));
        peering.map(text).unwrap_or_default()
    }

    fn interface_name(&self, index: InterfaceIndex) -> String {
        match self.interface(index) {
            Some(interface) => interface.name.to_string(),
            None => format!("no-interface{index}"),
        }
    }

    fn route_lines<A: Address>(&self, vpc: &str, routes: &Lpm<A, Route>, lines: &mut Vec<String>) {
        for (network, length, route) in routes.iter() {
            let mut line = format!("route {vpc} {network}/{length}");
            match route {
                Route::Forward(hops) => {
                    let text = |hop: &NextHop| {
                        let name = self.interface_name(hop.interface());
                        let via = hop.via().map(|via| via.to_string());
                        let weight = (hop.weight() > 1).then(|| format!("*{}", hop.weight()));
                        let (via, weight) = (via.unwrap_or_default(), weight.unwrap_or_default());
                        format!(" {name}:{via}{weight}")
                    };
                    let mut hops: Vec<String> = hops.iter().map(text).collect();
                    hops.sort_unstable();
                    line += &hops.concat();
                }
                Route::Peering { peering, vpc } => {
                    let (peering, vpc) = (self.peering_name(*peering), self.vpc_name(*vpc));
                    write!(line, " Peering({peering} to {vpc})")
                        .expect("writing to a String does not fail");
                }
                Route::Vpc(vpc) => {
                    write!(line, " Vpc({})", self.vpc_name(*vpc))
                        .expect("writing to a String does not fail");
                }
                other => write!(line, " {other:?}").expect("writing to a String does not fail"),
            }
            lines.push(line);
        }
    }
}

fn sender_lines<A: Address>(place: &str, senders: &Lpm<A, bool>, lines: &mut Vec<String>) {
    for (network, length, admitted) in senders.iter() {
        lines.push(format!("sender {place} {network}/{length} {admitted}"));
    }
}

fn masquerade_lines<A: Address>(
    place: &str,
    rules: &Lpm<A, MasqueradeList>,
    lines: &mut Vec<String>,
) {
    for (network, length, rules) in rules.iter() {
        let rules: Vec<String> = rules.iter().map(|rule| masquerade(rule)).collect();
        let rules = rules.join(", or else ");
        lines.push(format!("masquerade {place} {network}/{length} {rules}"));
    }
}

/// How a rule says how long its connections live.
fn idle(timeout: Option<Duration>) -> String {
    let text = |timeout| format!(" idle_timeout={timeout:?}");
    timeout.map(text).unwrap_or_default()
}

fn masquerade(rule: &Masquerade) -> String {
    let mut text = format!("{} {:?}", rule.name, rule.external);
    if let Some(pool) = &rule.pool {
        text += &format!(" pool={pool}");
    }
    if let Some(ports) = &rule.ports.within {
        text += &format!(" ports={ports}");
    }
    if rule.ports.address_only {
        text += " address_only";
    }
    match rule.ports.parity {
        PortParity::Any => {}
        PortParity::Preserved => text += " preserve_parity",
        PortParity::Pairs => text += " preserve_contiguity",
    }
    text += &idle(rule.idle_timeout);
    text += &rule.filtering.to_string();
    if let Some(condition) = &rule.condition {
        text += &format!(" for {condition}");
    }
    text
}
