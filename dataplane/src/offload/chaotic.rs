//! The chaotic card: whatever a card may do that nobody wishes for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rewire_conntrack::offload::{Card, Event, QueueFull, Refusal, Rule, RuleId, Usage};
use rewire_tables::InterfaceIndex;

use crate::clock::Instant;

/// How often it does what, in 256; and how late it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chaos {
    /// What the choices are made from: the same seed and calls lead to the same chaos.
    pub seed: u64,
    /// It refuses a rule in the call.
    pub refuses: u8,
    /// It says that its queue is full.
    pub full: u8,
    /// It takes a rule, and reports later that it could not install it.
    pub fails: u8,
    /// It reports a rule as installed that is not.
    pub forgets: u8,
    /// It loses a rule that is installed; for each of its calls to `poll`.
    pub loses: u8,
    /// It cannot remove a rule at the first try.
    pub keeps: u8,
    /// It has no answer, or an old one, when it is asked what a rule has done.
    pub evades: u8,
    /// It reports up to so much later, in any order.
    pub late: Duration,
}

/// A card in front of another, which it lets do its work, mostly. What it promises as a [`Card`] it keeps.
pub struct ChaoticCard<C> {
    card: C,
    chaos: Chaos,
    random: u64,
    /// Reported when their time has come, in this order.
    late: BTreeMap<(Instant, u64), Event>,
    /// Rules that are reported as installed, and whose removal was not asked for.
    installed: BTreeSet<RuleId>,
    /// Of these, those that the other card has not, or not any more, with what they had done.
    lost: BTreeMap<RuleId, Usage>,
    /// Removals that nobody has asked for, but chaos.
    losing: BTreeSet<RuleId>,
    number: u64,
    events: Vec<Event>,
}

impl<C: Card> ChaoticCard<C> {
    /// Lets chaos reign over a card.
    pub fn new(card: C, chaos: Chaos) -> Self {
        ChaoticCard {
            card,
            chaos,
            random: chaos.seed,
            late: BTreeMap::new(),
            installed: BTreeSet::new(),
            lost: BTreeMap::new(),
            losing: BTreeSet::new(),
            number: 0,
            events: Vec::new(),
        }
    }

    /// The next random number: SplitMix64 (G. Steele and others, "Fast splittable pseudorandom number generators", 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, chance: u8) -> bool {
        (self.random() as u8) < chance
    }

    /// Reports something, late.
    fn report(&mut self, event: Event, now: Instant) {
        let most = self.chaos.late.as_nanos() as u64;
        let late = self.random() % (most + 1);
        self.number += 1;
        let at = now.saturating_add(Duration::from_nanos(late));
        // At one moment, in any order.
        let order = self.random() << 32 | self.number;
        self.late.insert((at, order), event);
    }

    /// Loses an installed rule.
    fn lose(&mut self, now: Instant) {
        let from = RuleId {
            place: self.random() as u32 % self.installed.last().map_or(1, |id| id.place + 1),
            serial: 0,
        };
        let Some(id) = self.installed.range(from..).next().copied() else {
            return;
        };
        if self.lost.contains_key(&id) || self.losing.contains(&id) {
            return;
        }
        if self.card.remove(id, now).is_ok() {
            self.card.push(now);
            self.losing.insert(id);
        }
    }
}

impl<C: Card> Card for ChaoticCard<C> {
    fn reserve(&mut self, places: usize) {
        self.card.reserve(places);
    }

    fn install(&mut self, id: RuleId, rule: &Rule, now: Instant) -> Result<(), Refusal> {
        let Chaos {
            refuses,
            full,
            fails,
            forgets,
            ..
        } = self.chaos;
        if self.happens(refuses) {
            return Err(Refusal::Unsupported);
        }
        if self.happens(full) {
            return Err(Refusal::QueueFull);
        }
        if self.happens(fails) {
            self.report(Event::NotInstalled(id, Refusal::TableFull), now);
            return Ok(());
        }
        if self.happens(forgets) {
            self.lost.insert(id, Usage::default());
            self.report(Event::Installed(id), now);
            return Ok(());
        }
        self.card.install(id, rule, now)
    }

    fn remove(&mut self, id: RuleId, now: Instant) -> Result<(), QueueFull> {
        if self.happens(self.chaos.full) {
            return Err(QueueFull);
        }
        if self.happens(self.chaos.keeps) {
            self.report(Event::NotRemoved(id), now);
            return Ok(());
        }
        if let Some(usage) = self.lost.remove(&id) {
            self.installed.remove(&id);
            self.report(Event::Removed(id, usage), now);
            return Ok(());
        }
        // What is being lost is reported once that is done.
        if self.losing.remove(&id) {
            self.installed.remove(&id);
            return Ok(());
        }
        self.card.remove(id, now)?;
        self.installed.remove(&id);
        Ok(())
    }

    fn push(&mut self, now: Instant) {
        self.card.push(now);
    }

    fn poll(&mut self, now: Instant, limit: usize, events: &mut Vec<Event>) {
        if self.happens(self.chaos.loses) {
            self.lose(now);
        }
        let mut fetched = std::mem::take(&mut self.events);
        self.card.poll(now, usize::MAX, &mut fetched);
        for event in fetched.drain(..) {
            match event {
                Event::Removed(id, usage) if self.losing.remove(&id) => {
                    self.lost.insert(id, usage);
                }
                event => self.report(event, now),
            }
        }
        self.events = fetched;
        for _ in 0..limit {
            let Some(entry) = self.late.first_entry().filter(|entry| entry.key().0 <= now) else {
                break;
            };
            let event = entry.remove();
            match event {
                Event::Installed(id) => {
                    self.installed.insert(id);
                }
                // Lost since: it would be asked about, and is not there.
                Event::Idle(id) if !self.installed.contains(&id) => continue,
                _ => {}
            }
            events.push(event);
        }
    }

    fn query(&mut self, id: RuleId, now: Instant) -> Option<Usage> {
        if self.happens(self.chaos.evades) {
            return None;
        }
        match self.lost.get(&id) {
            Some(usage) => Some(*usage),
            None => self.card.query(id, now),
        }
    }

    fn close_port(&mut self, port: InterfaceIndex) {
        self.card.close_port(port);
    }
}
