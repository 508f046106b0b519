//! The engine: what stands between the workers and the card.

use std::sync::Arc;
use std::time::Duration;

use rewire_tables::memory::prefetch;
use rtrb::Producer;

use super::card::{Card, Event, QueueFull, Refusal};
use super::histogram::Histogram;
use super::places::{Phase, Place, Places};
use super::queue::{EngineQueue, Report, Request, WorkerQueue, queue};
use super::rule::RuleId;
use crate::time::Instant;

/// Requests of one worker that are taken at once, so that the others have their turn, and the card its doorbell.
const BATCH: usize = 16;
/// How often that is done in one poll, while there is more.
const ROUNDS: usize = 4;
/// Events that are fetched in one poll, at most: requests wait meanwhile.
const EVENTS: usize = 16;
/// Rules that one call asks the card about, at most.
const QUERIES: usize = 256;

/// How an engine is made.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Its queues: one for each worker and address family.
    pub queues: usize,
    /// Flows that each queue has places for: twice as many rules.
    pub flows: u32,
    /// Requests that each queue holds at most.
    pub requests: usize,
    /// How often each rule is asked what it has done.
    pub query_every: Duration,
}

/// How long rules take to come and go.
#[derive(Debug, Default)]
pub struct Latencies {
    /// From the decision to offload until the rule was handed to the card.
    pub install_handed: Histogram,
    /// From there until the card has confirmed it.
    pub install_confirmed: Histogram,
    /// From the decision to remove a rule until that was handed to the card.
    pub remove_handed: Histogram,
    /// From there until the card has confirmed it.
    pub remove_confirmed: Histogram,
}

/// Takes the workers' requests to the card, and its answers back. One thread polls it, or, on a clock that stands still, whoever
/// owns it; it never waits.
pub struct Engine {
    card: Box<dyn Card>,
    queues: Vec<EngineQueue>,
    places: Places,
    /// Rules that are in the card, or on their way.
    rules: usize,
    /// Removals to be tried again.
    again: Vec<RuleId>,
    /// When that was done last.
    tried_again: Option<Instant>,
    events: Vec<Event>,
    handed: Vec<(RuleId, Instant)>,
    query_every: Duration,
    /// When the place was asked that was asked last.
    queried: Instant,
    latencies: Arc<Latencies>,
}

impl Engine {
    /// An engine, and the workers' ends of its queues.
    pub fn new(mut card: Box<dyn Card>, config: &EngineConfig) -> (Self, Vec<WorkerQueue>) {
        let places_per_queue = 2 * config.flows as usize;
        let places = places_per_queue * config.queues;
        card.reserve(places);
        let (mut workers, mut queues) = (Vec::new(), Vec::new());
        for number in 0..config.queues {
            let first_place = (number * places_per_queue) as u32;
            let (worker, engine) = queue(first_place, config.flows, config.requests);
            workers.push(worker);
            queues.push(engine);
        }
        let engine = Engine {
            card,
            places: Places::new(config.queues, places_per_queue),
            rules: 0,
            again: Vec::new(),
            tried_again: None,
            events: Vec::with_capacity(EVENTS),
            handed: Vec::with_capacity(BATCH),
            query_every: config.query_every,
            queried: Instant(0),
            latencies: Arc::default(),
            queues,
        };
        (engine, workers)
    }

    /// How long rules have taken: anybody may look while the engine runs.
    pub fn latencies(&self) -> Arc<Latencies> {
        Arc::clone(&self.latencies)
    }

    /// Whether rules are in the card, or on their way.
    pub fn has_rules(&self) -> bool {
        self.rules > 0
    }

    /// A port is about to be closed: see [`Card::close_port`].
    pub fn close_port(&mut self, port: rewire_tables::InterfaceIndex) {
        self.card.close_port(port);
    }

    /// Does what there is to do, by this clock; tells how much that was: zero where there was nothing.
    ///
    /// What is to be handed over goes before what the card has to tell, so that what has waited while the thread was away is with
    /// the card soon. Neither keeps the other back for long: where more comes in than goes out, the card's queue is full at last.
    pub fn poll(&mut self, clock: impl Fn() -> Instant) -> usize {
        let mut now = clock();
        let mut done = self.try_again(now);
        for _ in 0..ROUNDS {
            let mut is_more = false;
            for queue in 0..self.queues.len() {
                let taken = self.take_requests(queue, &mut now, &clock);
                is_more |= taken == BATCH;
                done += taken;
            }
            if !is_more {
                break;
            }
        }
        done + self.fetch_events(now) + self.query(now)
    }

    /// Tries removals again that the card could not do, once at each moment: at a clock that stands still, whoever polls until
    /// nothing is left to do would never be done with a card that says no each time.
    fn try_again(&mut self, now: Instant) -> usize {
        if self.again.is_empty() || self.tried_again.is_some_and(|tried| now <= tried) {
            return 0;
        }
        self.tried_again = Some(now);
        let card = &mut self.card;
        self.again
            .retain(|id| card.remove(*id, now) == Err(QueueFull));
        card.push(now);
        0
    }

    /// Takes requests of one worker to the card, up to a batch, and rings its doorbell for them; `now` is when, then.
    fn take_requests(
        &mut self,
        queue: usize,
        now: &mut Instant,
        clock: &impl Fn() -> Instant,
    ) -> usize {
        let EngineQueue { requests, reports } = &mut self.queues[queue];
        // What a request leads to at once must have room, too.
        let number = requests.slots().min(BATCH).min(reports.slots());
        let Ok(waiting) = requests.read_chunk(number) else {
            return 0;
        };
        self.handed.clear();
        let mut taken = 0;
        let (first, second) = waiting.as_slices();
        // They lie in the worker's cache: all come at once so, and not one after the other.
        first.iter().chain(second).for_each(prefetch);
        for request in first.iter().chain(second) {
            let (id, decided) = match request {
                Request::Install { id, rule, decided } => {
                    match self.card.install(*id, rule, *now) {
                        Ok(()) => {}
                        Err(Refusal::QueueFull) => break,
                        Err(refusal) => {
                            report(reports, Report::NotInstalled(*id, refusal));
                            taken += 1;
                            continue;
                        }
                    }
                    self.rules += 1;
                    let place = Place {
                        phase: Phase::Installing,
                        serial: id.serial,
                        ..Place::default()
                    };
                    self.places.set(*id, place);
                    (*id, *decided)
                }
                Request::Remove { id, decided } => {
                    if self.card.remove(*id, *now) == Err(QueueFull) {
                        break;
                    }
                    if let Some(place) = self.places.get(*id) {
                        place.phase = Phase::Removing;
                    }
                    (*id, *decided)
                }
            };
            self.handed.push((id, decided));
            taken += 1;
        }
        waiting.commit(taken);
        if self.handed.is_empty() {
            return taken;
        }
        self.card.push(*now);
        *now = clock();
        for (id, decided) in self.handed.drain(..) {
            let Some(place) = self.places.get(id) else {
                continue;
            };
            place.handed = *now;
            let histogram = match place.phase {
                Phase::Removing => &self.latencies.remove_handed,
                _ => &self.latencies.install_handed,
            };
            histogram.record(now.duration_since(decided));
        }
        taken
    }

    /// Fetches what the card has done, as much as all workers have room for.
    fn fetch_events(&mut self, now: Instant) -> usize {
        let room = self.queues.iter().map(|queue| queue.reports.slots()).min();
        let limit = room.unwrap_or(0).min(EVENTS);
        if limit == 0 {
            return 0;
        }
        self.events.clear();
        self.card.poll(now, limit, &mut self.events);
        let fetched = self.events.len();
        for event in self.events.drain(..) {
            let (Event::Installed(id)
            | Event::NotInstalled(id, _)
            | Event::Removed(id, _)
            | Event::NotRemoved(id)
            | Event::Idle(id)) = event;
            let queue = self.places.queue_of(id);
            let Some(place) = self.places.get(id) else {
                continue;
            };
            if place.serial != id.serial {
                continue;
            }
            let took = now.duration_since(place.handed);
            let reported = match (event, place.phase) {
                (Event::Installed(id), Phase::Installing) => {
                    place.phase = Phase::Installed;
                    self.latencies.install_confirmed.record(took);
                    Report::Installed(id)
                }
                (Event::NotInstalled(id, refusal), Phase::Installing) => {
                    place.phase = Phase::Free;
                    self.rules -= 1;
                    Report::NotInstalled(id, refusal)
                }
                (Event::Removed(id, usage), Phase::Removing) => {
                    place.phase = Phase::Free;
                    self.rules -= 1;
                    self.latencies.remove_confirmed.record(took);
                    Report::Removed(id, usage)
                }
                (Event::NotRemoved(id), Phase::Removing) => {
                    self.again.push(id);
                    continue;
                }
                (Event::Idle(id), Phase::Installed) => Report::Idle(id),
                // Not as promised; nothing that a worker waits for.
                _ => continue,
            };
            report(&mut self.queues[queue].reports, reported);
        }
        fetched
    }

    /// Asks the card what rules have done, each so often; tells what that led to, or how many were asked where others are due.
    fn query(&mut self, now: Instant) -> usize {
        let places = self.places.used() as u128;
        let every = self.query_every.as_nanos().max(1);
        let elapsed = now.duration_since(self.queried).as_nanos();
        // Nearly always, and a multiplication is much cheaper than a division.
        if places * elapsed < every {
            return 0;
        }
        let due = (places * elapsed / every).min(places) as usize;
        let number = due.min(QUERIES);
        let mut reported = 0;
        for _ in 0..number {
            let Some((queue, position, place)) = self.places.next() else {
                break;
            };
            let queue = &mut self.queues[queue];
            // What there is no room for is told the next time.
            if place.phase == Phase::Installed && !queue.reports.is_full() {
                let id = RuleId {
                    place: position,
                    serial: place.serial,
                };
                if let Some(usage) = self.card.query(id, now)
                    && usage.packets != place.reported
                {
                    place.reported = usage.packets;
                    report(&mut queue.reports, Report::Used(id, usage));
                    reported += 1;
                }
            }
        }
        if number == due {
            self.queried = now;
            return reported;
        }
        let behind = every * (due - number) as u128 / places;
        self.queried = Instant(now.0 - behind as u64);
        number
    }
}

/// Tells a worker. Whoever calls has seen that there is room.
fn report(reports: &mut Producer<Report>, report: Report) {
    let pushed = reports.push(report);
    debug_assert!(pushed.is_ok(), "there was room");
}
