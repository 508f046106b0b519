//! The addresses that are looked up.

use super::random::Random;
use super::routes::{Family, RouteTable};

/// How many addresses one run looks up.
pub(crate) const LOOKUPS: usize = 1 << 20;

/// Which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Any address.
    Random,
    /// A random address inside a random route.
    Hit,
    /// 65,536 addresses like those of `Hit`, the *k*th with a frequency of 1/*k*.
    Zipf,
    /// One address like those of `Hit`.
    Repeat,
}

impl Workload {
    /// The addresses, in the order in which they are looked up.
    pub(crate) fn addresses<A: Family>(self, table: &RouteTable<A>) -> Vec<A> {
        let mut random = Random::new(7);
        let mut number = move || u128::from(random.next()) << 64 | u128::from(random.next());
        let mut choice = Random::new(8);
        let mut hit = |choice: &mut Random| {
            let ((network, length), _) = table.routes[choice.below(table.routes.len())];
            let behind = (u128::MAX >> (128 - A::BITS)).checked_shr(u32::from(length));
            A::from_number(network.to_number() | number() & behind.unwrap_or(0))
        };
        match self {
            Workload::Random => {
                let mut random = Random::new(9);
                let mut any = || u128::from(random.next()) << 64 | u128::from(random.next());
                (0..LOOKUPS).map(|_| A::from_number(any())).collect()
            }
            Workload::Hit => (0..LOOKUPS).map(|_| hit(&mut choice)).collect(),
            Workload::Repeat => vec![hit(&mut choice); LOOKUPS],
            Workload::Zipf => {
                let destinations: Vec<A> = (0..65_536).map(|_| hit(&mut choice)).collect();
                let mut sum = 0.0;
                let sums: Vec<f64> = (1..=destinations.len())
                    .map(|rank| {
                        sum += 1.0 / rank as f64;
                        sum
                    })
                    .collect();
                let rank = |share: f64| sums.partition_point(|before| *before <= share * sum);
                (0..LOOKUPS)
                    .map(|_| destinations[rank(choice.share()).min(destinations.len() - 1)])
                    .collect()
            }
        }
    }
}
