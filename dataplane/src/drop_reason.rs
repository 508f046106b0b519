//! Every reason for which a packet can be dropped. Nothing vanishes: a packet that came in goes out, is held, is taken
//! in by the gateway, or is counted here.

/// Makes the enum, its names and its descriptions from one list.
macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $name:literal),+ $(,)?) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason { $($(#[doc = $doc])+ $reason),+ }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$reason),+];

            /// The name in metrics, in `rewire status` and in summaries.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$reason => $name),+ }
            }

            /// What it means, in words.
            pub fn description(self) -> String {
                let text = match self { $(DropReason::$reason => concat!($($doc),+)),+ };
                text.trim().to_owned()
            }
        }
    };
}

drop_reasons! {
    /// The frame is shorter than an Ethernet header.
    FrameTooShort = "frame_too_short",
    /// The frame is longer than the interface's MTU allows.
    FrameTooLong = "frame_too_long",
    /// The frame is for another station's MAC address.
    OtherStation = "other_station",
    /// The frame has a VLAN tag, and no interface of the gateway has VLANs.
    VlanUnknown = "vlan_unknown",
    /// The frame is of an EtherType that the gateway does not take.
    EtherTypeUnknown = "ether_type_unknown",
    /// The frame came by an interface that the tables do not know (any more).
    InterfaceUnknown = "interface_unknown",
    /// The ARP packet is not well formed.
    ArpMalformed = "arp_malformed",
    /// The ARP packet asks for, or answers, something that is not ours.
    ArpNotForUs = "arp_not_for_us",
    /// The neighbor discovery message is not well formed, or comes from another link (RFC 4861, section 7.1).
    NdpMalformed = "ndp_malformed",
    /// The message is about neighbors, routers or multicast listeners of the link, and concerns nothing that is ours.
    NdpNotForUs = "ndp_not_for_us",
    /// The packet is too short for an IP header.
    IpTooShort = "ip_too_short",
    /// The version in the IP header is not what the EtherType says.
    IpBadVersion = "ip_bad_version",
    /// The length in the IP header is impossible.
    IpBadHeaderLength = "ip_bad_header_length",
    /// The packet's total length is impossible.
    IpBadTotalLength = "ip_bad_total_length",
    /// The IP header's checksum is wrong.
    IpBadChecksum = "ip_bad_checksum",
    /// An IPv6 extension header is cut off or there are too many.
    IpBadExtension = "ip_bad_extension",
    /// The source address can be no sender's (RFC 1812, section 5.3.7; RFC 4291, section 2.5).
    IpMartianSource = "ip_martian_source",
    /// The destination address can be no forwarded packet's (RFC 1812, section 5.3.7; RFC 4291, section 2.5).
    IpMartianDestination = "ip_martian_destination",
    /// The packet has a source route, which the gateway does not follow (RFC 7126, RFC 5095).
    IpSourceRoute = "ip_source_route",
    /// The packet came to everybody on the link, and is for somebody else (RFC 1812, section 5.3.4).
    LinkBroadcast = "link_broadcast",
    /// The packet is for a multicast group, and the gateway does not forward multicast.
    Multicast = "multicast",
    /// The packet has a link-local address, and is not for the gateway (RFC 4291, section 2.5.6).
    LinkLocalNotForwarded = "link_local_not_forwarded",
    /// The transport header is cut off or contradicts itself.
    TransportMalformed = "transport_malformed",
    /// The packet belongs to no connection, and can begin none.
    ConnectionInvalid = "connection_invalid",
    /// The packet does not fit the state of its connection.
    ConnectionStateInvalid = "connection_state_invalid",
    /// The ICMP error speaks of no connection that is known.
    IcmpErrorUnrelated = "icmp_error_unrelated",
    /// The ICMP error's checksum is wrong, or that of the header that it quotes (RFC 5508, REQ-3).
    IcmpErrorDamaged = "icmp_error_damaged",
    /// The packet would begin a connection, and its VPC has as many as its limit allows.
    ConnectionLimitVpc = "connection_limit_vpc",
    /// The packet would begin a connection, and its source has as many as its VPC's limit allows.
    ConnectionLimitSource = "connection_limit_source",
    /// The table of connections is full, and none of those that were looked at makes way.
    ConnectionTableFull = "connection_table_full",
    /// The translated connection's addresses and ports are taken by another.
    ConnectionClash = "connection_clash",
    /// The masquerade's addresses have no port left.
    NatPortsExhausted = "nat_ports_exhausted",
    /// The fragment can be part of no datagram: it is empty, reaches beyond the largest one, or has no multiple of 8 bytes
    /// although it is not the last.
    FragmentMalformed = "fragment_malformed",
    /// The fragment overlaps another one of its datagram, or a later one does (RFC 5722, RFC 1858).
    FragmentOverlap = "fragment_overlap",
    /// The fragment has come before.
    FragmentDuplicate = "fragment_duplicate",
    /// The first fragment of the datagram did not come in time.
    FragmentFirstMissing = "fragment_first_missing",
    /// Too many fragments wait for the first one of their datagram.
    FragmentQueueFull = "fragment_queue_full",
    /// The first fragment of the datagram was not let pass.
    FragmentRefused = "fragment_refused",
    /// The packet is for an external address of NAT, and no rule or connection says to whom it goes.
    NatNoMapping = "nat_no_mapping",
    /// The translation of the address's prefix has none for this one: NPTv6 lacks a subnet, or an interface identifier (RFC 6296).
    NatPrefixUnmapped = "nat_prefix_unmapped",
    /// The packet has no equal in the other IP version, to which NAT64 was to translate it (RFC 6146, RFC 7915).
    Nat64Untranslatable = "nat64_untranslatable",
    /// The translation could not be written into the packet.
    NatRewriteFailed = "nat_rewrite_failed",
    /// No route leads to the destination.
    NoRoute = "no_route",
    /// The route leads through more VPCs than one packet is looked up in.
    RouteTooLong = "route_too_long",
    /// The peering that leads to the destination does not admit the sender: its VPC does not expose it.
    PeeringNotAdmitted = "peering_not_admitted",
    /// The packet came by one peering and would go on by another.
    PeeringTransit = "peering_transit",
    /// The destination is taken out of what a peering exposes, and no route leads there otherwise.
    PeeringNotExposed = "peering_not_exposed",
    /// The route is a blackhole.
    RouteBlackhole = "route_blackhole",
    /// The route says that the destination is unreachable.
    RouteUnreachable = "route_unreachable",
    /// The destination is the broadcast address of a subnet (RFC 2644).
    SubnetBroadcast = "subnet_broadcast",
    /// The packet is for the gateway itself, which has nothing that takes it.
    LocalNoService = "local_no_service",
    /// The ACL for packets that come in by the interface forbids the packet.
    AclInDenied = "acl_in_denied",
    /// The ACL of the peering that the packet crosses forbids it.
    AclPeeringDenied = "acl_peering_denied",
    /// The ACL for packets that leave by the interface forbids the packet.
    AclOutDenied = "acl_out_denied",
    /// The packet's time to live, or hop limit, is over.
    TtlExpired = "ttl_expired",
    /// The next hop does not answer ARP or neighbor solicitations.
    NeighborUnreachable = "neighbor_unreachable",
    /// Too many packets wait for the next hop to be resolved.
    NeighborQueueFull = "neighbor_queue_full",
    /// The packet is larger than the outgoing interface takes, and must not be fragmented.
    MtuExceeded = "mtu_exceeded",
    /// There is no buffer left for a packet of the gateway's own, or for a fragment of this one.
    NoBuffer = "no_buffer",
    /// The outgoing interface has no port that is open.
    PortClosed = "port_closed",
    /// The port's transmit queue is full.
    TransmitQueueFull = "transmit_queue_full",
    /// The ring to the worker that the packet's connection or port belongs to is full.
    HandOverFull = "hand_over_full",
    /// No node decided about the packet: a fault of the gateway's, to be reported.
    GraphFault = "graph_fault",
    /// The gateway was stopped while the packet was held.
    Stopped = "stopped",
}

impl DropReason {
    /// Whether an ACL has forbidden the packet.
    pub const fn is_of_acl(self) -> bool {
        matches!(
            self,
            DropReason::AclInDenied | DropReason::AclPeeringDenied | DropReason::AclOutDenied
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_every_reason_is_described() {
        let names: std::collections::BTreeSet<_> =
            DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(reason.description().ends_with('.'), "{}", reason.name());
        }
    }
}
