//! What share of a trace the card forwards, and how many flows it takes for that: the whole virtual gateway with a modelled
//! card in front of it, on a clock of its own.

use rewire_compiler::Compiler;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::counters::Totals;
use rewire_dataplane::offload::{CardConfig, ModelledCard, OffloadConfig};
use rewire_dataplane::{GatewayConfig, Sent, VirtualGateway};
use rewire_instructions::masqueraded::datagram;
use rewire_packet::checksum::Sum;
use rewire_schema::from_document;
use std::time::Duration;

use super::flow_sizes;

type Failure = Box<dyn std::error::Error>;

const FLOWS: u32 = 20_000;
/// Flows that send at one time.
const ACTIVE: usize = 512;
/// A packet every so many ns: a million a second.
const PACE: u64 = 1000;

const DOCUMENT: &str = r#"{
    "vpcs": { "blue": { "routes": { "0.0.0.0/0": { "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] } } }, "internet": {} },
    "interfaces": {
        "blue0": { "vpc": "blue", "port": "null:blue", "mac": "02:00:00:00:00:01", "offload": true, "addresses": ["10.1.0.1/24"], "neighbors": {
            "10.1.0.10": { "mac": "02:00:00:00:01:10" }, "10.1.0.11": { "mac": "02:00:00:00:01:11" },
            "10.1.0.12": { "mac": "02:00:00:00:01:12" }, "10.1.0.13": { "mac": "02:00:00:00:01:13" } } },
        "wan": { "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03", "offload": true, "addresses": ["203.0.113.1/24"],
            "neighbors": { "203.0.113.2": { "mac": "02:00:00:00:09:09" } } }
    },
    "nat": { "masquerade": { "out": { "vpc": "blue", "interface": "wan", "sources": ["10.1.0.0/24"] } } }
}"#;

/// What came of it.
pub(super) struct Shares {
    /// Of all bytes, those that the card has forwarded.
    pub(super) bytes: f64,
    /// Of all flows, those that had a rule.
    pub(super) flows: f64,
    pub(super) packets: u64,
}

struct Flow {
    host: u8,
    port: u16,
    /// Packets to come, out and back.
    left: [u32; 2],
    /// What the source was translated to.
    outside: Option<[u8; 6]>,
}

/// Numbers between 0 and 1 (Xorshift; G. Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Flow {
    /// One direction has as many packets as the distribution says, the other half of them, as acknowledgments are.
    fn new(number: u32, random: &mut Random) -> Self {
        let many = flow_sizes::draw([random.next(), random.next(), random.next()]);
        let few = many.div_ceil(2);
        let is_upload = random.next() < 0.2;
        Flow {
            host: 10 + (number % 4) as u8,
            port: 1024 + (number / 4) as u16,
            left: if is_upload { [many, few] } else { [few, many] },
            outside: None,
        }
    }

    fn out(&self) -> Vec<u8> {
        datagram([10, 1, 0, self.host], self.port, [198, 51, 100, 1])
    }

    /// The answer to a packet that came out like this.
    fn back(outside: [u8; 6]) -> Vec<u8> {
        let mut frame = datagram([198, 51, 100, 1], 53, [0; 4]);
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        frame[30..34].copy_from_slice(&outside[..4]);
        frame[36..38].copy_from_slice(&outside[4..]);
        frame[24..26].fill(0);
        let header = Sum::ZERO.bytes(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&header.to_be_bytes());
        // No checksum (RFC 768).
        frame[40..42].fill(0);
        frame
    }
}

/// Runs the trace with these thresholds.
pub(super) fn run(offload: OffloadConfig) -> Result<Shares, Failure> {
    let config = GatewayConfig {
        connections: 2 * FLOWS as usize,
        offload: Some(offload),
        ..GatewayConfig::default()
    };
    let card = ModelledCard::new(CardConfig {
        per_request: Duration::from_micros(1),
        latency: Duration::from_micros(50),
        ..CardConfig::default()
    });
    let mut gateway = VirtualGateway::with_card(&config, card.clone(), Box::new(card));
    let document = from_document(&serde_json::from_str(DOCUMENT)?)
        .map_err(|problems| format!("{problems:?}"))?;
    let (_, compiled) = Compiler::compile(document, 1)?;
    gateway.apply(compiled.into_parts());
    let [blue, wan] = ["blue0", "wan"].map(|name| gateway.interface(name));
    let (blue, wan) = (blue.ok_or("no blue0")?, wan.ok_or("no wan")?);
    let mut random = Random(88_172_645_463_325_252);
    let mut flows: Vec<Flow> = Vec::new();
    let mut number = 0;
    let mut now = 0;
    loop {
        while flows.len() < ACTIVE && number < FLOWS {
            flows.push(Flow::new(number, &mut random));
            number += 1;
        }
        if flows.is_empty() {
            break;
        }
        let index = (random.next() * flows.len() as f64) as usize;
        let flow = &mut flows[index];
        let all = f64::from(flow.left[0] + flow.left[1]);
        let is_out = flow.outside.is_none()
            || flow.left[1] == 0
            || flow.left[0] > 0 && random.next() * all < f64::from(flow.left[0]);
        let frame = match flow.outside.filter(|_| !is_out) {
            Some(outside) => (wan, Flow::back(outside)),
            None => (blue, flow.out()),
        };
        flow.left[usize::from(!is_out)] -= 1;
        now += PACE;
        gateway.advance_to(Instant(now));
        let sent = gateway.step([frame]);
        let [Sent { frame, .. }] = &sent[..] else {
            return Err(format!("{} frames for one", sent.len()).into());
        };
        if flow.outside.is_none() {
            flow.outside = frame[26..30]
                .iter()
                .chain(&frame[34..36])
                .copied()
                .collect::<Vec<_>>()
                .try_into()
                .ok();
        }
        if flow.left == [0, 0] {
            flows.swap_remove(index);
        }
    }
    // The card is asked once more what it has done.
    for _ in 0..20 {
        gateway.advance(Duration::from_secs(1));
        gateway.step([]);
    }
    let Totals {
        received,
        connections_created,
        offload,
        ..
    } = gateway.totals();
    let packets = received + offload.packets;
    Ok(Shares {
        // All packets are of one size here, which is to the disadvantage of long flows.
        bytes: offload.packets as f64 / packets as f64,
        flows: offload.taken as f64 / connections_created as f64,
        packets,
    })
}
