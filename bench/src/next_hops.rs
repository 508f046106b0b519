//! Which next hop a flow takes: the cost of one choice among 2, 4 and 16 next hops with different weights. No peer: it is
//! what each packet of a route with several next hops pays on top.

use std::hint::black_box;
use std::time::Instant;

use rewire_tables::{InterfaceIndex, NextHop, NextHops};

use crate::report::{Report, Run, median};

const RUNS: usize = 7;
const CHOICES: u64 = 4_000_000;

fn next_hops(number: u16) -> Option<NextHops> {
    NextHops::new((0..number).map(|n| {
        let via = Some([192, 0, 2, n as u8].into());
        NextHop::new(InterfaceIndex(n), "wan0", via).with_weight(1 + n)
    }))
}

/// The cost of a choice, in ns.
fn cost(hops: &NextHops) -> f64 {
    let start = Instant::now();
    let mut flow = 1u64;
    for _ in 0..CHOICES {
        flow = flow.wrapping_add(0x9e37_79b9_7f4a_7c15);
        black_box(hops.select(|| flow));
    }
    start.elapsed().as_nanos() as f64 / CHOICES as f64
}

pub(crate) fn run() -> Result<Report, Box<dyn std::error::Error>> {
    println!("data: next hops of one interface, weights 1, 2, 3…; {CHOICES} flows a run");
    let sets = [1, 2, 4, 16].map(next_hops);
    let mut all: Vec<[f64; 4]> = Vec::new();
    for _ in 0..RUNS {
        let mut costs = [0.0; 4];
        for (cost, hops) in costs.iter_mut().zip(&sets) {
            *cost = self::cost(hops.as_ref().ok_or("there is no next hop")?);
        }
        all.push(costs);
    }
    let of = |set: usize| median(all.iter().map(|costs| costs[set]));
    let run = |costs: &[f64; 4]| Run {
        ours: costs[2],
        peer: None,
    };
    Ok(Report {
        unit: "ns/choice-of-4",
        peer_name: "-",
        runs: all.iter().map(run).collect(),
        more: vec![("of_1_ns", of(0)), ("of_2_ns", of(1)), ("of_16_ns", of(3))],
    })
}
