//! The next hops of a route, and which of them a flow takes.
//!
//! A flow takes the next hop whose score is the lowest: *weighted rendezvous hashing* (Thaler and Ravishankar 1998, with
//! the weights of Schindelhauer and Schomaker 2005). A score is an exponential variate, drawn from the hash of flow and
//! next hop, divided by the weight. So each next hop gets its weight's share, and:
//!
//! - the choice depends on the set alone, in whatever order and by whatever history it came about (law 4);
//! - what one next hop gains or loses by coming, going, or getting another weight is all that moves: no flow changes
//!   between two next hops that stayed as they were. RFC 2992, section 3 compares other ways.
//!
//! There is no table of buckets: nothing to build when a route changes, no share rounded to a bucket, and a million routes
//! with next hops of their own cost what the next hops take. The price is a score for each next hop and packet.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::route::{NextHop, mix};

/// One next hop or more, in order, no two of them to the same place. Equal by value; cheap to clone.
#[derive(Clone)]
pub struct NextHops {
    /// What all of them come to: tables that tell routes apart by it need not read the next hops.
    digest: u64,
    hops: Arc<[Candidate]>,
}

/// A next hop, with what its score is made of.
struct Candidate {
    /// Both are drawn from where the next hop leads, not from its weight.
    seed: u64,
    multiplier: u64,
    /// 2²⁴ divided by the weight.
    inverse_weight: u32,
    hop: NextHop,
}

impl NextHops {
    /// Takes next hops in any order. The weights of those that lead to the same place are added. None where there is no
    /// next hop. Cost: one allocation, and a sort where there are several.
    pub fn new(hops: impl IntoIterator<Item = NextHop>) -> Option<NextHops> {
        let mut hops: Vec<NextHop> = hops.into_iter().collect();
        hops.sort_unstable();
        hops.dedup_by(|next, kept| {
            let same = next.place() == kept.place();
            if same {
                *kept = kept.with_weight(kept.weight().saturating_add(next.weight()));
            }
            same
        });
        (!hops.is_empty()).then(|| NextHops::of(hops.into_iter().map(Candidate::new).collect()))
    }

    /// A single next hop.
    pub fn one(hop: NextHop) -> NextHops {
        NextHops::of(Arc::new([Candidate::new(hop)]))
    }

    fn of(hops: Arc<[Candidate]>) -> NextHops {
        let digest = hops.iter().fold(0, |digest, candidate| {
            let hop = &candidate.hop;
            let own = u64::from(hop.weight()) << 16 | u64::from(hop.interface().0);
            mix(mix(digest ^ candidate.seed) ^ own)
        });
        NextHops { digest, hops }
    }

    /// The next hop that a flow takes: always the same for the same hash. Where there is only one, the hash is not asked
    /// for.
    pub fn select(&self, flow_hash: impl FnOnce() -> u64) -> &NextHop {
        if let Some(only) = self.only() {
            return only;
        }
        let flow_hash = flow_hash();
        let mut best = &self.hops[0];
        let mut lowest = u64::MAX;
        for candidate in &*self.hops {
            let score = candidate.score(flow_hash);
            if score < lowest {
                (best, lowest) = (candidate, score);
            }
        }
        &best.hop
    }

    /// The next hop, where there is only one.
    #[inline]
    pub fn only(&self) -> Option<&NextHop> {
        match &*self.hops {
            [only] => Some(&only.hop),
            _ => None,
        }
    }

    /// Whether the destination itself is the one next hop.
    #[inline]
    pub fn is_on_link(&self) -> bool {
        self.only().is_some_and(|hop| hop.via().is_none())
    }

    /// What tells them from all other next hops that are there at the same time. It may stand for others later.
    #[inline]
    pub fn place(&self) -> usize {
        self.hops.as_ptr() as usize
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &NextHop> {
        self.hops.iter().map(|candidate| &candidate.hop)
    }
}

impl Candidate {
    fn new(hop: NextHop) -> Candidate {
        let (name_seed, via) = hop.place();
        let via = match via {
            None => (0, 0),
            Some(IpAddr::V4(address)) => (1, u128::from(address.to_bits())),
            Some(IpAddr::V6(address)) => (2, address.to_bits()),
        };
        let seed = mix(mix(name_seed ^ via.0) ^ via.1 as u64);
        let seed = mix(seed ^ (via.1 >> 64) as u64);
        let weight = u32::from(hop.weight());
        Candidate {
            seed,
            multiplier: mix(seed) | 1,
            inverse_weight: ((1 << 24) + weight / 2) / weight,
            hop,
        }
    }

    /// An exponential variate of rate `weight`, in units of ln 2 / 2⁵⁵.
    fn score(&self, flow_hash: u64) -> u64 {
        let product = u128::from(flow_hash ^ self.seed) * u128::from(self.multiplier);
        let uniform = (product as u64) ^ ((product >> 64) as u64);
        negative_log2(uniform) * u64::from(self.inverse_weight)
    }
}

/// log₂(1 + i/256) in units of 2⁻³¹.
static LOG2: [u32; 257] = log2_table();

const fn log2_table() -> [u32; 257] {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 257 {
        // Squaring doubles the logarithm: each carry past 2 is its next binary digit.
        let mut value: u128 = (256 + i as u128) << 54;
        let mut digits: u64 = 0;
        if i == 256 {
            digits = 1 << 32;
        }
        let mut digit = 32;
        while digit > 0 && i < 256 {
            digit -= 1;
            value = (value * value) >> 62;
            if value >> 63 != 0 {
                digits |= 1 << digit;
                value >>= 1;
            }
        }
        table[i] = ((digits + 1) >> 1) as u32;
        i += 1;
    }
    table
}

/// -log₂(`uniform` / 2⁶⁴) in units of 2⁻³¹, by linear interpolation: deterministic, and within 0.2 % even near 0, where
/// the choice among many next hops is made.
fn negative_log2(uniform: u64) -> u64 {
    let uniform = uniform | 1;
    let exponent = uniform.leading_zeros();
    let mantissa = uniform << exponent;
    let index = (mantissa >> 55) as usize & 0xff;
    let fraction = (mantissa >> 31) & 0xff_ffff;
    let (low, high) = (u64::from(LOG2[index]), u64::from(LOG2[index + 1]));
    (u64::from(exponent + 1) << 31) - low - (((high - low) * fraction) >> 24)
}

impl PartialEq for NextHops {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && (Arc::ptr_eq(&self.hops, &other.hops) || self.iter().eq(other.iter()))
    }
}

impl Eq for NextHops {}

impl Hash for NextHops {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl fmt::Debug for NextHops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::InterfaceIndex;

    fn hop(number: u8, weight: u16) -> NextHop {
        let via = (!number.is_multiple_of(5)).then(|| [192, 0, 2, number].into());
        let interface = u16::from(number % 3);
        NextHop::new(InterfaceIndex(interface), &format!("eth{interface}"), via).with_weight(weight)
    }

    const FLOWS: u64 = 20_000;

    fn choices(hops: &NextHops, salt: u64) -> Vec<&NextHop> {
        let flows = (0..FLOWS).map(|flow| mix(salt ^ mix(flow)));
        flows.map(|hash| hops.select(|| hash)).collect()
    }

    #[test]
    fn logarithms_are_those_of_the_processor() {
        for shift in 0..64 {
            for step in 0..1000u64 {
                let uniform = mix(step) >> shift | 1;
                let exact = 64.0 - (uniform as f64).log2();
                let ours = negative_log2(uniform) as f64 / f64::from(1u32 << 31);
                assert!((ours - exact).abs() < 4e-6, "{uniform:#x} {ours} {exact}");
            }
        }
        // Near 0 the error is relative.
        for uniform in (0..60).map(|shift| !(1u64 << shift)) {
            let exact = -((-((!uniform) as f64 + 1.0) / 2f64.powi(64)).ln_1p()) / 2f64.ln();
            let ours = negative_log2(uniform) as f64 / f64::from(1u32 << 31);
            assert!(
                (ours - exact).abs() < 2e-3 * exact + 2e-9,
                "{uniform:#x} {ours} {exact}"
            );
        }
    }

    #[test]
    fn one_next_hop_takes_all_without_a_hash_and_none_is_no_route() {
        let one = NextHops::one(hop(1, 0));
        assert_eq!(one.select(|| unreachable!()), &hop(1, 1));
        assert_eq!(NextHops::new([hop(1, 1)]), Some(one));
        assert_eq!(NextHops::new([]), None);
    }

    #[test]
    fn what_leads_to_the_same_place_is_one_next_hop() {
        let added = NextHops::new([hop(2, 3), hop(1, 1), hop(2, 4)]).unwrap();
        assert_eq!(added, NextHops::new([hop(1, 1), hop(2, 7)]).unwrap());
        assert_eq!(added.iter().len(), 2);
        let most = NextHops::new([hop(2, u16::MAX), hop(2, 1)]).unwrap();
        assert_eq!(most.iter().next(), Some(&hop(2, u16::MAX)));
    }

    #[test]
    fn another_index_of_the_same_interface_changes_no_choice() {
        let hops = |turn: u16| {
            let hop = |n: u16| NextHop::new(InterfaceIndex(n ^ turn), &format!("eth{n}"), None);
            NextHops::new((0..4).map(hop)).unwrap()
        };
        let (before, after) = (hops(0), hops(3));
        for flow in 0..100 {
            let hash = mix(flow);
            let (before, after) = (before.select(|| hash), after.select(|| hash));
            assert_eq!(before.interface().0, after.interface().0 ^ 3);
        }
    }

    /// Weights from 1 to 256, by the number of the next hop.
    fn weights() -> impl Strategy<Value = HashMap<u8, u16>> {
        prop::collection::hash_map(0u8..40, prop_oneof![1u16..5, 1u16..=256], 2..17)
    }

    fn next_hops(weights: &HashMap<u8, u16>) -> NextHops {
        NextHops::new(weights.iter().map(|(number, weight)| hop(*number, *weight))).unwrap()
    }

    /// Five standard deviations of a count of `FLOWS` that are each counted with this probability, and the error of the
    /// logarithm.
    fn tolerance(probability: f64) -> f64 {
        let flows = FLOWS as f64;
        5.0 * (flows * probability * (1.0 - probability)).sqrt() + 1.0 + 0.004 * flows * probability
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn each_next_hop_gets_its_weights_share(weights in weights(), salt in any::<u64>()) {
            let hops = next_hops(&weights);
            let sum: f64 = hops.iter().map(|hop| f64::from(hop.weight())).sum();
            let mut counts = HashMap::<NextHop, f64>::new();
            for choice in choices(&hops, salt) {
                *counts.entry(*choice).or_default() += 1.0;
            }
            for hop in hops.iter() {
                let share = f64::from(hop.weight()) / sum;
                let count = counts.get(hop).copied().unwrap_or_default();
                prop_assert!(
                    (count - share * FLOWS as f64).abs() < tolerance(share),
                    "{hop:?}: {count} of {FLOWS}, its share is {share}"
                );
            }
        }

        /// A next hop comes, goes or gets another weight: flows move to it or from it alone, and as many as its share
        /// changed by.
        #[test]
        fn only_the_share_that_changed_moves(
            weights in weights(),
            changed in 0u8..40,
            weight in prop::option::weighted(0.7, 1u16..=256),
            salt in any::<u64>(),
        ) {
            let mut after = weights.clone();
            match weight {
                Some(weight) => drop(after.insert(changed, weight)),
                None => drop(after.remove(&changed)),
            }
            let (before, after) = (next_hops(&weights), next_hops(&after));
            let share = |hops: &NextHops| {
                let sum: f64 = hops.iter().map(|hop| f64::from(hop.weight())).sum();
                let of = hops.iter().find(|other| other.place() == hop(changed, 1).place());
                of.map_or(0.0, |hop| f64::from(hop.weight())) / sum
            };
            let moves = (share(&after) - share(&before)).abs();
            let mut moved = 0.0;
            for (old, new) in choices(&before, salt).into_iter().zip(choices(&after, salt)) {
                if old.place() != new.place() {
                    moved += 1.0;
                    prop_assert!(
                        [old.place(), new.place()].contains(&hop(changed, 1).place()),
                        "{old:?} to {new:?}, but {changed} changed"
                    );
                }
            }
            prop_assert!(
                (moved - moves * FLOWS as f64).abs() < tolerance(moves),
                "{moved} of {FLOWS} moved; the share changed by {moves}"
            );
        }

        #[test]
        fn the_order_does_not_matter(weights in weights(), turn in 0usize..17, hash in any::<u64>()) {
            let mut list: Vec<_> = weights.iter().map(|(number, weight)| hop(*number, *weight)).collect();
            let one = NextHops::new(list.clone()).unwrap();
            let turn = turn % list.len();
            list.rotate_left(turn);
            let other = NextHops::new(list).unwrap();
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.select(|| hash), other.select(|| hash));
        }
    }
}
