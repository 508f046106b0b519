//! What the NAT policy of one generation says about a connection: pure questions to the tables, asked when a connection
//! begins and again when the policy has changed since.

use std::time::Duration;

use rewire_conntrack::{Admission, Flow, FlowKey};
use rewire_packet::{Ip, Protocol};
use rewire_tables::acl::NO_PORT;
use rewire_tables::{
    AclFamily, AclKey, Address, Crossing, Filtering, Interface, InterfaceIndex, Masquerade,
    PortForward, PortForwardKey, Route, StaticNat, Stop, Tables, Traveller, VpcIndex, Way,
};

use super::hairpin::{self, Led, Turn};
use super::steering::Steering;

/// Where ingress NAT leads a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ingress<A> {
    /// The new destination address and port; none where they stay.
    pub destination: Option<(A, u16)>,
    /// The VPC in which the packets are routed.
    pub vpc: VpcIndex,
    /// The peering that they cross by it, if they do.
    pub crossing: Option<Crossing>,
    /// How long they live without packets, where the rule says it.
    pub idle_timeout: Option<Duration>,
}

/// The ingress NAT of a connection whose first packet has this key. A port forward goes before a static translation.
/// `ports` tells whether the packet has ports at all. Nothing is translated across a peering that does not admit the sender.
pub(super) fn ingress<A: AclFamily>(
    tables: &Tables,
    key: &FlowKey<A>,
    ports: bool,
) -> Result<Ingress<A>, Stop> {
    let ingress = translation(tables, key, ports)?;
    match ingress.crossing {
        Some(Crossing { peering, from, .. })
            if !tables.peering(peering).admits(from, key.source.into()) =>
        {
            Err(Stop::NotAdmitted)
        }
        _ => Ok(ingress),
    }
}

fn translation<A: AclFamily>(
    tables: &Tables,
    key: &FlowKey<A>,
    ports: bool,
) -> Result<Ingress<A>, Stop> {
    let across = |peering: Option<_>, to| {
        peering.map(|peering| Crossing {
            peering,
            from: key.vpc,
            to,
        })
    };
    match ingress_rule(tables, key, ports) {
        IngressRule::PortForward(rule, internal) => Ok(Ingress {
            destination: Some((internal, rule.port)),
            vpc: rule.vpc,
            crossing: across(rule.peering, rule.vpc),
            idle_timeout: rule.idle_timeout,
        }),
        IngressRule::Static(rule) => {
            let internal = rule.to_internal(key.destination.into());
            let internal = internal.and_then(A::from_ip).ok_or(Stop::Unmapped)?;
            Ok(Ingress {
                destination: Some((internal, key.destination_port)),
                vpc: rule.internal_vpc,
                crossing: across(rule.peering, rule.internal_vpc),
                idle_timeout: rule.idle_timeout,
            })
        }
        IngressRule::None | IngressRule::Excluded => Ok(Ingress {
            destination: None,
            vpc: key.vpc,
            crossing: None,
            idle_timeout: None,
        }),
    }
}

/// The rule that translates the destination of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum IngressRule<'a, A> {
    /// There is none.
    None,
    /// None is asked.
    Excluded,
    /// A port forward, to this address.
    PortForward(&'a PortForward, A),
    /// A static translation.
    Static(&'a StaticNat),
}

/// The rule that translates the destination of a connection whose first packet has this key, whoever may cross a peering by it.
#[inline]
pub(super) fn ingress_rule<'a, A: AclFamily>(
    tables: &'a Tables,
    key: &FlowKey<A>,
    ports: bool,
) -> IngressRule<'a, A> {
    let nat = tables.nat();
    let address = key.destination.into();
    let forward = PortForwardKey {
        vpc: key.vpc,
        protocol: key.protocol,
        address,
        port: key.destination_port,
    };
    if nat.has_exclusions() && nat.is_excluded_on_arrival(&arrival_key(key, ports)) {
        return IngressRule::Excluded;
    }
    if ports
        && let Some(rule) = nat.port_forward_from(&forward, key.source)
        && let Some(internal) = A::from_ip(rule.address)
    {
        return IngressRule::PortForward(rule, internal);
    }
    match nat.static_by_external(key.vpc, address) {
        Some(rule) => IngressRule::Static(rule),
        None => IngressRule::None,
    }
}

/// The shorter one of those that are said.
pub(super) fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// What exclusions see of a packet as it comes.
pub(super) fn arrival_key<A: AclFamily>(key: &FlowKey<A>, ports: bool) -> AclKey<A> {
    let has_ports = ports && matches!(Protocol(key.protocol), Protocol::TCP | Protocol::UDP);
    let port = |port: u16| if has_ports { port.into() } else { NO_PORT };
    AclKey {
        from: key.vpc,
        to: None,
        source: key.source,
        destination: key.destination,
        protocol: key.protocol,
        source_port: port(key.source_port),
        destination_port: port(key.destination_port),
    }
}

/// What egress NAT does with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Egress<'a, A> {
    /// Its source stays.
    None,
    /// Its source address becomes this one, by this rule.
    Static(A, &'a StaticNat),
    /// Its source becomes an address and port of this rule's.
    Masquerade(&'a Masquerade),
    /// Its source is in a prefix whose translation has no address for it (RFC 6296 section 3.2): it does not leave.
    Unmapped,
}

impl<A> Egress<'_, A> {
    /// What the mapping of the connection, if it has one, lets in from outside.
    pub(super) fn filtering(&self) -> Filtering {
        match self {
            Egress::None | Egress::Unmapped | Egress::Static(..) => Filtering::default(),
            Egress::Masquerade(rule) => rule.filtering,
        }
    }

    /// How long the connection lives without packets, where the rule says it.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        match self {
            Egress::None | Egress::Unmapped => None,
            Egress::Static(_, rule) => rule.idle_timeout,
            Egress::Masquerade(rule) => rule.idle_timeout,
        }
    }
}

/// What egress NAT sees of a connection that begins with this key, and is led to `destination` by ingress NAT. Its ports are
/// those that filters see: none where the packet's are not known, or its protocol has none.
#[inline(always)]
pub(super) fn egress_key<A: AclFamily>(
    original: &FlowKey<A>,
    destination: (A, u16),
    admission: &Admission,
) -> AclKey<A> {
    let (source_port, destination_port) = match admission.ports {
        // What has ports that ingress NAT may change.
        Some((source, _))
            if matches!(Protocol(original.protocol), Protocol::TCP | Protocol::UDP) =>
        {
            (source.into(), destination.1.into())
        }
        Some((source, destination)) => (source.into(), destination.into()),
        None => (NO_PORT, NO_PORT),
    };
    AclKey {
        from: original.vpc,
        to: None,
        source: original.source,
        destination: destination.0,
        protocol: original.protocol,
        source_port,
        destination_port,
    }
}

/// The egress NAT of a connection that leaves by an interface, or would, did it not turn round; across a peering or not, and led elsewhere by
/// ingress NAT or not. An exclusion goes before all else, what
/// the peering says before the rest, and a static translation before a masquerade.
// Inline, so that what has just been computed is not read back from memory in other pieces than it was written in.
#[inline(always)]
pub(super) fn egress<'a, A: AclFamily>(
    tables: &'a Tables,
    key: &AclKey<A>,
    (index, interface): (InterfaceIndex, &Interface),
    (crossing, led): (Option<Crossing>, Option<Led<A>>),
) -> Egress<'a, A> {
    let nat = tables.nat();
    let (vpc, source) = (key.from, key.source);
    if nat.is_excluded(index, key) {
        return Egress::None;
    }
    let across = |c: Crossing| nat.static_by_internal(c.from, source.into(), c.to);
    if let Some(rule) = crossing
        .and_then(across)
        .or_else(|| nat.static_by_internal(vpc, source.into(), interface.vpc))
    {
        return match rule.to_external(source.into()).and_then(A::from_ip) {
            Some(external) => Egress::Static(external, rule),
            None => Egress::Unmapped,
        };
    }
    let across = |c: Crossing| tables.peering(c.peering).masquerade(c.from, key);
    let turned = || {
        let found = led.and_then(|led| hairpin::masquerade(tables, key, led));
        found.map(|(_, rule)| rule)
    };
    match crossing
        .and_then(across)
        .or_else(|| nat.masquerade(index, key))
        .or_else(turned)
    {
        Some(rule) => Egress::Masquerade(rule),
        None => Egress::None,
    }
}

/// A hash of a connection's first packet, to choose among next hops by. Addresses and ports that count up together, as
/// those of a site's hosts do, must not cancel out: each half is multiplied in, and the product folded.
pub(super) fn flow_hash<A: Address>(key: &FlowKey<A>) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let (source, destination) = (key.source.to_number(), key.destination.to_number());
    let ports = u64::from(key.protocol) << 32
        | u64::from(key.source_port) << 16
        | u64::from(key.destination_port);
    // Odd constants of many bits, from the fractional part of the golden ratio and of the square root of 3.
    let sender = fold(
        source as u64 ^ 0x9e37_79b9_7f4a_7c15,
        (source >> 64) as u64 ^ ports ^ 0xbb67_ae85_84ca_a73b,
    );
    fold(
        sender ^ destination as u64,
        (destination >> 64) as u64 ^ 0xbb67_ae85_84ca_a73b,
    )
}

/// Where a connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    /// By which interface.
    pub interface: InterfaceIndex,
    /// By which peering it crossed, if it did.
    pub crossing: Option<Crossing>,
    /// How long it lives without packets, where a rule of NAT says it.
    pub idle_timeout: Option<Duration>,
    /// What its mapping, if it has one, lets in from outside.
    pub filtering: Filtering,
}

/// The interface that a connection leaves by, and the peering that it crosses, as ingress NAT leads it.
pub(super) fn exit<A: AclFamily>(
    tables: &Tables,
    original: &FlowKey<A>,
    ingress: &Ingress<A>,
) -> Option<(InterfaceIndex, Option<Crossing>)> {
    let traveller = Traveller {
        destination: match ingress.destination {
            Some((address, _)) => address,
            None => original.destination,
        },
        source: Some(original.source),
        crossing: ingress.crossing,
    };
    let Ok(Way {
        route: Some(Route::Forward(hops)),
        crossing,
        ..
    }) = tables.way(ingress.vpc, &traveller)
    else {
        return None;
    };
    let index = hops.select(|| flow_hash(original)).interface();
    Some((index, crossing))
}

/// Whether the policy of these tables still gives a connection just the path and translation that it has (law 6): where
/// it leaves then. Such a connection goes on, unless an ACL forbids it; any other ends.
pub(super) fn still_leads<A: AclFamily>(
    tables: &Tables,
    steering: &Steering,
    flow: &Flow<A>,
) -> Option<Leaving> {
    let (leaving, egress) = still_translates(tables, flow)?;
    let is_here = match egress {
        Egress::Masquerade(rule) => steering.gives_out(rule, flow.reply.destination_port),
        _ => true,
    };
    is_here.then_some(leaving)
}

/// The same, with what egress NAT does with the connection, whichever worker it is to be at.
pub(super) fn still_translates<'a, A: AclFamily>(
    tables: &'a Tables,
    flow: &Flow<A>,
) -> Option<(Leaving, Egress<'a, A>)> {
    let original = &flow.original;
    let icmp = <A::Version as Ip>::ICMP.0;
    let ports = original.source_port != 0 || original.destination_port != 0;
    let mut ingress = ingress(tables, original, ports).ok()?;
    let way = exit(tables, original, &ingress);
    // What its own VPC's routes lead onwards is no address of the gateway's there: mostly, one look at them is enough.
    let leads_on = ingress.vpc == flow.reply.vpc && matches!(way, Some((_, None)));
    if ingress.destination.is_none() && !leads_on && comes_back(tables, flow) {
        return still_comes_back(tables, flow);
    }
    let (mut index, mut crossing) = way?;
    // Where it would leave, did it not turn round.
    let outer = (index, tables.interface(index)?);
    let mut would_come_back = false;
    if ingress.destination.is_none() && crossing.is_none() {
        match hairpin::turn(tables, original, outer.1) {
            Some(Turn::Led(turned)) => {
                ingress = turned;
                (index, crossing) = exit(tables, original, &ingress)?;
            }
            Some(Turn::Back) => would_come_back = true,
            None => {}
        }
    }
    let own = (original.destination, original.destination_port);
    let mut destination = ingress.destination.unwrap_or(own);
    if original.protocol == icmp {
        // The identifier of an ICMP query stands for both ports, so that a masquerade changes this one, too.
        destination.1 = flow.reply.source_port;
    }
    if destination != (flow.reply.source, flow.reply.source_port)
        || ingress.vpc != flow.route_vpc
        || tables.interface(index)?.vpc != flow.reply.vpc
    {
        return None;
    }
    let key = egress_key(original, destination, &flow.admission);
    let led = ingress.destination.is_some() || ingress.vpc != original.vpc;
    let led = led.then_some(Led {
        external: original.destination,
        ingress: flow.admission.ingress,
    });
    let egress = egress(tables, &key, outer, (crossing, led));
    let idle_timeout = shorter(ingress.idle_timeout, egress.idle_timeout());
    if would_come_back && !matches!(egress, Egress::None) {
        return None;
    }
    let leaving = Leaving {
        interface: index,
        crossing,
        idle_timeout,
        filtering: egress.filtering(),
    };
    has_source(tables, flow, &egress).then_some((leaving, egress))
}

/// Whether a connection is one whose packets come back (see [`hairpin`]), for an address of the VPC that it leaves into.
fn comes_back<A: AclFamily>(tables: &Tables, flow: &Flow<A>) -> bool {
    let Flow {
        original, reply, ..
    } = flow;
    flow.route_vpc == reply.vpc
        && reply.source == original.destination
        && matches!(
            tables.vpc(reply.vpc).route(original.destination),
            Some(Route::Local | Route::NatExternal)
        )
}

/// As [`still_translates`], of such a connection.
fn still_comes_back<'a, A: AclFamily>(
    tables: &'a Tables,
    flow: &Flow<A>,
) -> Option<(Leaving, Egress<'a, A>)> {
    let original = &flow.original;
    let destination = (original.destination, original.destination_port);
    let seen = egress_key(original, destination, &flow.admission);
    let ingress = flow.admission.ingress;
    let (interface, egress) = hairpin::outer(tables, original, &seen, ingress)?;
    let leaving = Leaving {
        interface,
        crossing: None,
        idle_timeout: egress.idle_timeout(),
        filtering: egress.filtering(),
    };
    let is_there = tables.interface(interface)?.vpc == flow.reply.vpc;
    (is_there && has_source(tables, flow, &egress)).then_some((leaving, egress))
}

/// Whether egress NAT could have given a connection the source that it has.
fn has_source<A: AclFamily>(tables: &Tables, flow: &Flow<A>, egress: &Egress<'_, A>) -> bool {
    let original = &flow.original;
    let source = (flow.reply.destination, flow.reply.destination_port);
    match egress {
        Egress::Unmapped => false,
        Egress::None => source == (original.source, original.source_port),
        Egress::Static(external, _) => source == (*external, original.source_port),
        Egress::Masquerade(rule) => {
            flow.is_mapped
                && rule.owns(source.0)
                && rule
                    .ports
                    .allows(original.protocol, original.source_port, source.1)
                && !is_port_forward(tables, flow.reply.vpc, original.protocol, source)
        }
    }
}

/// Whether an external address and port lead to a port forward, so that no masquerade may use them.
#[inline(always)]
pub(super) fn is_port_forward<A: Address>(
    tables: &Tables,
    vpc: VpcIndex,
    protocol: u8,
    external: (A, u16),
) -> bool {
    tables.nat().has_port_forwards() && is_among_port_forwards(tables, vpc, protocol, external)
}

#[inline(never)]
fn is_among_port_forwards<A: Address>(
    tables: &Tables,
    vpc: VpcIndex,
    protocol: u8,
    (address, port): (A, u16),
) -> bool {
    let key = PortForwardKey {
        vpc,
        protocol,
        address: address.into(),
        port,
    };
    tables.nat().port_forward(&key).is_some()
}
