//! Packets of connections that are forbidden: none may leave.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use rewire_conntrack::{Flow, FlowId, FlowKey};
use rewire_dataplane::VirtualGateway;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::graph::{Asked, EndedByPolicy};
use rewire_tables::{InterfaceIndex, VpcIndex};

use crate::generator::frame::{Packet, RST, TCP};

/// A connection, at the worker of this number.
type Place = (u16, FlowId);

/// By the keys of their packets; of several workers, some may have one each of a key.
type Forbidden<A> = HashMap<FlowKey<A>, Vec<Place>, FixedState>;

/// Connections that are forbidden, and have not ended yet as far as is known.
#[derive(Default)]
pub(crate) struct Passing {
    four: Forbidden<Ipv4Addr>,
    six: Forbidden<Ipv6Addr>,
    /// The VPCs of interfaces, by their places.
    vpcs: Vec<Option<VpcIndex>>,
    /// Of frames that have left: the keys that answers to them have.
    left: Vec<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Four(FlowKey<Ipv4Addr>),
    Six(FlowKey<Ipv6Addr>),
}

impl Passing {
    pub(super) fn clear(&mut self) {
        self.four.clear();
        self.six.clear();
        self.left.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.four.is_empty() && self.six.is_empty()
    }

    /// Learns in which VPCs the interfaces are.
    pub(super) fn follow(&mut self, gateway: &VirtualGateway) {
        self.vpcs.clear();
        for (_, interface) in gateway.interfaces() {
            let vpc = gateway.with_tables(|tables| tables.interface(interface).map(|i| i.vpc));
            let position = interface.position();
            if self.vpcs.len() <= position {
                self.vpcs.resize(position + 1, None);
            }
            self.vpcs[position] = vpc.flatten();
        }
    }

    pub(super) fn forbid4(&mut self, place: Place, flow: &Flow<Ipv4Addr>) {
        forbid(&mut self.four, place, flow);
    }

    /// Of one of NAT64, what leaves as IPv4 is not known by its key.
    pub(super) fn forbid6(&mut self, place: Place, flow: &Flow<Ipv6Addr>) {
        forbid(&mut self.six, place, flow);
    }

    /// A worker's connection has ended: what has its keys now is another.
    pub(super) fn has_ended(&mut self, (worker, ended): (u16, EndedByPolicy)) {
        let place = (worker, ended.id);
        match ended.is_ipv6 {
            false => forget(&mut self.four, place),
            true => forget(&mut self.six, place),
        }
    }

    /// A frame leaves.
    #[inline]
    pub(crate) fn leaves(&mut self, interface: InterfaceIndex, frame: &[u8]) {
        if !self.is_empty() {
            self.look(interface, frame);
        }
    }

    fn look(&mut self, interface: InterfaceIndex, frame: &[u8]) {
        let Some(Some(vpc)) = self.vpcs.get(interface.position()) else {
            return;
        };
        let Some(packet) = Packet::read(frame) else {
            return;
        };
        // The gateway itself may say so to those who try to go on.
        if packet.protocol == TCP && packet.kind & RST != 0 {
            return;
        }
        match (packet.source, packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let key = answer(*vpc, &packet, (source, destination));
                if self.four.contains_key(&key) {
                    self.left.push(Answer::Four(key));
                }
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let key = answer(*vpc, &packet, (source, destination));
                if self.six.contains_key(&key) {
                    self.left.push(Answer::Six(key));
                }
            }
            _ => {}
        }
    }

    /// What has left of connections that are forbidden, by what has its key now: another connection, which has begun since, may.
    /// `none_made_way` says that no connection which has begun is gone already.
    pub(super) fn passed(&mut self, gateway: &VirtualGateway, none_made_way: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for answer in std::mem::take(&mut self.left) {
            lines.extend(match answer {
                Answer::Four(key) => passed(gateway, (&self.four, &key), none_made_way),
                Answer::Six(key) => passed(gateway, (&self.six, &key), none_made_way),
            });
        }
        lines
    }
}

fn forbid<A: Asked>(forbidden: &mut Forbidden<A>, place: Place, flow: &Flow<A>) {
    for key in [flow.original, flow.reply] {
        forbidden.entry(key).or_default().push(place);
    }
}

fn forget<A: Asked>(forbidden: &mut Forbidden<A>, place: Place) {
    forbidden.retain(|_, places| {
        places.retain(|one| *one != place);
        !places.is_empty()
    });
}

fn passed<A: Asked>(
    gateway: &VirtualGateway,
    (forbidden, key): (&Forbidden<A>, &FlowKey<A>),
    none_made_way: bool,
) -> Option<String> {
    let places = forbidden.get(key)?;
    let mut has_passed = none_made_way;
    for (worker, graph) in (0..).zip(gateway.graphs()) {
        match A::connections(graph).lookup(key, Instant(0)) {
            Some((id, _)) if places.contains(&(worker, id)) => has_passed = true,
            Some(_) => return None,
            None => {}
        }
    }
    has_passed.then(|| format!("{key}: the answers to it"))
}

/// The key of packets that answer one which leaves.
fn answer<A>(vpc: VpcIndex, packet: &Packet, (source, destination): (A, A)) -> FlowKey<A> {
    let [source_port, destination_port] = packet.ports;
    FlowKey {
        vpc,
        protocol: packet.protocol,
        source: destination,
        destination: source,
        source_port: destination_port,
        destination_port: source_port,
    }
}
