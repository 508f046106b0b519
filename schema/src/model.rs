//! The configuration model: every object that an administrator can write, defined once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::marks::Marks;
use crate::object::tables;
use crate::table::{RowError, TableDefinition};
use crate::types::{AddressRange, Addresses, InterfaceAddress, Name, Prefix};
use crate::value::{Key as _, RawValue, Value};

mod acl;
mod address_set;
mod conntrack;
mod intent;
mod interface;
mod nat;
mod peering;
mod probe;
mod qos;
mod route;
mod route_source;
mod service;
mod telemetry;
mod vpc;

pub use acl::*;
pub use address_set::*;
pub use conntrack::*;
pub use intent::*;
pub use interface::*;
pub use nat::*;
pub use peering::*;
pub use probe::*;
pub use qos::*;
pub use route::*;
pub use route_source::*;
pub use service::*;
pub use telemetry::*;
pub use vpc::*;

/// The rows of one table, as generic code takes them.
pub trait TableRow: Clone + Into<Row> + 'static {
    /// What identifies a row of the table.
    type Key: crate::state::KeyRange + Clone;
    /// The table.
    const OF: Table;
    /// The key with its table.
    fn row_key(key: Self::Key) -> RowKey;
    /// The table's rows in a configuration.
    fn rows(configuration: &Configuration) -> &BTreeMap<Self::Key, Self>;
    /// The row, if it is of this table.
    fn from_row(row: Row) -> Option<Self>;
    /// The row, if it is of this table.
    fn borrowed(row: &Row) -> Option<&Self>;
}

/// The parts of documents that are no objects of their own, and what they are for. Each is a path with dots.
pub const SECTIONS: &[(&str, &str)] = &[
    (
        "",
        "A whole configuration, as a document in YAML or JSON says it.",
    ),
    (
        "nat",
        "Network address translation: pools of addresses, and rules by name.",
    ),
    ("telemetry", "How measurements leave the gateway."),
];

tables! {
    Vpc(VpcRow: (Name,)) as vpc,
    Conntrack(ConntrackRow: (Name,)) as conntrack,
    AddressSet(AddressSetRow: (Name,)) as address_set,
    AddressSetMember(AddressSetMemberRow: (Name, Addresses)) as address_set_member,
    Service(ServiceRow: (Name,)) as service,
    ServiceEntry(ServiceEntryRow: (Name, u16)) as service_entry,
    Policer(PolicerRow: (Name,)) as policer,
    Shaper(ShaperRow: (Name,)) as shaper,
    Acl(AclRow: (Name,)) as acl,
    AclRule(AclRuleRow: (Name, u32)) as acl_rule,
    AclRuleSource(AclRuleSourceRow: (Name, u32, Addresses)) as acl_rule_source,
    AclRuleDestination(AclRuleDestinationRow: (Name, u32, Addresses)) as acl_rule_destination,
    Interface(InterfaceRow: (Name,)) as interface,
    InterfaceAddress(InterfaceAddressRow: (Name, InterfaceAddress)) as interface_address,
    Neighbor(NeighborRow: (Name, IpAddr)) as neighbor,
    Route(RouteRow: (Name, Prefix)) as route,
    NextHop(NextHopRow: (Name, Prefix, u16)) as route_next_hop,
    Peering(PeeringRow: (Name,)) as peering,
    PeeringSide(PeeringSideRow: (Name, Name)) as peering_side,
    Expose(ExposeRow: (Name, Name, Name)) as peering_expose,
    ExposeIp(ExposeIpRow: (Name, Name, Name, Prefix)) as peering_expose_ip,
    ExposeNot(ExposeNotRow: (Name, Name, Name, Prefix)) as peering_expose_not,
    ExposeAs(ExposeAsRow: (Name, Name, Name, Prefix)) as peering_expose_as,
    ExposeAsNot(ExposeAsNotRow: (Name, Name, Name, Prefix)) as peering_expose_as_not,
    ExposePort(ExposePortRow: (Name, Name, Name, u16)) as peering_expose_port,
    Pool(PoolRow: (Name,)) as nat_pool,
    PoolRange(PoolRangeRow: (Name, AddressRange)) as nat_pool_range,
    Masquerade(MasqueradeRow: (Name,)) as masquerade,
    MasqueradeSource(MasqueradeSourceRow: (Name, Prefix)) as masquerade_source,
    MasqueradeDestination(MasqueradeDestinationRow: (Name, Addresses)) as masquerade_destination,
    Exclusion(ExclusionRow: (Name,)) as nat_exclusion,
    ExclusionSource(ExclusionSourceRow: (Name, Addresses)) as nat_exclusion_source,
    ExclusionDestination(ExclusionDestinationRow: (Name, Addresses)) as nat_exclusion_destination,
    Nat64(Nat64Row: (Name,)) as nat64,
    Nat64Source(Nat64SourceRow: (Name, Addresses)) as nat64_source,
    PortForward(PortForwardRow: (Name,)) as port_forward,
    PortForwardSource(PortForwardSourceRow: (Name, Addresses)) as port_forward_source,
    StaticNat(StaticNatRow: (Name,)) as static_nat,
    RouteSource(RouteSourceRow: (Name,)) as route_source,
    RouteSourceVpc(RouteSourceVpcRow: (Name, Name)) as route_source_vpc,
    Exporter(ExporterRow: (Name,)) as telemetry_exporter,
    Probe(ProbeRow: (Name,)) as probe,
    Intent(IntentRow: (Name,)) as intent,
}
