//! The modelled card: it stands in front of ports in memory, and does with rules what a card does.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use rewire_conntrack::offload::{Card, Event, QueueFull, Refusal, Rule, RuleId, Usage};
use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{EtherType, IpAddress, Protocol};
use rewire_tables::{Address, InterfaceIndex};

use crate::clock::Instant;

/// What a card can do.
#[derive(Clone, Copy, Debug)]
pub struct CardConfig {
    /// Rules that fit.
    pub capacity: usize,
    /// Requests that it holds before it refuses more.
    pub queue: usize,
    /// What each request takes it, one after the other: 1 µs is a million rules a second.
    pub per_request: Duration,
    /// How much later it reports what it has done.
    pub latency: Duration,
}

impl Default for CardConfig {
    /// A card that does all at once.
    fn default() -> Self {
        CardConfig {
            capacity: 1 << 20,
            queue: 4096,
            per_request: Duration::ZERO,
            latency: Duration::ZERO,
        }
    }
}

/// What packets are looked up by.
type Key = (InterfaceIndex, u8, (IpAddr, u16), (IpAddr, u16));

fn key(rule: &Rule) -> Key {
    let pattern = &rule.pattern;
    (
        pattern.ingress,
        pattern.protocol,
        pattern.source,
        pattern.destination,
    )
}

/// A rule that is installed.
struct Installed {
    serial: u32,
    rule: Rule,
    usage: Usage,
    installed: Instant,
    was_idle: bool,
    /// Its port is closed.
    is_dead: bool,
}

#[derive(Clone, Copy)]
enum Operation {
    Install(Rule),
    Remove,
}

/// Something that the card does at a moment.
struct Due {
    at: Instant,
    id: RuleId,
    operation: Operation,
}

#[derive(Default)]
struct State {
    config: CardConfig,
    /// By place.
    rules: Vec<Option<Installed>>,
    by_key: HashMap<Key, u32, FixedState>,
    /// The last moment that whoever gives it rules has told.
    now: Instant,
    /// Enqueued, but not pushed.
    enqueued: Vec<(RuleId, Operation)>,
    /// Pushed, in the order in which it is done.
    pending: VecDeque<Due>,
    /// When the last of them is done.
    busy_until: Instant,
    /// Done, with when that is reported.
    done: VecDeque<(Instant, Event)>,
    /// When places are looked at whose rules may be idle, each once. All have the same time until then, or are looked at late.
    to_look_at: VecDeque<(Instant, u32)>,
    /// By place: whether it is there.
    is_awaited: Vec<bool>,
}

/// A card in front of ports in memory: it matches, rewrites, forwards, counts and ages. It reads packets as
/// [`rewire_packet::forward`] does. Clones are one card: one side takes rules, the other packets.
#[derive(Clone, Default)]
pub struct ModelledCard(Arc<Mutex<State>>);

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The card has forwarded it by this interface.
    Forwarded(InterfaceIndex, Vec<u8>),
    /// It is for a core.
    Punted(Vec<u8>),
}

impl ModelledCard {
    /// A card without rules.
    pub fn new(config: CardConfig) -> Self {
        ModelledCard(Arc::new(Mutex::new(State {
            config,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is half done where a panic could be.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame comes in by a port.
    pub fn receive(&self, ingress: InterfaceIndex, mut frame: Vec<u8>, now: Instant) -> Taken {
        let mut state = self.state();
        state.work(now);
        let egress = match ether_type(&frame) {
            Some(EtherType::IPV4) => state.forward::<Ipv4Addr>(ingress, &mut frame, now),
            Some(EtherType::IPV6) => state.forward::<Ipv6Addr>(ingress, &mut frame, now),
            _ => None,
        };
        match egress {
            Some(egress) => Taken::Forwarded(egress, frame),
            None => Taken::Punted(frame),
        }
    }

    /// The last moment that the side that takes rules was told.
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// How many rules are installed.
    pub fn rules(&self) -> usize {
        self.state().by_key.len()
    }

    /// The rules that are installed.
    pub fn installed(&self) -> Vec<Rule> {
        let state = self.state();
        state
            .rules
            .iter()
            .flatten()
            .map(|installed| installed.rule)
            .collect()
    }
}

fn ether_type(frame: &[u8]) -> Option<EtherType> {
    Some(EthernetView::new_checked(frame).ok()?.ether_type())
}

impl State {
    /// Forwards a frame, if a rule takes it: by this interface.
    fn forward<A: Address + IpAddress>(
        &mut self,
        ingress: InterfaceIndex,
        frame: &mut Vec<u8>,
        now: Instant,
    ) -> Option<InterfaceIndex> {
        let length = frame.len();
        let plain = Plain::<A>::read(frame.get(ethernet::HEADER_LEN..)?)?;
        let decisive = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0 | TcpFlags::ACK.0;
        if plain.protocol == Protocol::TCP && plain.flags & decisive != TcpFlags::ACK.0 {
            return None;
        }
        let key = (
            ingress,
            plain.protocol.0,
            (plain.source.into(), plain.source_port),
            (plain.destination.into(), plain.destination_port),
        );
        let place = *self.by_key.get(&key)?;
        let installed = self.rules.get_mut(place as usize)?.as_mut()?;
        let Rule {
            pattern, actions, ..
        } = installed.rule;
        let mut ethernet = EthernetView::new_checked(&mut frame[..]).ok()?;
        if installed.is_dead
            || ethernet.destination() != pattern.mac
            || length > ethernet::HEADER_LEN + usize::from(pattern.longest)
        {
            return None;
        }
        let ends = [actions.source, actions.destination];
        let [source, destination] = ends.map(|(address, port)| Some((A::from_ip(address)?, port)));
        let (source, destination) = (source?, destination?);
        ethernet.set_source(actions.source_mac);
        ethernet.set_destination(actions.destination_mac);
        frame.truncate(ethernet::HEADER_LEN + plain.packet_len as usize);
        plain.forward(&mut frame[ethernet::HEADER_LEN..], source, destination);
        installed.usage.packets += 1;
        installed.usage.bytes += u64::from(plain.packet_len);
        installed.usage.last = Some(now);
        installed.was_idle = false;
        Some(actions.egress)
    }

    /// Does what is due.
    fn work(&mut self, now: Instant) {
        while let Some(due) = self.pending.front()
            && due.at <= now
            && let Some(Due { at, id, operation }) = self.pending.pop_front()
        {
            let event = match operation {
                Operation::Install(rule) => self.install(id, rule, at),
                Operation::Remove => self.remove(id),
            };
            self.done
                .push_back((at.saturating_add(self.config.latency), event));
        }
        while let Some((at, place)) = self.to_look_at.front().copied()
            && at <= now
        {
            self.to_look_at.pop_front();
            self.look(place, now);
        }
    }

    fn install(&mut self, id: RuleId, rule: Rule, now: Instant) -> Event {
        if self.by_key.len() >= self.config.capacity {
            return Event::NotInstalled(id, Refusal::TableFull);
        }
        // A card that has two rules for one packet takes either: it is wrong to ask for that.
        let key = key(&rule);
        if self.by_key.contains_key(&key) {
            return Event::NotInstalled(id, Refusal::Driver(libc::EEXIST));
        }
        self.by_key.insert(key, id.place);
        self.rules[id.place as usize] = Some(Installed {
            serial: id.serial,
            rule,
            usage: Usage::default(),
            installed: now,
            was_idle: false,
            is_dead: false,
        });
        if !std::mem::replace(&mut self.is_awaited[id.place as usize], true) {
            let look = now.saturating_add(rule.idle_after);
            self.to_look_at.push_back((look, id.place));
        }
        Event::Installed(id)
    }

    fn remove(&mut self, id: RuleId) -> Event {
        let place = &mut self.rules[id.place as usize];
        let Some(installed) = place.take_if(|installed| installed.serial == id.serial) else {
            return Event::Removed(id, Usage::default());
        };
        self.by_key.remove(&key(&installed.rule));
        Event::Removed(id, installed.usage)
    }

    fn find(&self, id: RuleId) -> Option<&Installed> {
        let installed = self.rules.get(id.place as usize)?.as_ref();
        installed.filter(|installed| installed.serial == id.serial)
    }

    /// Looks whether the rule in a place is idle.
    fn look(&mut self, place: u32, now: Instant) {
        let Some(installed) = &mut self.rules[place as usize] else {
            self.is_awaited[place as usize] = false;
            return;
        };
        let since = installed.usage.last.unwrap_or(installed.installed);
        let mut next = since.saturating_add(installed.rule.idle_after);
        if next <= now {
            if !std::mem::replace(&mut installed.was_idle, true) {
                let id = RuleId {
                    place,
                    serial: installed.serial,
                };
                self.done.push_back((now, Event::Idle(id)));
            }
            next = now.saturating_add(installed.rule.idle_after);
        }
        self.to_look_at.push_back((next, place));
    }

    fn enqueue(&mut self, id: RuleId, operation: Operation) -> Result<(), QueueFull> {
        if self.enqueued.len() + self.pending.len() >= self.config.queue {
            return Err(QueueFull);
        }
        self.enqueued.push((id, operation));
        Ok(())
    }
}

impl Card for ModelledCard {
    fn reserve(&mut self, places: usize) {
        // A card does not stop to move what it has somewhere larger.
        let mut state = self.state();
        let queue = state.config.queue;
        state.rules.resize_with(places, || None);
        state.is_awaited.resize(places, false);
        state.to_look_at.reserve(places);
        state.enqueued.reserve(queue);
        state.pending.reserve(queue);
        state.done.reserve(queue);
        // Twice, so that places in it that were in use before do not make it sort itself out.
        let rules = places.min(state.config.capacity);
        state.by_key.reserve(2 * rules);
    }

    fn install(&mut self, id: RuleId, rule: &Rule, _: Instant) -> Result<(), Refusal> {
        let taken = self.state().enqueue(id, Operation::Install(*rule));
        taken.map_err(|QueueFull| Refusal::QueueFull)
    }

    fn remove(&mut self, id: RuleId, _: Instant) -> Result<(), QueueFull> {
        self.state().enqueue(id, Operation::Remove)
    }

    fn push(&mut self, now: Instant) {
        let mut state = self.state();
        let state = &mut *state;
        for (id, operation) in state.enqueued.drain(..) {
            let begins = state.busy_until.max(now);
            let at = begins.saturating_add(state.config.per_request);
            state.busy_until = at;
            state.pending.push_back(Due { at, id, operation });
        }
    }

    fn poll(&mut self, now: Instant, limit: usize, events: &mut Vec<Event>) {
        let mut state = self.state();
        state.now = state.now.max(now);
        state.work(now);
        for _ in 0..limit {
            let Some((_, event)) = state.done.front().filter(|(at, _)| *at <= now).copied() else {
                break;
            };
            state.done.pop_front();
            events.push(event);
        }
    }

    fn query(&mut self, id: RuleId, now: Instant) -> Option<Usage> {
        let mut state = self.state();
        state.work(now);
        state.find(id).map(|installed| installed.usage)
    }

    fn close_port(&mut self, port: InterfaceIndex) {
        let mut state = self.state();
        for installed in state.rules.iter_mut().flatten() {
            let Rule {
                pattern, actions, ..
            } = &installed.rule;
            installed.is_dead |= pattern.ingress == port || actions.egress == port;
        }
    }
}
