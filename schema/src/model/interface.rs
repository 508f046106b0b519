//! Interfaces, their addresses and neighbors.

use std::net::IpAddr;

use super::LARGEST_VNI;
use crate::marks::Marks;
use crate::object::object;
use crate::port::Port;
use crate::types::{InterfaceAddress, InterfaceType, Line, MacAddress, Name};

/// The smallest MTU that an interface can have, in bytes: what every IPv4 host must take (RFC 791, section 3.1).
pub const SMALLEST_MTU: u16 = 576;
/// The largest MTU that an interface can have, in bytes.
pub const LARGEST_MTU: u16 = 9000;
/// The largest VLAN identifier: 0 and 4095 are reserved (IEEE 802.1Q).
pub const LARGEST_VLAN: u16 = 4094;

object! {
    /// An interface with addresses, in one VPC: a port, a VLAN of one, a tunnel end point, or the gateway itself.
    InterfaceRow in "interface" at "interfaces/{name}": "Interfaces by name." {
        key { name: Name }
        unique (port);
        unique (parent, vlan);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC that frames received here belong to.
            vpc: Name => "vpc",
            /// Where its frames come from and go to: `af_packet:eth0`, `tap:tap0`, `null:NAME`, `ring:NAME`,
            /// `pcap:receive=FILE,transmit=FILE` or `memif:socket=FILE,id=N,role=server`. A physical interface has one.
            port: Option<Port>,
            /// The MAC address that the gateway has here. A physical interface and a tunnel end point have one; a VLAN
            /// without one has that of its parent.
            mac: Option<MacAddress>,
            /// The largest IP packet that is sent and taken here, in bytes.
            mtu: u16 [SMALLEST_MTU..=LARGEST_MTU] = 1500,
            /// What it is; without it, physical.
            interface_type as "type": Option<InterfaceType>,
            /// Whether it is down: configured, but no frame is sent or taken, and routes over it are not used.
            disabled: bool,
            /// The physical interface that a VLAN is on.
            parent: Option<Name> => "interface",
            /// The VLAN identifier of its frames (IEEE 802.1Q).
            vlan: Option<u16> [1..=LARGEST_VLAN],
            /// The VXLAN network identifier of a tunnel end point; without it, that of its VPC.
            vni: Option<u32> [1..=LARGEST_VNI],
            /// The address that a tunnel end point sends from: one of the gateway's own, in `underlay`.
            local_address as "local": Option<IpAddr>,
            /// The other end of the tunnel; without it, each neighbor is its own.
            remote_address as "remote": Option<IpAddr>,
            /// The VPC that carries the tunnel's own packets.
            underlay: Option<Name> => "vpc",
            /// The ACL for packets that come in here.
            acl_in: Option<Name> => "acl",
            /// The ACL for packets that leave here.
            acl_out: Option<Name> => "acl",
            /// The policer for packets that come in here.
            policer: Option<Name> => "policer",
            /// The shaper for packets that leave here.
            shaper: Option<Name> => "shaper",
            /// Whether flows from here to such an interface are handed to the network card, where it can forward them itself.
            offload: bool,
        }
    }
}

impl InterfaceRow {
    /// A physical interface of which nothing else is said.
    pub fn physical(name: Name, vpc: Name, port: Port, mac: MacAddress) -> Self {
        InterfaceRow {
            name,
            description: None,
            vpc,
            port: Some(port),
            mac: Some(mac),
            mtu: 1500,
            interface_type: None,
            disabled: false,
            parent: None,
            vlan: None,
            vni: None,
            local_address: None,
            remote_address: None,
            underlay: None,
            acl_in: None,
            acl_out: None,
            policer: None,
            shaper: None,
            offload: false,
            marks: Marks::default(),
        }
    }

    /// What the interface is.
    pub fn kind(&self) -> InterfaceType {
        self.interface_type.unwrap_or_default()
    }
}

object! {
    /// One of an interface's own addresses.
    InterfaceAddressRow in "interface_address" at "interfaces/{interface}/addresses/<address>":
        "The gateway's own addresses, each with the length of its subnet's prefix." {
        key { interface: Name => "interface", address: InterfaceAddress }
        columns {}
    }
}

object! {
    /// A neighbor whose MAC address is set by hand.
    NeighborRow in "neighbor" at "interfaces/{interface}/neighbors/{address}":
        "Neighbors whose MAC address is set by hand, by their IP address. All others are resolved by ARP and neighbor discovery." {
        key { interface: Name => "interface", address: IpAddr }
        columns {
            /// The neighbor's MAC address.
            mac: MacAddress,
        }
    }
}
