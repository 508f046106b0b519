//! VPCs.

use crate::marks::Marks;
use crate::object::object;
use crate::types::{Line, Name};

/// The largest VXLAN network identifier: they have 24 bits (RFC 7348, section 5).
pub const LARGEST_VNI: u32 = 16_777_215;

object! {
    /// A virtual private cloud: one address space with one route table.
    VpcRow in "vpc" at "vpcs/{name}": "Virtual private clouds by name: each is an address space and a route table of its own." {
        key { name: Name }
        unique (vni);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// Its VXLAN network identifier: what its packets carry between gateways and hosts.
            vni: Option<u32> [1..=LARGEST_VNI],
        }
    }
}

impl VpcRow {
    /// A VPC of which nothing is said but its name.
    pub fn new(name: Name) -> Self {
        VpcRow {
            name,
            description: None,
            vni: None,
            marks: Marks::default(),
        }
    }
}
