//! Which worker a packet is for.
//!
//! A worker's connections are its own, so that all packets of one, in both directions, must come to one worker: its *home*.
//! Two functions say where that is, from what nobody had to be told:
//!
//! - [`owner`](Steering::owner), of a packet as it comes. What is for an external address of a masquerade: whoever the port is
//!   dealt to. What a masquerade or NAT64 may translate on its way out: likewise, by its source port, so that everything of one internal
//!   endpoint meets (RFC 4787, REQ-1), where its port can be kept. What a port forward or static translation leads
//!   elsewhere: as its answer, of which the source is the internal host (of IPv6, behind NAT64: by the port that it leads to). All else: a hash of both addresses, the same for either
//!   direction. Ports matter for the first kind alone, so that fragments go where their packets go.
//! - [`home`](Steering::home), of a connection that is about to begin: the owner of its reply, since the reply can be told by
//!   nothing but itself. For a masquerade, the port is then chosen so that this holds.
//!
//! Mostly both agree. Where they do not (a hairpin; a packet that a rule's condition exempts from its masquerade), the first
//! worker walks the packet to where the connection would begin, and hands it to its home. What belongs to no connection of
//! its owner and can begin none (an ICMP error about such a packet, a fragment to an external address) goes round: each worker
//! looks at it once, and the last one drops it.
//!
//! After a commit, another worker may be the owner of packets without a masquerade. Their connection begins there anew, with the
//! same translation, since that has no choice. Packets with one stay: the port says whose they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rewire_conntrack::{Flow, FlowKey, owner, owner_within};
use rewire_packet::ethernet;
use rewire_packet::{EtherType, IpAddress, Protocol};
use rewire_tables::nat::has_translated_ports;
use rewire_tables::{
    AclFamily, Address, InterfaceIndex, Masquerade, PortAllocation, PortForwardKey, Route, Tables,
    VpcIndex,
};

use super::filtering;
use super::nat_policy::{self, Egress};

/// In place of a count of hops: the packet is where it belongs.
pub(super) const AT_HOME: u8 = u8::MAX;

/// Always the same, so that connections which outlive the gateway find their workers again.
const SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// How packets are dealt out among workers, as one of them sees it.
#[derive(Clone, Copy, Debug)]
pub struct Steering {
    worker: u16,
    workers: u16,
}

/// What is looked at of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends<A> {
    protocol: u8,
    source: A,
    destination: A,
    /// The destination port, or the identifier of an ICMP query; none in fragments.
    port: Option<u16>,
    /// The source port, likewise.
    source_port: Option<u16>,
}

impl Steering {
    /// For one worker of so many.
    pub fn new(worker: u16, workers: u16) -> Self {
        Steering {
            worker,
            workers: workers.max(1),
        }
    }

    /// Whether that is this worker.
    pub(crate) fn is(&self, worker: u16) -> bool {
        worker == self.worker
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> u16 {
        self.workers
    }

    /// Whether there are other workers.
    #[inline]
    pub(super) fn has_peers(&self) -> bool {
        self.workers > 1
    }

    /// The next worker of the round, for a packet that has been handed over so often; none where it has been everywhere.
    pub(super) fn next(&self, hops: u8) -> Option<u16> {
        (u16::from(hops) + 1 < self.workers).then(|| (self.worker + 1) % self.workers)
    }

    /// The worker that a frame is for which this interface received; none if any will do. Costs, where the gateway has NAT, a
    /// look at the route and one or two at the rules.
    pub fn of_frame(&self, tables: &Tables, from: InterfaceIndex, frame: &[u8]) -> Option<u16> {
        let vpc = tables.interface(from)?.vpc;
        let (header, packet) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
        match EtherType(u16::from_be_bytes([header[12], header[13]])) {
            EtherType::IPV4 => Some(self.owner(tables, vpc, &ends4(packet)?)),
            EtherType::IPV6 => Some(self.owner(tables, vpc, &ends6(packet)?)),
            _ => None,
        }
    }

    fn owner<A: AclFamily>(&self, tables: &Tables, vpc: VpcIndex, ends: &Ends<A>) -> u16 {
        let nat = tables.nat();
        if nat.is_empty() {
            return self.of_both(ends.source, ends.destination);
        }
        if let Some((internal, port, vpc)) = led(tables, vpc, ends) {
            // Its answer goes the other way; to which port, does not matter.
            let answer = Ends {
                protocol: ends.protocol,
                source: internal,
                destination: ends.source,
                port: None,
                source_port: port,
            };
            let route = tables.vpc(vpc).route(answer.destination);
            return self.leaving(tables, vpc, &answer, route);
        }
        // What a port forward leads to a host of IPv6, as what that sends.
        if nat.has_nat64()
            && let (IpAddr::V4(_), Some(port)) = (ends.destination.into(), ends.port)
            && let Some(port) = port_of_ipv6(tables, vpc, ends, port)
        {
            return owner(port, self.workers);
        }
        // What NAT64 translates on its way out, as a masquerade does.
        if nat.has_nat64()
            && let IpAddr::V6(destination) = ends.destination.into()
            && nat.nat64s_at(vpc, destination).next().is_some()
        {
            return match ends.source_port {
                Some(port) => owner(port, self.workers),
                None => self.of_one(ends.source),
            };
        }
        let route = tables.vpc(vpc).route(ends.destination);
        // A masquerade may use the gateway's own addresses.
        if let (Some(Route::NatExternal | Route::Local), Some(port)) = (route, ends.port) {
            return owner(port, self.workers);
        }
        self.leaving(tables, vpc, ends, route)
    }

    /// Of a packet whose destination stays and is routed so, as far as its VPC goes.
    fn leaving<A: AclFamily>(
        &self,
        tables: &Tables,
        vpc: VpcIndex,
        ends: &Ends<A>,
        route: Option<&Route>,
    ) -> u16 {
        let Some(Route::Forward(hops)) = route else {
            return self.of_both(ends.source, ends.destination);
        };
        let mut outside = None;
        let mut is_masqueraded = false;
        for hop in hops.iter() {
            let interface = tables.interface(hop.interface());
            outside = outside.or(interface.filter(|interface| interface.vpc != vpc));
            is_masqueraded |= tables.nat().has_masquerade(vpc, hop.interface());
        }
        // It answers a hairpin: it would leave, and be for one of the gateway's addresses there.
        if let (Some(outside), Some(port)) = (outside, ends.port)
            && let Some(Route::NatExternal | Route::Local) =
                tables.vpc(outside.vpc).route(ends.destination)
            && led(tables, outside.vpc, ends).is_none()
        {
            return owner(port, self.workers);
        }
        match is_masqueraded {
            // The port is kept, where it is free.
            true => match ends.source_port {
                Some(port) => owner(port, self.workers),
                None => self.of_one(ends.source),
            },
            false => self.of_both(ends.source, ends.destination),
        }
    }

    /// Where a connection is to begin whose reply has this key: the one owner that its reply can have.
    pub(super) fn home<A: AclFamily>(
        &self,
        tables: &Tables,
        original: &FlowKey<A>,
        reply: &FlowKey<A>,
        egress: &Egress<'_, A>,
    ) -> u16 {
        match egress {
            Egress::Masquerade(rule) => match &rule.ports {
                // A sender's address is its own, whatever its port.
                PortAllocation {
                    address_only: true, ..
                } => 0,
                PortAllocation {
                    within: Some(set), ..
                } if has_translated_ports(original.protocol) => {
                    owner_within(set, original.source_port, self.workers)
                }
                _ => owner(original.source_port, self.workers),
            },
            Egress::None | Egress::Static(..) | Egress::Unmapped => {
                let ends = Ends {
                    protocol: reply.protocol,
                    source: reply.source,
                    destination: reply.destination,
                    port: Some(reply.destination_port),
                    source_port: Some(reply.source_port),
                };
                self.owner(tables, reply.vpc, &ends)
            }
        }
    }

    /// Whether this worker is the one that may have given out an external port by a rule. Where a commit has changed whose it is, it may be
    /// given out by another one now.
    pub(super) fn gives_out(&self, rule: &Masquerade, port: u16) -> bool {
        let home = match rule.ports.address_only {
            true => 0,
            false => owner(port, self.workers),
        };
        self.is(home)
    }

    /// The home of a connection that is there, and was another number of workers' before; none where it can have none: its
    /// packets have one owner now, and its answers another. That is so where a masquerade has not kept its port.
    pub(crate) fn home_of<A: AclFamily>(&self, tables: &Tables, flow: &Flow<A>) -> Option<u16> {
        let home = |egress| self.home(tables, &flow.original, &flow.reply, egress);
        if !flow.is_mapped {
            return Some(home(&Egress::None));
        }
        if flow.is_joined {
            // Where the mapping is that it has joined.
            let internal = filtering::internal_of(flow);
            let port = owner(flow.original.destination_port, self.workers);
            return match filtering::answering_rule(tables, &flow.original, &internal) {
                Some(rule) if rule.ports.address_only => Some(0),
                Some(rule) => {
                    let egress = Egress::Masquerade(rule);
                    let home = self.home(tables, &flow.reply, &flow.original, &egress);
                    (home == port).then_some(port)
                }
                None => Some(port),
            };
        }
        let port = owner(flow.reply.destination_port, self.workers);
        match nat_policy::still_translates(tables, flow) {
            Some((_, Egress::Masquerade(rule))) if rule.ports.address_only => Some(0),
            // Where it ends at once, its port is to be free again at the worker that gives it out.
            None => Some(port),
            Some((_, egress)) => (home(&egress) == port).then_some(port),
        }
    }

    /// Whether a connection is to begin at another worker, and at which.
    pub(super) fn elsewhere(&self, home: u16) -> Option<u16> {
        (!self.is(home)).then_some(home)
    }

    fn of_one<A: Address>(&self, address: A) -> u16 {
        self.deal(self.hash(address))
    }

    fn of_both<A: Address>(&self, one: A, other: A) -> u16 {
        // A sum is the same for either order; each term is well mixed, so that equal steps do not cancel out.
        self.deal(self.hash(one).wrapping_add(self.hash(other)))
    }

    fn hash<A: Address>(&self, address: A) -> u64 {
        let number = address.to_number();
        let (high, low) = ((number >> 64) as u64, number as u64);
        mix(mix(low ^ SALT) ^ high)
    }

    /// From a hash to a worker, by its high half.
    fn deal(&self, hash: u64) -> u16 {
        let high = mix(hash) >> 32;
        ((high * u64::from(self.workers)) >> 32) as u16
    }
}

/// The port that a port forward leads an IPv4 packet to, if it leads to a host of IPv6.
fn port_of_ipv6<A: AclFamily>(
    tables: &Tables,
    vpc: VpcIndex,
    ends: &Ends<A>,
    port: u16,
) -> Option<u16> {
    let key = PortForwardKey {
        vpc,
        protocol: ends.protocol,
        address: ends.destination.into(),
        port,
    };
    let rule = tables.nat().port_forward_from(&key, ends.source)?;
    rule.address.is_ipv6().then_some(rule.port)
}

/// Where a port forward or a static translation leads a packet: the internal address and port, and their VPC.
fn led<A: AclFamily>(
    tables: &Tables,
    vpc: VpcIndex,
    ends: &Ends<A>,
) -> Option<(A, Option<u16>, VpcIndex)> {
    let nat = tables.nat();
    let forward = |port| {
        let key = PortForwardKey {
            vpc,
            protocol: ends.protocol,
            address: ends.destination.into(),
            port,
        };
        let rule = nat.port_forward_from(&key, ends.source)?;
        Some((A::from_ip(rule.address)?, Some(rule.port), rule.vpc))
    };
    let fixed = || {
        let external = ends.destination.into();
        let rule = nat.static_by_external(vpc, external)?;
        let internal = A::from_ip(rule.to_internal(external)?)?;
        Some((internal, ends.port, rule.internal_vpc))
    };
    ends.port.and_then(forward).or_else(fixed)
}

/// The finalizer of splitmix64 (Steele, Lea and Flood, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// The packet that an ICMP error quotes travelled the other way: the error is for whom its answer would be for.
fn answered<A>(quoted: Ends<A>, upper: Option<&[u8]>) -> Ends<A> {
    let protocol = quoted.protocol;
    Ends {
        protocol: quoted.protocol,
        source: quoted.destination,
        destination: quoted.source,
        port: upper.and_then(|upper| source_port(protocol, upper)),
        source_port: upper.and_then(|upper| destination_port(protocol, upper)),
    }
}

/// Of a packet of IPv4; none if it is too short to tell.
fn ends4(packet: &[u8]) -> Option<Ends<Ipv4Addr>> {
    let (ends, upper) = header4(packet)?;
    let Some(upper) = upper else {
        return Some(ends);
    };
    match (Protocol(ends.protocol), upper.first()) {
        // Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
        (Protocol::ICMP, Some(3 | 4 | 5 | 11 | 12)) => {
            let (quoted, upper) = header4(upper.get(8..)?)?;
            Some(answered(quoted, upper))
        }
        _ => Some(Ends {
            port: destination_port(ends.protocol, upper),
            source_port: source_port(ends.protocol, upper),
            ..ends
        }),
    }
}

/// The addresses, and what is behind the header, but for fragments.
fn header4(packet: &[u8]) -> Option<(Ends<Ipv4Addr>, Option<&[u8]>)> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let length = usize::from(header[0] & 15) * 4;
    let ends = Ends {
        protocol: header[9],
        source: <Ipv4Addr as IpAddress>::read(packet, 12)?,
        destination: <Ipv4Addr as IpAddress>::read(packet, 16)?,
        port: None,
        source_port: None,
    };
    let is_fragment = word(packet, 6)? & 0x3fff != 0;
    let upper = (!is_fragment).then(|| packet.get(length..)).flatten();
    Some((ends, upper))
}

/// Of a packet of IPv6. One with extension headers counts as one without ports.
fn ends6(packet: &[u8]) -> Option<Ends<Ipv6Addr>> {
    let (ends, upper) = header6(packet)?;
    match (Protocol(ends.protocol), upper.first()) {
        // Errors are those below 128 (RFC 4443, section 2.1).
        (Protocol::ICMPV6, Some(0..128)) => {
            let (quoted, upper) = header6(upper.get(8..)?)?;
            Some(answered(quoted, Some(upper)))
        }
        _ => Some(Ends {
            port: destination_port(ends.protocol, upper),
            source_port: source_port(ends.protocol, upper),
            ..ends
        }),
    }
}

fn header6(packet: &[u8]) -> Option<(Ends<Ipv6Addr>, &[u8])> {
    let (header, upper) = packet.split_first_chunk::<40>()?;
    let ends = Ends {
        protocol: header[6],
        source: <Ipv6Addr as IpAddress>::read(packet, 8)?,
        destination: <Ipv6Addr as IpAddress>::read(packet, 24)?,
        port: None,
        source_port: None,
    };
    Some((ends, upper))
}

/// The identifier of an ICMP query is both of its ports.
fn destination_port(protocol: u8, upper: &[u8]) -> Option<u16> {
    match Protocol(protocol) {
        Protocol::TCP | Protocol::UDP => word(upper, 2),
        Protocol::ICMP | Protocol::ICMPV6 => word(upper, 4),
        _ => Some(0),
    }
}

fn source_port(protocol: u8, upper: &[u8]) -> Option<u16> {
    match Protocol(protocol) {
        Protocol::TCP | Protocol::UDP => word(upper, 0),
        Protocol::ICMP | Protocol::ICMPV6 => word(upper, 4),
        _ => Some(0),
    }
}
