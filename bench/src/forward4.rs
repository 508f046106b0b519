//! Established, masqueraded UDP flows through the whole graph, from a received frame to a sent one: one worker's graph on
//! buffers in memory, in bursts of 64. The frames are copied in and out, which is part of the figure.

use std::time::Instant;

use rewire_compiler::Compiler;
use rewire_dataplane::{GatewayConfig, VirtualGateway};
use rewire_instructions::masqueraded::datagram;
use rewire_schema::model::{MasqueradeRow, MasqueradeSourceRow};

use crate::configuration::{with_router, with_routes};
use crate::report::{Report, Run};

const RUNS: usize = 7;
const BURST: usize = 64;
const BURSTS: usize = 2_000;
const FLOWS: u16 = 1_024;

type Failure = Box<dyn std::error::Error>;

pub(crate) fn run() -> Result<Report, Failure> {
    println!("data: {FLOWS} flows, 10,000 generated routes, frames of 60 bytes");
    let mut gateway = VirtualGateway::new(&GatewayConfig::default());
    let mut configuration = with_router(with_routes(10_000))?;
    let masquerade = MasqueradeRow::new("out".parse()?, "blue".parse()?, "wan0".parse()?);
    configuration.insert(masquerade.into());
    let source = MasqueradeSourceRow {
        masquerade: "out".parse()?,
        prefix: "10.1.0.0/24".parse()?,
        marks: Default::default(),
    };
    configuration.insert(source.into());
    let (_, compiled) = Compiler::compile(configuration, 1)?;
    gateway.apply(compiled.into_parts());
    let blue = gateway.interface("blue0").ok_or("there is no blue0")?;
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(frame).collect();
    for frame in &frames {
        let sent = gateway.step([(blue, frame.clone())]);
        if sent.len() != 1 {
            return Err(format!("a flow did not get through: {:?}", gateway.totals()).into());
        }
    }
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        // Made ahead of time, not inside the measured loop.
        let mut next = frames.iter().cycle().cloned();
        let bursts: Vec<Vec<_>> = (0..BURSTS)
            .map(|_| {
                next.by_ref()
                    .take(BURST)
                    .map(|frame| (blue, frame))
                    .collect()
            })
            .collect();
        let start = Instant::now();
        let mut sent = 0;
        for burst in bursts {
            sent += gateway.step(burst).len();
        }
        let elapsed = start.elapsed().as_nanos() as f64;
        if sent != BURST * BURSTS {
            return Err(format!("{sent} of {} packets came out", BURST * BURSTS).into());
        }
        runs.push(Run {
            ours: elapsed / sent as f64,
            peer: None,
        });
    }
    Ok(Report {
        unit: "ns/packet",
        peer_name: "-",
        runs,
        more: Vec::new(),
    })
}

fn frame(flow: u16) -> Vec<u8> {
    let source = [10, 1, 0, 2 + (flow % 200) as u8];
    datagram(source, 1024 + flow, [100, 0, 0, (flow % 250) as u8])
}
