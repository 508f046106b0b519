//! What is said of the addresses that begin with some bits: a value, or where it is told further.

/// The bits of an address that one node of the trie decides on.
pub(super) const STRIDE: u8 = 6;
/// The slots of a node.
pub(super) const SLOTS: usize = 1 << STRIDE;

/// Nothing (0), a value (its number, from 1 on), or with the highest bit set, what leads to a table or to a leaf:
///
/// | bits | 31 | 30 | 29–27 | 26–0 |
/// |---|---|---|---|---|
/// | table | 1 | 0 | its stride less one | its offset, in pairs of words |
/// | leaf | 1 | 1 | the number of its line, from bit 29 on | |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slot(pub(super) u32);

/// What a slot says, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Of all these addresses the same.
    Value,
    /// A table whose first word is at `at` decides on the next `stride` bits, 1 to 6.
    Table { at: usize, stride: u8 },
    /// The leaf of this number.
    Leaf(u32),
}

impl Slot {
    /// Nothing is known of these addresses.
    pub(super) const NONE: Slot = Slot(0);
    /// Set in what leads further.
    pub(super) const LEADS: u32 = 1 << 31;
    /// Set in what leads to a leaf.
    pub(super) const LEAF: u32 = 1 << 30;
    /// Where a table's stride less one begins.
    pub(super) const STRIDE_FROM: u32 = 27;
    /// The bits of a table's offset.
    pub(super) const OFFSET: u32 = (1 << Self::STRIDE_FROM) - 1;
    /// Stands for a node that the direct table shows: it differs from every value, and no lookup follows it.
    pub(super) const MIRRORED: Slot = Slot(Self::LEADS | 7 << Self::STRIDE_FROM);

    /// A table's offset is even, as those of all blocks are.
    pub(super) fn table(at: u32, stride: u8) -> Slot {
        Slot(Self::LEADS | u32::from(stride - 1) << Self::STRIDE_FROM | (at / 2))
    }

    pub(super) fn leaf(line: u32) -> Slot {
        Slot(Self::LEADS | Self::LEAF | line)
    }

    #[inline(always)]
    pub(super) fn says(self) -> Says {
        if self.0 & Self::LEADS == 0 {
            Says::Value
        } else if self.0 & Self::LEAF != 0 {
            Says::Leaf(self.0 & (Self::LEAF - 1))
        } else {
            Says::Table {
                at: 2 * (self.0 & Self::OFFSET) as usize,
                stride: (self.0 >> Self::STRIDE_FROM & 7) as u8 + 1,
            }
        }
    }

    /// Where the table begins that this leads to, and its stride; none where it leads to no table that lookups read.
    pub(super) fn as_table(self) -> Option<(usize, u8)> {
        match self.says() {
            Says::Table { at, stride } if self != Self::MIRRORED => Some((at, stride)),
            _ => None,
        }
    }

    /// Whether this is a value, or nothing.
    #[inline(always)]
    pub(super) fn is_value(self) -> bool {
        self.0 & Self::LEADS == 0
    }

    /// Whether this leads to a table.
    #[inline(always)]
    pub(super) fn is_table(self) -> bool {
        self.0 & (Self::LEADS | Self::LEAF) == Self::LEADS
    }
}

/// The 64 slots of a node.
pub(super) type Slots = [Slot; SLOTS];
