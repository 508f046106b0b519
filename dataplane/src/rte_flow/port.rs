//! The rules of one port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arrayvec::ArrayVec;
use rewire_conntrack::offload::{Actions, Pattern, Refusal, Rule};
use rewire_dpdk::Error;
use rewire_dpdk::flow::{Completion, FlowAction, FlowEngine, FlowRule, FlowTable};
use rewire_packet::{MacAddress, Protocol};
use rewire_tables::InterfaceIndex;

use super::encode::{self, Kind, Rewritten, Watch};

/// Completions that are fetched at once.
pub(super) const AT_ONCE: usize = 64;
/// Packets that no rule may have come before all others.
const FIRST: u32 = 0;
/// The rules of flows.
const SECOND: u32 = 1;

/// A port of a card: its engine, set up.
#[derive(Debug)]
pub(super) struct CardPort {
    pub(super) engine: FlowEngine,
    /// The longest packet that it receives, from the IP header on.
    mtu: u16,
    ages: bool,
    /// By kind; none where the card is asked synchronously.
    tables: Option<[FlowTable; 4]>,
    /// Rules that keep packets for the core. They go with the engine.
    guards: Vec<FlowRule>,
}

impl CardPort {
    /// Sets the engine up for at most `rules` rules: with templates if it can, else for synchronous calls.
    ///
    /// # Errors
    /// What the card cannot.
    pub(super) fn new(engine: FlowEngine, mtu: u16, rules: u32, ages: bool) -> Result<Self, Error> {
        let mut port = CardPort {
            engine,
            mtu,
            ages,
            tables: None,
            guards: Vec::new(),
        };
        if port.engine.is_asynchronous() {
            match port.set_tables_up(rules) {
                Ok(()) => return Ok(port),
                Err(error) => tracing::info!(%error, "no templates: rules are made one by one"),
            }
        }
        port.set_synchronous_up()?;
        Ok(port)
    }

    fn set_tables_up(&mut self, rules: u32) -> Result<(), Error> {
        let port = self.engine.port_id();
        let to_port = [FlowAction::ToPort(port)];
        for v4 in [true, false] {
            let items = encode::expiring(v4, port);
            let table = self.engine.add_table(FIRST, 1, &items, &[&to_port])?;
            self.engine.enqueue_create(table, &items, &to_port, 0)?;
        }
        let watch = Watch {
            ages: self.ages,
            context: 0,
        };
        let mut tables = ArrayVec::<_, 4>::new();
        for kind in Kind::ALL {
            let example = example(kind);
            let lists: Vec<_> = Rewritten::all()
                .map(|rewritten| encode::actions(&example, rewritten, watch, port))
                .collect();
            let lists: Vec<&[FlowAction]> = lists.iter().map(|list| &list[..]).collect();
            let items = encode::items(&example.pattern, port);
            tables.push(self.engine.add_table(SECOND, rules, &items, &lists)?);
        }
        let guards = self.complete()?;
        for completion in guards {
            match completion {
                Completion::Created { rule, .. } => self.guards.push(rule),
                refused => {
                    return Err(Error::Flow {
                        port: port.to_string(),
                        step: "leave packets that expire to a core",
                        code: libc::ENOSPC,
                        reason: format!("{refused:?}"),
                    });
                }
            }
        }
        self.tables = tables.into_inner().ok();
        Ok(())
    }

    fn set_synchronous_up(&mut self) -> Result<(), Error> {
        let port = self.engine.port_id();
        for kind in Kind::ALL {
            self.try_example(kind)?;
        }
        for v4 in [true, false] {
            let items = encode::expiring(v4, port);
            let guard = self
                .engine
                .create(FIRST, &items, &[FlowAction::ToPort(port)])?;
            self.guards.push(guard);
        }
        Ok(())
    }

    /// Asks whether the card would take rules of this kind; with ages, or else without.
    fn try_example(&mut self, kind: Kind) -> Result<(), Error> {
        let port = self.engine.port_id();
        let example = example(kind);
        let items = encode::items(&example.pattern, port);
        let with = |ages| {
            let watch = Watch { ages, context: 0 };
            let actions = encode::actions(&example, Rewritten::of(&example), watch, port);
            self.engine.validate(SECOND, &items, &actions)
        };
        if self.ages && with(true).is_ok() {
            return Ok(());
        }
        with(false)?;
        self.ages = false;
        Ok(())
    }

    pub(super) fn is_asynchronous(&self) -> bool {
        self.tables.is_some()
    }

    pub(super) fn ages(&self) -> bool {
        self.ages
    }

    /// Begins the installation of a rule whose packets leave by the DPDK port `egress`. The rule, if that is done already.
    pub(super) fn install(
        &mut self,
        rule: &Rule,
        context: u64,
        egress: u16,
    ) -> Result<Option<FlowRule>, Refusal> {
        let kind = Kind::of(&rule.pattern).ok_or(Refusal::Unsupported)?;
        // DPDK has no item for the length of a packet.
        if rule.pattern.longest < self.mtu {
            return Err(Refusal::Unsupported);
        }
        let items = encode::items(&rule.pattern, self.engine.port_id());
        let watch = Watch {
            ages: self.ages,
            context,
        };
        let actions = encode::actions(rule, Rewritten::of(rule), watch, egress);
        match &self.tables {
            Some(tables) => {
                let table = tables[kind as usize];
                let enqueued = self.engine.enqueue_create(table, &items, &actions, context);
                enqueued.map(|()| None)
            }
            None => self.engine.create(SECOND, &items, &actions).map(Some),
        }
        .map_err(refusal)
    }

    /// Hands everything over and waits until all that is under way is done; at most a second.
    pub(super) fn complete(&mut self) -> Result<Vec<Completion>, Error> {
        let deadline = std::time::Instant::now() + Duration::from_secs(1);
        let mut all = Vec::new();
        self.engine.push()?;
        while self.engine.is_busy() {
            let mut completions = ArrayVec::<_, AT_ONCE>::new();
            self.engine.pull(&mut completions)?;
            all.extend(completions);
            if std::time::Instant::now() > deadline {
                tracing::warn!("a card does not say what became of its rules");
                break;
            }
        }
        Ok(all)
    }
}

/// What a driver's error means.
fn refusal(error: Error) -> Refusal {
    match error {
        Error::FlowQueueFull => Refusal::QueueFull,
        Error::Flow { code, .. } => match code {
            libc::ENOSPC | libc::ENOMEM => Refusal::TableFull,
            libc::ENOTSUP | libc::ENOSYS => Refusal::Unsupported,
            code => Refusal::Driver(code),
        },
        _ => Refusal::Unsupported,
    }
}

/// Some rule of this kind, that rewrites everything.
fn example(kind: Kind) -> Rule {
    let (v4, protocol) = match kind {
        Kind::Tcp4 => (true, Protocol::TCP),
        Kind::Udp4 => (true, Protocol::UDP),
        Kind::Tcp6 => (false, Protocol::TCP),
        Kind::Udp6 => (false, Protocol::UDP),
    };
    let address = |n: u8| match v4 {
        true => IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)),
        false => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into())),
    };
    let mac = |n| MacAddress([2, 0, 0, 0, 0, n]);
    Rule {
        pattern: Pattern {
            ingress: InterfaceIndex(0),
            mac: mac(1),
            protocol: protocol.0,
            source: (address(1), 1),
            destination: (address(2), 2),
            longest: u16::MAX,
        },
        actions: Actions {
            source: (address(3), 3),
            destination: (address(4), 4),
            source_mac: mac(2),
            destination_mac: mac(3),
            egress: InterfaceIndex(0),
        },
        idle_after: Duration::from_secs(1),
    }
}
