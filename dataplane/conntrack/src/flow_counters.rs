//! Where the packets of each flow are counted, beside the flows themselves: most gateways have no rules that count, and then no
//! page of this is ever touched.

use rewire_tables::acl::{MOST_ACLS, RuleCounter, RuleCounters};

/// Of each slot for a flow.
#[derive(Debug)]
pub(crate) struct FlowCounters {
    /// All zero at first, so that the system gives memory for what is written alone.
    slots: Vec<[u32; MOST_ACLS]>,
}

impl FlowCounters {
    pub(crate) fn new(capacity: usize) -> Self {
        FlowCounters {
            slots: vec![[RuleCounter::NONE.0; MOST_ACLS]; capacity],
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> RuleCounters {
        let counters = self.slots.get(slot as usize);
        counters.map_or_else(Default::default, |counters| counters.map(RuleCounter))
    }

    pub(crate) fn set(&mut self, slot: u32, counters: RuleCounters) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = counters.map(|counter| counter.0);
        }
    }
}
