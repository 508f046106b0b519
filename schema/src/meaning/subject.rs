//! What rules are about. A rule is asked of one subject, and says what is wrong with it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::facts::Facts;
use super::look_up::{LookUp, Whole};
use super::{
    Problems, access, external, intents, interfaces, limits, links, masquerade, nat64, peerings,
    pools, routes, services, sources, translations,
};
use crate::model::{Configuration, InterfaceAddressRow, Row, RowKey};
use crate::port::Port;
use crate::types::{AddressOrPrefix, Name};

/// One thing that can be right or wrong: an object, or what several objects must share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// An object with its parts, as far as that can be said without others of its kind.
    Object(RowKey),
    /// The number of VPCs.
    Vpcs,
    /// The number of interfaces.
    Interfaces,
    /// The number of ACLs.
    Acls,
    /// The number of peerings.
    Peerings,
    /// Which VPC has a VXLAN network identifier.
    Vni(u32),
    /// Which interface has a port.
    Port(Port),
    /// Which interface is a VLAN of a physical one.
    Vlan(Name, u16),
    /// The tunnels over a VPC.
    Tunnels(Name),
    /// The links of a VPC: which interface an address, or a destination, is on.
    Links(Name),
    /// The ranges of all pools of a VPC.
    Ranges(Name),
    /// The senders of a VPC that are masqueraded on an interface.
    Senders(Name, Name),
    /// The port forwards of an external address of a VPC.
    Forwards(Name, IpAddr),
    /// The static translations of external addresses of a VPC.
    Statics(Name, AddressOrPrefix),
    /// The static translations of addresses of a VPC into another.
    Internal(Name, AddressOrPrefix, Name),
    /// Everybody who listens on an address of the gateway's host.
    Listeners,
    /// The intents for packets from a VPC to another.
    Intents(Name, Name),
}

impl Subject {
    /// Asks the rules that are about this subject.
    pub(super) fn check<L: LookUp>(&self, facts: &Facts<'_, L>, problems: &mut Problems) {
        match self {
            Subject::Object(key) => object(key, facts, problems),
            Subject::Vpcs => limits::check_vpcs(facts, problems),
            Subject::Interfaces => limits::check_interfaces(facts, problems),
            Subject::Acls => limits::check_acls(facts, problems),
            Subject::Peerings => limits::check_peerings(facts, problems),
            Subject::Vni(vni) => interfaces::check_vni(facts, *vni, problems),
            Subject::Port(port) => interfaces::check_port(facts, port, problems),
            Subject::Vlan(parent, vlan) => interfaces::check_vlan(facts, parent, *vlan, problems),
            Subject::Tunnels(underlay) => interfaces::check_tunnels(facts, underlay, problems),
            Subject::Links(vpc) => links::check(facts, vpc, problems),
            Subject::Ranges(vpc) => pools::check_ranges(facts, vpc, problems),
            Subject::Senders(vpc, interface) => {
                masquerade::check_senders(facts, vpc, interface, problems);
            }
            Subject::Forwards(vpc, address) => {
                external::check_forwards(facts, vpc, *address, problems);
            }
            Subject::Statics(vpc, address) => {
                external::check_statics(facts, vpc, *address, problems);
            }
            Subject::Internal(vpc, address, outside) => {
                external::check_internal(facts, vpc, *address, outside, problems);
            }
            Subject::Listeners => sources::check_listeners(facts, problems),
            Subject::Intents(from, to) => intents::check_intents(facts, from, to, problems),
        }
    }
}

/// The rules about an object by itself.
fn object<L: LookUp>(key: &RowKey, facts: &Facts<'_, L>, problems: &mut Problems) {
    match key {
        RowKey::Conntrack((vpc,)) => limits::check_conntrack(facts, vpc, problems),
        RowKey::Service((name,)) => services::check(facts, name, problems),
        RowKey::AclRule((acl, sequence)) => access::check_rule(facts, acl, *sequence, problems),
        RowKey::Interface((name,)) => interfaces::check(facts, name, problems),
        RowKey::Neighbor((interface, address)) => {
            interfaces::check_neighbor(facts, interface, *address, problems);
        }
        RowKey::Route((vpc, prefix)) => routes::check(facts, vpc, *prefix, problems),
        RowKey::Peering((name,)) => peerings::check(facts, name, problems),
        RowKey::Pool((name,)) => pools::check(facts, name, problems),
        RowKey::Masquerade((name,)) => masquerade::check(facts, name, problems),
        RowKey::Exclusion((name,)) => masquerade::check_exclusion(facts, name, problems),
        RowKey::Nat64((name,)) => nat64::check(facts, name, problems),
        RowKey::PortForward((name,)) => translations::check_port_forward(facts, name, problems),
        RowKey::StaticNat((name,)) => translations::check_static(facts, name, problems),
        RowKey::RouteSource((name,)) => sources::check_route_source(facts, name, problems),
        RowKey::Exporter((name,)) => sources::check_exporter(facts, name, problems),
        RowKey::Probe((name,)) => intents::check_probe(facts, name, problems),
        RowKey::Intent((name,)) => intents::check_intent(facts, name, problems),
        // There is nothing to say about these by themselves, or it is said of what they are parts of.
        RowKey::Vpc(_)
        | RowKey::AddressSet(_)
        | RowKey::AddressSetMember(_)
        | RowKey::ServiceEntry(_)
        | RowKey::Policer(_)
        | RowKey::Shaper(_)
        | RowKey::Acl(_)
        | RowKey::AclRuleSource(_)
        | RowKey::AclRuleDestination(_)
        | RowKey::InterfaceAddress(_)
        | RowKey::NextHop(_)
        | RowKey::PeeringSide(_)
        | RowKey::Expose(_)
        | RowKey::ExposeIp(_)
        | RowKey::ExposeNot(_)
        | RowKey::ExposeAs(_)
        | RowKey::ExposeAsNot(_)
        | RowKey::ExposePort(_)
        | RowKey::PoolRange(_)
        | RowKey::MasqueradeSource(_)
        | RowKey::MasqueradeDestination(_)
        | RowKey::ExclusionSource(_)
        | RowKey::ExclusionDestination(_)
        | RowKey::Nat64Source(_)
        | RowKey::PortForwardSource(_)
        | RowKey::RouteSourceVpc(_) => {}
    }
}

/// Calls `each` with every subject of a configuration, once.
pub(super) fn every(configuration: &Configuration, each: &mut dyn FnMut(Subject)) {
    macro_rules! objects {
        ($($field:ident as $variant:ident),+ $(,)?) => {
            $(for key in configuration.$field.keys() {
                each(Subject::Object(RowKey::$variant(key.clone())));
            })+
        };
    }
    objects! {
        conntrack as Conntrack,
        service as Service,
        acl_rule as AclRule,
        interface as Interface,
        neighbor as Neighbor,
        route as Route,
        peering as Peering,
        nat_pool as Pool,
        masquerade as Masquerade,
        nat_exclusion as Exclusion,
        nat64 as Nat64,
        port_forward as PortForward,
        static_nat as StaticNat,
        route_source as RouteSource,
        telemetry_exporter as Exporter,
        probe as Probe,
        intent as Intent,
    }
    let rows = Whole::new(configuration);
    let mut all = BTreeSet::from([Subject::Listeners]);
    macro_rules! sharing {
        ($($field:ident),+ $(,)?) => {
            $(for row in configuration.$field.values() {
                all.extend(shared(&rows, &Row::from(row.clone())));
            })+
        };
    }
    sharing! {
        vpc,
        interface,
        acl,
        peering,
        nat_pool,
        masquerade,
        port_forward,
        static_nat,
        intent,
    }
    all.into_iter().for_each(each);
}

/// What an object shares with others of its kind.
pub(super) fn shared<L: LookUp>(rows: &L, row: &Row) -> Vec<Subject> {
    let mut shared = Vec::new();
    match row {
        Row::Vpc(row) => {
            shared.push(Subject::Vpcs);
            shared.extend(row.vni.map(Subject::Vni));
        }
        Row::Interface(row) => {
            shared.extend([Subject::Interfaces, Subject::Links(row.vpc.clone())]);
            shared.extend(row.port.as_ref().map(interfaces::owner).map(Subject::Port));
            if let (Some(parent), Some(vlan)) = (&row.parent, row.vlan) {
                shared.push(Subject::Vlan(parent.clone(), vlan));
            }
            shared.extend(row.underlay.clone().map(Subject::Tunnels));
        }
        Row::Acl(_) => shared.push(Subject::Acls),
        Row::Peering(_) => shared.push(Subject::Peerings),
        Row::Pool(row) => shared.push(Subject::Ranges(row.vpc.clone())),
        Row::Masquerade(row) => {
            shared.push(Subject::Senders(row.vpc.clone(), row.interface.clone()));
        }
        Row::PortForward(row) => {
            let mut addresses: Vec<IpAddr> = row.external_address.into_iter().collect();
            if let Some(interface) = &row.external_interface {
                let own = rows.below::<InterfaceAddressRow, _>((interface.clone(),));
                addresses.extend(own.map(|own| own.address.address()));
            }
            let vpc = &row.external_vpc;
            let forwards = addresses.into_iter();
            shared.extend(forwards.map(|address| Subject::Forwards(vpc.clone(), address)));
        }
        Row::StaticNat(row) => {
            let (outside, inside) = (&row.external_vpc, &row.internal_vpc);
            shared.push(Subject::Statics(outside.clone(), row.external_address));
            let internal = row.internal_address;
            shared.push(Subject::Internal(inside.clone(), internal, outside.clone()));
        }
        Row::RouteSource(_) | Row::Exporter(_) => shared.push(Subject::Listeners),
        Row::Intent(row) => {
            shared.push(Subject::Intents(row.from_vpc.clone(), row.to_vpc.clone()));
        }
        _ => {}
    }
    shared
}
