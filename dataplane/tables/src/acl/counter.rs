//! Where rules count.

/// Where packets are counted that a rule of an ACL decides about, or its default: a place in the arrays of whoever counts. It
/// is given by whoever feeds operations to tables, and is no part of what tables say: no digest knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleCounter(pub u32);

impl RuleCounter {
    /// Nowhere.
    pub const NONE: RuleCounter = RuleCounter(0);
}

/// The most ACLs on a packet's way: where it comes in, where it crosses a peering, and where it leaves.
pub const MOST_ACLS: usize = 3;

/// Where a packet is counted: at each of the places where it may meet an ACL, in their order.
pub type RuleCounters = [RuleCounter; MOST_ACLS];

/// The counters of a packet that met no ACL.
pub const UNCOUNTED: RuleCounters = [RuleCounter::NONE; MOST_ACLS];
