//! Sets of addresses that rules name.

use crate::object::object;
use crate::types::{Addresses, Line, Name};

object! {
    /// A named set of addresses.
    AddressSetRow in "address_set" at "address_sets/{name}": "Sets of addresses by name, for rules of ACLs." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
        }
    }
}

object! {
    /// Addresses of a set.
    AddressSetMemberRow in "address_set_member" at "address_sets/{address_set}/members/<addresses>":
        "The addresses: prefixes, ranges and single ones." {
        key { address_set: Name => "address_set", addresses: Addresses }
        columns {}
    }
}
