//! Mbufs against a model, and the pool's accounts.

mod common;

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use common::eal;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rewire_dpdk::{HEADROOM, Mbuf, Mempool, free_bulk};

const BUFFERS: u32 = 61;
const ROOM: usize = 512;
const TOTAL: usize = HEADROOM as usize + ROOM;

#[derive(Debug, Clone)]
enum Step {
    Alloc,
    AllocBulk(usize),
    Prepend(usize, usize, u8),
    Append(usize, usize, u8),
    TrimFront(usize, usize),
    TrimBack(usize, usize),
    Truncate(usize, usize),
    Drop(usize),
    FreeBulk(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..64_usize;
    let length = prop_oneof![0..200_usize, 0..TOTAL + 2, Just(usize::MAX)];
    prop_oneof![
        2 => Just(Step::Alloc),
        1 => (0..40_usize).prop_map(Step::AllocBulk),
        2 => (which.clone(), length.clone(), any::<u8>()).prop_map(|(w, n, b)| Step::Prepend(w, n, b)),
        2 => (which.clone(), length.clone(), any::<u8>()).prop_map(|(w, n, b)| Step::Append(w, n, b)),
        1 => (which.clone(), length.clone()).prop_map(|(w, n)| Step::TrimFront(w, n)),
        1 => (which.clone(), length.clone()).prop_map(|(w, n)| Step::TrimBack(w, n)),
        1 => (which.clone(), length).prop_map(|(w, n)| Step::Truncate(w, n)),
        1 => which.clone().prop_map(Step::Drop),
        1 => which.prop_map(Step::FreeBulk),
    ]
}

/// What an mbuf should be.
#[derive(Debug, Default)]
struct Model {
    start: usize,
    bytes: VecDeque<u8>,
}

impl Model {
    fn new() -> Model {
        Model {
            start: usize::from(HEADROOM),
            bytes: VecDeque::new(),
        }
    }

    fn tailroom(&self) -> usize {
        TOTAL - self.start - self.bytes.len()
    }

    fn assert_equal(&self, mbuf: &Mbuf) {
        assert_eq!(mbuf.data(), self.bytes.iter().copied().collect::<Vec<_>>());
        assert_eq!(
            (mbuf.len(), mbuf.packet_len()),
            (self.bytes.len(), self.bytes.len())
        );
        assert_eq!(
            (mbuf.headroom(), mbuf.tailroom()),
            (self.start, self.tailroom())
        );
        assert!(mbuf.is_contiguous());
    }
}

/// Applies a step to both, and checks that they agree on whether it can be done.
fn apply(step: &Step, pool: &Mempool, all: &mut Vec<(Mbuf, Model)>) {
    let free = BUFFERS as usize - all.len();
    match *step {
        Step::Alloc => {
            let mbuf = pool.alloc();
            assert_eq!(mbuf.is_some(), free > 0);
            all.extend(mbuf.map(|mbuf| (mbuf, Model::new())));
        }
        Step::AllocBulk(count) => {
            let mut burst = ArrayVec::<Mbuf, 32>::new();
            burst.extend(pool.alloc());
            let held = burst.len();
            let fits = count <= 32 - held && count <= free - held;
            assert_eq!(pool.alloc_bulk(&mut burst, count), fits);
            assert_eq!(burst.len(), if fits { held + count } else { held });
            all.extend(burst.into_iter().map(|mbuf| (mbuf, Model::new())));
        }
        Step::FreeBulk(count) => {
            let count = count.min(all.len());
            free_bulk(all.drain(..count).map(|(mbuf, _)| mbuf));
        }
        Step::Drop(which) if which < all.len() => drop(all.swap_remove(which)),
        Step::Prepend(which, n, byte) => {
            let Some((mbuf, model)) = all.get_mut(which) else {
                return;
            };
            let fits = n <= model.start;
            let place = mbuf.prepend(n);
            assert_eq!(place.as_ref().map(|place| place.len()), fits.then_some(n));
            if let Some(place) = place {
                place.fill(byte);
                model.start -= n;
                (0..n).for_each(|_| model.bytes.push_front(byte));
            }
        }
        Step::Append(which, n, byte) => {
            let Some((mbuf, model)) = all.get_mut(which) else {
                return;
            };
            let fits = n <= model.tailroom();
            let place = mbuf.append(n);
            assert_eq!(place.as_ref().map(|place| place.len()), fits.then_some(n));
            if let Some(place) = place {
                place.fill(byte);
                model.bytes.extend(std::iter::repeat_n(byte, n));
            }
        }
        Step::TrimFront(which, n) => {
            let Some((mbuf, model)) = all.get_mut(which) else {
                return;
            };
            let fits = n <= model.bytes.len();
            assert_eq!(mbuf.trim_front(n), fits);
            if fits {
                model.start += n;
                model.bytes.drain(..n);
            }
        }
        Step::TrimBack(which, n) => {
            let Some((mbuf, model)) = all.get_mut(which) else {
                return;
            };
            let fits = n <= model.bytes.len();
            assert_eq!(mbuf.trim_back(n), fits);
            if fits {
                model.bytes.truncate(model.bytes.len() - n);
            }
        }
        Step::Truncate(which, n) => {
            let Some((mbuf, model)) = all.get_mut(which) else {
                return;
            };
            let fits = n <= model.bytes.len();
            assert_eq!(mbuf.truncate(n), fits);
            if fits {
                model.bytes.truncate(n);
            }
        }
        Step::Drop(_) => {}
    }
}

#[test]
fn mbufs_do_as_the_model_and_none_is_lost() {
    let eal = eal();
    let pool = Mempool::new(&eal, "model", BUFFERS, ROOM as u16).unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let steps = proptest::collection::vec(step(), 0..120);
    let outcome = runner.run(&steps, |steps| {
        let mut all = Vec::new();
        for step in &steps {
            apply(step, &pool, &mut all);
            all.iter()
                .for_each(|(mbuf, model): &(Mbuf, Model)| model.assert_equal(mbuf));
            assert_eq!(pool.in_use() as usize, all.len());
            assert_eq!(pool.available(), BUFFERS - pool.in_use());
        }
        drop(all);
        prop_assert_eq!(pool.in_use(), 0);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn threads_with_caches_lose_none() {
    let eal = eal();
    let pool = common::pool(&eal);
    let (send, received) = std::sync::mpsc::sync_channel::<Vec<Mbuf>>(4);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let send = send;
            let _registration = eal.register_thread().unwrap();
            for _ in 0..2000 {
                let mut burst = ArrayVec::<Mbuf, 64>::new();
                assert!(pool.alloc_bulk(&mut burst, 64));
                send.send(burst.into_iter().collect()).unwrap();
            }
        });
        scope.spawn(|| {
            let _registration = eal.register_thread().unwrap();
            for (n, burst) in received.into_iter().enumerate() {
                match n % 2 {
                    0 => free_bulk(burst),
                    _ => drop(burst),
                }
            }
        });
    });
    assert_eq!(pool.in_use(), 0);
    assert_eq!(pool.available(), pool.buffers());
}
