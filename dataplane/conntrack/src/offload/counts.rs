//! What has become of offloads, in numbers.

use std::ops::AddAssign;

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What has become of offloads: of one table of connections, or of several.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct OffloadCounts {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl OffloadCounts {
            /// How many numbers there are.
            pub const FIELDS: usize = [$(stringify!($field)),*].len();

            /// The numbers, in their order.
            pub fn to_array(self) -> [u64; Self::FIELDS] {
                [$(self.$field),*]
            }

            /// Of the numbers in their order.
            pub fn from_array([$($field),*]: [u64; Self::FIELDS]) -> Self {
                OffloadCounts { $($field),* }
            }
        }

        impl AddAssign for OffloadCounts {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counts! {
    /// Flows that are offloaded now, in one direction at least, or are about to be, or are being taken back.
    flows,
    /// Flows that were, since the start: each as often as it came.
    taken,
    /// Rules that are installed now.
    rules,
    /// Installations that were asked for.
    installs,
    /// Of these, those that the card has confirmed.
    installed,
    /// Those that the card has refused because its table was full.
    card_full,
    /// Those that it has refused for another reason.
    refused,
    /// Removals that were asked for.
    removals,
    /// Of these, those that the card has confirmed.
    removed,
    /// Offers that came to nothing because the ring to the engine was full.
    ring_full,
    /// Offers that came to nothing because all places for offloaded flows were taken.
    places_full,
    /// Flows that were taken back because packets passed their rules by.
    strays,
    /// Flows that were taken back because the tables do not say any more what their rules do.
    outdated,
    /// Packets that the card has forwarded, as far as was told.
    packets,
    /// Their bytes, from the IP header on.
    bytes,
}
