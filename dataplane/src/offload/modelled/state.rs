//! What the card has, and what it does.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rewire_conntrack::offload::{Event, Refusal, Rule, RuleId, Usage};
use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{IpAddress, Protocol};
use rewire_tables::{Address, InterfaceIndex};

use super::CardConfig;
use crate::clock::Instant;

/// What packets are looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    ingress: InterfaceIndex,
    protocol: u8,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
}

impl Key {
    fn of(rule: &Rule) -> Key {
        let pattern = &rule.pattern;
        Key {
            ingress: pattern.ingress,
            protocol: pattern.protocol,
            source: pattern.source,
            destination: pattern.destination,
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        hasher.write_u64(u64::from(self.ingress.0) << 8 | u64::from(self.protocol));
        for (address, port) in [self.source, self.destination] {
            match address {
                IpAddr::V4(address) => hasher.write_u32(address.to_bits()),
                IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
            }
            hasher.write_u16(port);
        }
        hasher.finish()
    }
}

/// What packets of the rule in a place are looked up by.
fn key_in(rules: &[Option<Held>], place: u32) -> Option<Key> {
    let held = rules.get(place as usize)?.as_ref();
    held.map(|held| Key::of(&held.rule))
}

/// Where that is found. A place without a rule is in no table: it may have any hash.
fn hash_in(rules: &[Option<Held>], place: u32) -> u64 {
    key_in(rules, place).map_or(0, |key| key.hash())
}

/// A rule in its place: installed, or about to be.
struct Held {
    serial: u32,
    rule: Rule,
    usage: Usage,
    /// None before it is.
    installed: Option<Instant>,
    was_idle: bool,
    /// Its port is closed.
    is_dead: bool,
}

#[derive(Clone, Copy)]
enum Operation {
    Install,
    Remove,
}

/// Something that the card was asked for.
#[derive(Clone, Copy)]
pub(super) enum Request {
    Install(RuleId, Rule),
    Remove(RuleId),
}

/// Something that the card does at a moment.
struct Due {
    at: Instant,
    id: RuleId,
    operation: Operation,
}

/// A card, as its handles have it together.
#[derive(Default)]
pub(super) struct State {
    config: CardConfig,
    /// By place: installed, or about to be.
    rules: Vec<Option<Held>>,
    /// The places of rules, by what packets are looked up by. A few bytes for each, for they come and go in any order.
    by_key: HashTable<u32>,
    /// The last moment that whoever gives it rules has told.
    now: Instant,
    /// What it holds, in the order in which it is done.
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

impl State {
    pub(super) fn new(config: CardConfig) -> Self {
        State {
            config,
            ..State::default()
        }
    }

    /// Gets ready for rules in so many places: a card does not stop to move what it has somewhere larger.
    pub(super) fn reserve(&mut self, places: usize) {
        let queue = self.config.queue;
        self.rules.resize_with(places, || None);
        self.is_awaited.resize(places, false);
        self.to_look_at.reserve(places);
        self.pending.reserve(queue);
        self.done.reserve(queue);
        // Twice, so that places in it that were in use before do not make it sort itself out.
        let rules = places.min(self.config.capacity);
        self.by_key
            .reserve(2 * rules, |place| hash_in(&self.rules, *place));
    }

    /// The last moment that whoever gives it rules has told.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// How many rules are installed.
    pub(super) fn rules(&self) -> usize {
        self.by_key.len()
    }

    /// The rules that are installed.
    pub(super) fn installed(&self) -> impl Iterator<Item = &Rule> {
        let held = self.rules.iter().flatten();
        held.filter(|held| held.installed.is_some())
            .map(|held| &held.rule)
    }

    /// Forwards a frame, if a rule takes it: by this interface.
    pub(super) fn forward<A: Address + IpAddress>(
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
        let key = Key {
            ingress,
            protocol: plain.protocol.0,
            source: (plain.source.into(), plain.source_port),
            destination: (plain.destination.into(), plain.destination_port),
        };
        let is_it = |place: &u32| key_in(&self.rules, *place) == Some(key);
        let place = *self.by_key.find(key.hash(), is_it)?;
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

    /// How many requests more it can hold.
    pub(super) fn room(&self) -> usize {
        self.config.queue.saturating_sub(self.pending.len())
    }

    /// Takes a request, to be done after those before it.
    pub(super) fn take(&mut self, request: &Request, now: Instant) {
        let begins = self.busy_until.max(now);
        let at = begins.saturating_add(self.config.per_request);
        self.busy_until = at;
        let (id, operation) = match *request {
            Request::Install(id, ref rule) => {
                self.rules[id.place as usize] = Some(Held {
                    serial: id.serial,
                    rule: *rule,
                    usage: Usage::default(),
                    installed: None,
                    was_idle: false,
                    is_dead: false,
                });
                (id, Operation::Install)
            }
            Request::Remove(id) => (id, Operation::Remove),
        };
        self.pending.push_back(Due { at, id, operation });
    }

    /// Tells what is done by now, at most so much, and does no more of what is due than that: who asks has other things to do.
    pub(super) fn report(&mut self, now: Instant, limit: usize, events: &mut Vec<Event>) {
        self.now = self.now.max(now);
        self.look_for_idle(now);
        let most = events.len().saturating_add(limit);
        while events.len() < most {
            if let Some((_, event)) = self.done.pop_front_if(|(at, _)| *at <= now) {
                events.push(event);
                continue;
            }
            let Some((at, event)) = self.work_on_next(now) else {
                break;
            };
            // Nothing that is done is reported before this. What is put by and read again at once would have to wait for all that was
            // written before.
            match at <= now {
                true => events.push(event),
                false => self.done.push_back((at, event)),
            }
        }
    }

    /// What a rule has done; none where it is not installed.
    pub(super) fn query(&mut self, id: RuleId, now: Instant) -> Option<Usage> {
        self.work(now);
        self.find(id).map(|held| held.usage)
    }

    /// Nothing matches a rule with this port any more, nor one that is about to be installed.
    pub(super) fn close_port(&mut self, port: InterfaceIndex) {
        for held in self.rules.iter_mut().flatten() {
            let Rule {
                pattern, actions, ..
            } = &held.rule;
            held.is_dead |= pattern.ingress == port || actions.egress == port;
        }
    }

    /// Does all that is due.
    pub(super) fn work(&mut self, now: Instant) {
        while let Some(done) = self.work_on_next(now) {
            self.done.push_back(done);
        }
        self.look_for_idle(now);
    }

    /// Looks at rules that may be idle by now.
    fn look_for_idle(&mut self, now: Instant) {
        while let Some((at, place)) = self.to_look_at.front().copied()
            && at <= now
        {
            self.to_look_at.pop_front();
            self.look(place, now);
        }
    }

    /// Does what is due next, and when that is reported; none where nothing is.
    #[inline]
    fn work_on_next(&mut self, now: Instant) -> Option<(Instant, Event)> {
        let Due { at, id, operation } = self.pending.pop_front_if(|due| due.at <= now)?;
        let event = match operation {
            Operation::Install => match self.install(id.place, at) {
                Ok(()) => Event::Installed(id),
                Err(refusal) => {
                    self.rules[id.place as usize] = None;
                    Event::NotInstalled(id, refusal)
                }
            },
            Operation::Remove => Event::Removed(id, self.remove(id)),
        };
        Some((at.saturating_add(self.config.latency), event))
    }

    /// Lets packets match the rule in a place.
    fn install(&mut self, place: u32, now: Instant) -> Result<(), Refusal> {
        if self.by_key.len() >= self.config.capacity {
            return Err(Refusal::TableFull);
        }
        let key = key_in(&self.rules, place);
        // A card that has two rules for one packet takes either: it is wrong to ask for that.
        let entry = self.by_key.entry(
            hash_in(&self.rules, place),
            |other| key_in(&self.rules, *other) == key,
            |other| hash_in(&self.rules, *other),
        );
        let Entry::Vacant(entry) = entry else {
            return Err(Refusal::Driver(libc::EEXIST));
        };
        entry.insert(place);
        if let Some(held) = &mut self.rules[place as usize] {
            held.installed = Some(now);
            if !std::mem::replace(&mut self.is_awaited[place as usize], true) {
                let look = now.saturating_add(held.rule.idle_after);
                self.to_look_at.push_back((look, place));
            }
        }
        Ok(())
    }

    /// Takes a rule out; all that it has done.
    fn remove(&mut self, id: RuleId) -> Usage {
        if self.find(id).is_none() {
            return Usage::default();
        }
        let hash = hash_in(&self.rules, id.place);
        if let Ok(entry) = self.by_key.find_entry(hash, |place| *place == id.place) {
            entry.remove();
        }
        let held = self.rules[id.place as usize].take();
        held.map_or_else(Usage::default, |held| held.usage)
    }

    /// A rule that is installed.
    fn find(&self, id: RuleId) -> Option<&Held> {
        let held = self.rules.get(id.place as usize)?.as_ref();
        held.filter(|held| held.serial == id.serial && held.installed.is_some())
    }

    /// Looks whether the rule in a place is idle.
    fn look(&mut self, place: u32, now: Instant) {
        let Some(held) = &mut self.rules[place as usize] else {
            self.is_awaited[place as usize] = false;
            return;
        };
        let since = held.usage.last.or(held.installed).unwrap_or(now);
        let mut next = since.saturating_add(held.rule.idle_after);
        if next <= now {
            if !std::mem::replace(&mut held.was_idle, true) {
                let id = RuleId {
                    place,
                    serial: held.serial,
                };
                self.done.push_back((now, Event::Idle(id)));
            }
            next = now.saturating_add(held.rule.idle_after);
        }
        self.to_look_at.push_back((next, place));
    }
}
