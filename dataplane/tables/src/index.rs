//! Dense indices: what packets carry in place of names, and what arrays are read by.

use std::fmt;

/// Makes an index type over `u16`.
macro_rules! index {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            /// The index as a position in an array.
            pub fn position(self) -> usize {
                usize::from(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "#{}", self.0)
            }
        }
    };
}

index! {
    /// The index of a VPC: the same for as long as the VPC is there; a later VPC may get it again.
    VpcIndex
}
index! {
    /// The index of an interface: the same for as long as the interface is there; a later one may get it again.
    InterfaceIndex
}
index! {
    /// The index of an ACL: the same for as long as the ACL is there; a later one may get it again.
    AclIndex
}
index! {
    /// The index of a peering: the same for as long as the peering is there; a later one may get it again.
    PeeringIndex
}
