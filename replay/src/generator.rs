//! Traffic that the configuration itself suggests: flows between the networks that it has, with real skew of sizes and lengths, of
//! TCP, UDP and ICMP, of both families, and answers to whatever leaves. Clients are hosts that follow their connections; servers
//! keep nothing, and answer by what comes. The same seed and history give the same frames, on any machine.

mod flow;
pub(crate) mod frame;
mod places;
mod random;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;

use rewire_dataplane::VirtualGateway;
use rewire_schema::Configuration;

use crate::capture::CaptureError;
use crate::traffic::{Arrival, Entrance, Traffic};
use flow::Flow;
use frame::{ACK, FIN, ICMP, ICMPV6, PSH, Packet, RST, SYN, TCP};
use places::{Goal, Origin, Places};
use random::{Random, mix};

/// The first port that clients send from: that of the first flow.
const FIRST_PORT: u16 = 1024;
/// The most flows at a time: each has a port of its own.
pub const MOST_FLOWS: usize = 60_000;
/// How long an answer takes, in nanoseconds.
const ANSWER: u64 = 50_000;
/// How many flows are asked for a packet before the next answer is waited for.
const ASKED: usize = 8;
/// When the clock begins: 2026-01-01 00:00 UTC, in nanoseconds.
const BEGINNING: u64 = 1_767_225_600_000_000_000;

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorOptions {
    /// Another one makes other traffic.
    pub seed: u64,
    /// How many frames come in, answers included.
    pub packets: u64,
    /// How many flows there are at a time, at most [`MOST_FLOWS`].
    pub flows: usize,
    /// Frames a second, on the replay's clock.
    pub rate: u64,
}

impl Default for GeneratorOptions {
    fn default() -> Self {
        GeneratorOptions {
            seed: 1,
            packets: 100_000,
            flows: 1_000,
            rate: 1_000_000,
        }
    }
}

/// A frame that comes in, with its time and place.
type Queued = (u64, Entrance, Vec<u8>);

/// Traffic for whatever configuration is live.
pub struct Generator {
    options: GeneratorOptions,
    random: Random,
    places: Places,
    /// The numbers of the origins' interfaces among `interfaces`.
    entrances: Vec<Entrance>,
    interfaces: Vec<String>,
    flows: Vec<Option<Flow>>,
    /// In the order of their times: what hosts answer.
    answers: VecDeque<Queued>,
    next: Option<Queued>,
    /// Frames that were given out.
    given: u64,
    free: Vec<Vec<u8>>,
}

impl Generator {
    /// Traffic that begins once there is a configuration.
    pub fn new(options: GeneratorOptions) -> Generator {
        let flows = options.flows.clamp(1, MOST_FLOWS);
        Generator {
            options,
            random: Random::new(options.seed),
            places: Places::default(),
            entrances: Vec::new(),
            interfaces: Vec::new(),
            flows: vec![None; flows],
            answers: VecDeque::new(),
            next: None,
            given: 0,
            free: Vec::new(),
        }
    }

    /// The time of the frame that is given out next.
    fn slot(&self) -> u64 {
        let nanoseconds =
            u128::from(self.given) * 1_000_000_000 / u128::from(self.options.rate.max(1));
        BEGINNING.saturating_add(nanoseconds as u64)
    }

    /// Makes the next frame ready, if there is none yet.
    fn prepare(&mut self) {
        if self.next.is_some() || self.given >= self.options.packets {
            return;
        }
        let slot = self.slot();
        self.next = self.due(slot).or_else(|| self.of_client(slot)).or_else(|| {
            // All clients wait: for the next answer, whenever it is due.
            let (_, entrance, bytes) = self.answers.pop_front()?;
            Some((slot, entrance, bytes))
        });
    }

    fn due(&mut self, slot: u64) -> Option<Queued> {
        let (time, ..) = self.answers.front()?;
        if *time > slot {
            return None;
        }
        let (_, entrance, bytes) = self.answers.pop_front()?;
        Some((slot, entrance, bytes))
    }

    /// What one of the clients sends.
    fn of_client(&mut self, slot: u64) -> Option<Queued> {
        if self.places.origins.is_empty() {
            return None;
        }
        // Where nothing is under way, somebody must begin.
        let asked = match self.answers.is_empty() {
            true => ASKED + 4 * self.flows.len(),
            false => ASKED,
        };
        for _ in 0..asked {
            let number = self.some_flow();
            if self.flows[number].as_ref().is_none_or(Flow::is_over) {
                self.flows[number] = self.new_flow(number);
            }
            let Some(flow) = &mut self.flows[number] else {
                continue;
            };
            if let Some(packet) = flow.next(&mut self.random) {
                let mut bytes = self.free.pop().unwrap_or_default();
                let macs = [mac_of(&self.places, flow.client), flow.gateway];
                packet.write(&mut bytes, macs);
                return Some((slot, flow.entrance, bytes));
            }
        }
        None
    }

    /// Half of the packets are of a twentieth of the flows.
    fn some_flow(&mut self) -> usize {
        let flows = self.flows.len();
        match self.random.percent(50) {
            true => self.random.below(flows.div_ceil(20)),
            false => self.random.below(flows),
        }
    }

    /// Another flow, between two places of one family.
    fn new_flow(&mut self, number: usize) -> Option<Flow> {
        let Generator {
            random,
            places,
            entrances,
            ..
        } = self;
        let at = random.below(places.origins.len());
        let origin: &Origin = places.origins.get(at)?;
        let is_ipv4 = origin.network.is_ipv4();
        let goals = places.goals.get(origin.vpc)?;
        let fits =
            |goal: &&Goal| goal.network.is_ipv4() == is_ipv4 && goal.network != origin.network;
        let goal = (0..ASKED).filter_map(|_| random.one_of(goals)).find(fits)?;
        // Few have anything to say to the gateway itself.
        if goal.is_gateway && !random.percent(5) {
            return None;
        }
        let port = FIRST_PORT + number as u16;
        Some(Flow::new((origin, entrances[at], port), goal, random))
    }

    fn answer(&mut self, time: u64, entrance: Entrance, bytes: Vec<u8>) {
        self.answers
            .push_back((time.saturating_add(ANSWER), entrance, bytes));
    }

    /// The flow that a packet came back to.
    fn flow_of(&mut self, packet: &Packet) -> Option<&mut Flow> {
        let number = packet.ports[1].checked_sub(FIRST_PORT)?;
        let flow = self.flows.get_mut(usize::from(number))?.as_mut()?;
        flow.is_of(packet).then_some(flow)
    }
}

/// The MAC address of whoever has an address.
fn mac_of(places: &Places, address: IpAddr) -> [u8; 6] {
    if !places.neighbors.is_empty()
        && let Some(mac) = places.neighbors.get(&address)
    {
        return *mac;
    }
    let number = match address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => {
            let number = u128::from(address);
            (number >> 64) as u64 ^ mix(number as u64)
        }
    };
    let [a, b, c, d, ..] = mix(number).to_be_bytes();
    // Of one station, and of nobody's making.
    [0x02, 0x52, a, b, c, d]
}

/// What a server answers, that keeps nothing; none where it says nothing.
fn served(packet: &Packet, places: &Places) -> Option<Packet> {
    let answer = Packet {
        source: packet.destination,
        destination: packet.source,
        ports: [packet.ports[1], packet.ports[0]],
        ..*packet
    };
    let [from, to] = packet.ports;
    let is_service = to < FIRST_PORT || places.services.contains(&to);
    // What comes from a service is an answer: nobody answers those.
    let asks = is_service && from >= FIRST_PORT && !places.services.contains(&from);
    // Every server has a number of its own to begin with, and its mood.
    let mood = mix(u64::from(packet.acknowledgment) << 32 | u64::from(packet.sequence));
    let data = match mood % 100 {
        0..30 => 0,
        30..45 => 300 + (mood >> 32) as usize % 600,
        _ => 1400,
    };
    match packet.protocol {
        TCP if !asks || packet.kind & RST != 0 => None,
        TCP => {
            let counts = u32::from(packet.kind & (SYN | FIN) != 0) + packet.data as u32;
            let acknowledgment = packet.sequence.wrapping_add(counts);
            let answer = Packet {
                acknowledgment,
                sequence: packet.acknowledgment,
                data: 0,
                ..answer
            };
            Some(match packet.kind & (SYN | FIN) {
                0 => Packet {
                    kind: if data > 0 { ACK | PSH } else { ACK },
                    data,
                    ..answer
                },
                SYN => Packet {
                    kind: SYN | ACK,
                    sequence: mix(u64::from(packet.sequence)) as u32,
                    ..answer
                },
                _ => Packet {
                    kind: FIN | ACK,
                    ..answer
                },
            })
        }
        ICMP | ICMPV6 if packet.is_echo_request() => Some(Packet {
            kind: if packet.protocol == ICMP { 0 } else { 129 },
            ..answer
        }),
        ICMP | ICMPV6 => None,
        _ if asks => Some(Packet {
            data: if to == 53 { 60 + data / 4 } else { data },
            ..answer
        }),
        _ => None,
    }
}

impl Traffic for Generator {
    fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    fn next_time(&self) -> Option<u64> {
        self.next.as_ref().map(|(time, ..)| *time)
    }

    fn beginning(&self) -> u64 {
        BEGINNING
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError> {
        let Some((nanoseconds, entrance, mut frame)) = self.next.take() else {
            return Ok(None);
        };
        std::mem::swap(bytes, &mut frame);
        self.free.push(frame);
        self.given += 1;
        self.prepare();
        Ok(Some(Arrival {
            nanoseconds,
            entrance,
        }))
    }

    fn total(&self) -> Result<u64, CaptureError> {
        Ok(self.options.packets)
    }

    fn follow(&mut self, configuration: &Configuration, gateway: &VirtualGateway) {
        self.places = Places::of(configuration, gateway);
        self.entrances.clear();
        for origin in &self.places.origins {
            let known = self
                .interfaces
                .iter()
                .position(|name| *name == origin.interface);
            let number = known.unwrap_or_else(|| {
                self.interfaces.push(origin.interface.clone());
                self.interfaces.len() - 1
            });
            self.entrances.push(number);
        }
        // Whoever is behind an interface that has gone, or has another MAC address now, begins anew.
        let places = &self.places.origins;
        let is_there = |flow: &Flow| {
            let mut origins = places.iter().zip(&self.entrances);
            origins.any(|(origin, number)| *number == flow.entrance && origin.mac == flow.gateway)
        };
        for flow in &mut self.flows {
            if flow.as_ref().is_some_and(|flow| !is_there(flow)) {
                *flow = None;
            }
        }
        self.prepare();
    }

    fn left(&mut self, entrance: Entrance, nanoseconds: u64, frame: &[u8]) {
        let mut bytes = self.free.pop().unwrap_or_default();
        let Some(packet) = Packet::read(frame) else {
            match frame::resolve(frame, |address| mac_of(&self.places, address), &mut bytes) {
                Some(()) => self.answer(nanoseconds, entrance, bytes),
                None => self.free.push(bytes),
            }
            return;
        };
        let is_solicitation = (packet.protocol, packet.kind) == (ICMPV6, 135);
        if is_solicitation
            && frame::resolve(frame, |address| mac_of(&self.places, address), &mut bytes).is_some()
        {
            self.answer(nanoseconds, entrance, bytes);
            return;
        }
        let answer = match self.flow_of(&packet) {
            Some(flow) if !packet.is_echo_request() => flow.answered(&packet),
            _ if packet.is_echo_reply() => None,
            _ => served(&packet, &self.places),
        };
        let macs = frame.first_chunk::<12>().map(|macs| {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *macs;
            [[a, b, c, d, e, f], [g, h, i, j, k, l]]
        });
        match (answer, macs) {
            (Some(answer), Some([to, from])) => {
                // Whoever it was sent to answers whoever sent it.
                answer.write(&mut bytes, [to, from]);
                self.answer(nanoseconds, entrance, bytes);
            }
            _ => self.free.push(bytes),
        }
        // Where all waited, somebody may go on.
        self.prepare();
    }
}
