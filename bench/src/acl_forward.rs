//! What an ACL costs a packet on its way through the whole graph: 10,000 rules beside 10, and beside none. The rules decide about
//! single packets, so that every one is asked about; the flows are those of `forward4`, but not masqueraded.

use std::time::Instant;

use rewire_compiler::Compiler;
use rewire_dataplane::{GatewayConfig, VirtualGateway};
use rewire_instructions::masqueraded::datagram;
use rewire_schema::model::{AclRow, InterfaceRow, Row, RowKey};
use rewire_schema::types::AclDefault;
use rewire_tables::acl::{AclDecision, AclScope, RuleCounter};
use rewire_tables::{AclIndex, AclRule, InterfaceIndex, TableOperation};

use crate::acl_rules::{Mix, rules};
use crate::configuration::{with_router, with_routes};
use crate::report::{Report, Run, median};

const RUNS: usize = 7;
const BURST: usize = 64;
const BURSTS: usize = 1_000;
const FLOWS: u16 = 1_024;
const FEW: usize = 10;
const MANY: usize = 10_000;

type Failure = Box<dyn std::error::Error>;

/// A gateway, and the interface that packets come in by.
struct Lab {
    gateway: VirtualGateway,
    ingress: InterfaceIndex,
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!(
        "data: {FLOWS} flows, frames of 60 bytes; {MANY} generated rules for packets (acl), that most packets do not match"
    );
    let mut many = lab(Some(MANY))?;
    let mut few = lab(Some(FEW))?;
    let mut none = lab(None)?;
    let (mut runs, mut without) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        runs.push(Run {
            ours: many.measure()?,
            peer: Some(few.measure()?),
        });
        without.push(none.measure()?);
    }
    Ok(Report {
        unit: "ns/packet",
        peer_name: "10-rules",
        runs,
        more: vec![("without_acl", median(without))],
    })
}

/// A gateway with an ACL of so many rules on what comes in, or without one.
fn lab(count: Option<usize>) -> Result<Lab, Failure> {
    let mut gateway = VirtualGateway::new(&GatewayConfig::default());
    let mut configuration = with_router(with_routes(10_000))?;
    if count.is_some() {
        let acl = AclRow {
            name: "guard".parse()?,
            description: None,
            default_action: AclDefault::Allow,
            marks: Default::default(),
        };
        configuration.insert(acl.into());
        let key = RowKey::Interface(("blue0".parse()?,));
        let Some(Row::Interface(blue)) = configuration.find(&key) else {
            return Err("there is no blue0".into());
        };
        let blue = InterfaceRow {
            acl_in: Some("guard".parse()?),
            ..*blue
        };
        configuration.insert(blue.into());
    }
    let (_, compiled) = Compiler::compile(configuration, 1)?;
    let (mut operations, ports) = compiled.into_parts();
    let generated = rules(Mix::Acl, count.unwrap_or(0), 42);
    operations.extend((0..).zip(&generated).map(|(sequence, rule)| {
        let rule = rule.rule();
        let decision = AclDecision {
            scope: AclScope::Packet,
            ..rule.decision
        };
        TableOperation::SetAclRule {
            acl: AclIndex(0),
            sequence,
            rule: AclRule {
                decision,
                ..AclRule::clone(&rule)
            }
            .into(),
            counter: RuleCounter::NONE,
        }
    }));
    gateway.apply((operations, ports));
    let ingress = gateway.interface("blue0").ok_or("there is no blue0")?;
    for flow in 0..FLOWS {
        if gateway.step([(ingress, frame(flow))]).len() != 1 {
            return Err(format!("a flow did not get through: {:?}", gateway.totals()).into());
        }
    }
    Ok(Lab { gateway, ingress })
}

impl Lab {
    /// The cost of a packet, in ns.
    fn measure(&mut self) -> Result<f64, Failure> {
        // Made ahead of time, not inside the measured loop.
        let mut next = (0..FLOWS).cycle();
        let bursts: Vec<Vec<_>> = (0..BURSTS)
            .map(|_| {
                let flows = next.by_ref().take(BURST);
                flows.map(|flow| (self.ingress, frame(flow))).collect()
            })
            .collect();
        let start = Instant::now();
        let mut sent = 0;
        for burst in bursts {
            sent += self.gateway.step(burst).len();
        }
        let elapsed = start.elapsed().as_nanos() as f64;
        match sent == BURST * BURSTS {
            true => Ok(elapsed / sent as f64),
            false => Err(format!("{sent} of {} packets came out", BURST * BURSTS).into()),
        }
    }
}

fn frame(flow: u16) -> Vec<u8> {
    let source = [10, 1, 0, 2 + (flow % 200) as u8];
    datagram(source, 1024 + flow, [100, 0, 0, (flow % 250) as u8])
}
