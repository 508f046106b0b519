//! Intents, proven over all packets: what is never to get from one VPC to another, and what always.
//!
//! A packet that begins a connection gets where the tables lead it by its destination, its sender, its protocol and its ports,
//! if the ACLs on its way let it pass. The proof takes all such packets at once: as boxes in these dimensions, which are cut
//! wherever the tables tell two packets apart (Kazemian, Varghese and McKeown, "Header space analysis", NSDI 2012). Each box ends at one verdict for
//! all of its packets, so that what is said is exact: one packet of a box that breaks the intent breaks it.
//!
//! What is spoken of: whole packets, unicast, that begin a connection, as the tables of one revision treat them. A packet gets to
//! a VPC when it leaves by an interface of it. What depends on more than that is not looked at: hop limits, link addresses
//! that nobody answers for, sizes, ports of a masquerade that are used up. What cannot be
//! reasoned about exactly is refused, by name, and never assumed: see [`NotProven`].

mod acl;
mod leave;
mod network;
mod space;
mod walk;

use std::fmt;
use std::net::IpAddr;

use rewire_schema::model::IntentRow;
use rewire_schema::types::{InterfaceType, Name, Protocol, Reachability};
use rewire_schema::{Path, Row};
use rewire_tables::{AclIndex, InterfaceIndex};

use crate::Question;
use crate::compiler::Compiler;
use network::Network;
use space::{Entry, Headers, ICMP, PORT_PROTOCOLS, beginning, headers_of, unicast};
use walk::{End, Stop, Verdict, Walk};

/// The most boxes that the proof of one intent may take apart. At about a microsecond each, a proof takes seconds at most.
pub const MOST_BOXES: usize = 4_000_000;

/// An intent that does not hold, or that cannot be proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// A packet breaks the intent.
    #[error("{path}: {}", broken(.reach, .from, .to, .counterexample))]
    Broken {
        /// The intent.
        path: Path,
        /// What it says.
        reach: Reachability,
        /// Where the packets come from.
        from: Name,
        /// Where they never, or always, get.
        to: Name,
        /// A packet for which that is not so.
        counterexample: Box<Counterexample>,
    },
    /// Something that decides about the packets is not reasoned about.
    #[error("{path}: this cannot be proven yet: {what}")]
    NotExact {
        /// The intent.
        path: Path,
        /// What stands in the way.
        what: String,
    },
    /// The proof would take too long.
    #[error("{path}: not proven within {MOST_BOXES} boxes; say it of fewer addresses")]
    TooLarge {
        /// The intent.
        path: Path,
    },
}

impl NotProven {
    /// The intent.
    pub fn path(&self) -> &Path {
        match self {
            NotProven::Broken { path, .. }
            | NotProven::NotExact { path, .. }
            | NotProven::TooLarge { path } => path,
        }
    }
}

fn broken(reach: &Reachability, from: &Name, to: &Name, counterexample: &Counterexample) -> String {
    match reach {
        Reachability::Never => {
            format!("VPC \"{from}\" is never to reach \"{to}\", but {counterexample}")
        }
        Reachability::Always => {
            format!("VPC \"{from}\" is always to reach \"{to}\", but {counterexample}")
        }
    }
}

/// A packet, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The sender.
    pub source: IpAddr,
    /// The destination, as the sender writes it.
    pub destination: IpAddr,
    /// The protocol above IP.
    pub protocol: u8,
    /// The port that it comes from, for a protocol with ports.
    pub source_port: Option<u16>,
    /// The port that it goes to, for a protocol with ports.
    pub destination_port: Option<u16>,
    /// The type and the code, of ICMP.
    pub icmp: Option<(u8, u8)>,
    /// The interface that it enters by.
    pub interface: Name,
    /// The entries that it meets, in order, and what becomes of it.
    pub steps: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |address: &IpAddr, port: Option<u16>| match (address, port) {
            (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
            (address, Some(port)) => format!("{address}:{port}"),
            (address, None) => address.to_string(),
        };
        write!(
            f,
            "{} → {} {}",
            end(&self.source, self.source_port),
            end(&self.destination, self.destination_port),
            Protocol::Number(self.protocol),
        )?;
        if let Some((icmp_type, code)) = self.icmp {
            write!(f, " type {icmp_type} code {code}")?;
        }
        write!(f, ", enters {}", self.interface)?;
        self.steps.iter().try_for_each(|step| write!(f, ", {step}"))
    }
}

/// The port that counterexamples come from, where nothing asks for another one (RFC 6335, section 6: the first dynamic port).
pub const SOURCE_PORT: u16 = 49_152;

impl Compiler {
    /// Proves every intent of the configuration; gives back those that are not proven, in the order of their names.
    ///
    /// Cost: nothing where there is no intent. Otherwise the configuration once, and for each intent the boxes that its packets
    /// fall apart into, at most [`MOST_BOXES`].
    pub fn prove(&self) -> Vec<NotProven> {
        let intents = &self.state.configuration.intent;
        if intents.is_empty() {
            return Vec::new();
        }
        let mut network = Network::of(&self.state);
        let intents = intents.values();
        intents
            .filter_map(|intent| self.prove_one(intent, &mut network).err())
            .collect()
    }

    fn prove_one(&self, intent: &IntentRow, network: &mut Network) -> Result<(), NotProven> {
        let path = Row::from(intent.clone()).path();
        let entrances = self.entrances(&intent.from_vpc, network);
        // Whatever nothing enters by sends nothing.
        if entrances.is_empty() {
            return Ok(());
        }
        let (names, acls): (Vec<Name>, Vec<Option<AclIndex>>) = entrances.into_iter().unzip();
        let unknown = |vpc: &Name| NotProven::NotExact {
            path: path.clone(),
            what: format!("there is no VPC \"{vpc}\""),
        };
        let vpc = |name: &Name| self.vpc_index(name).ok_or_else(|| unknown(name));
        let vpcs = (vpc(&intent.from_vpc)?, vpc(&intent.to_vpc)?);
        let mut walk = Walk::new(network, &acls, vpcs);
        for headers in headers_of(intent).iter().flat_map(unicast) {
            let breaks = |verdict: Verdict| match intent.reach {
                Reachability::Never => verdict != Verdict::Stays,
                Reachability::Always => verdict != Verdict::Reaches,
            };
            let end = walk.first(headers, &breaks).map_err(|stop| match stop {
                Stop::TooManyBoxes => NotProven::TooLarge { path: path.clone() },
                Stop::Learned(source) => NotProven::NotExact {
                    path: path.clone(),
                    what: format!(
                        "route source \"{source}\" makes routes on the way that no revision holds"
                    ),
                },
                Stop::Scattered(rule) => NotProven::NotExact {
                    path: path.clone(),
                    what: format!(
                        "static translation \"{rule}\" is NPTv6, which is proven for one address at a time"
                    ),
                },
                Stop::OtherFamily(rule) => NotProven::NotExact {
                    path: path.clone(),
                    what: format!(
                        "port forward \"{rule}\" leads to a host of IPv6, and NAT64 is not followed"
                    ),
                },
            })?;
            if let Some(end) = end {
                let words = walk.said(&end);
                return Err(NotProven::Broken {
                    path,
                    reach: intent.reach,
                    from: intent.from_vpc.clone(),
                    to: intent.to_vpc.clone(),
                    counterexample: Box::new(self.counterexample(
                        &names[end.entrance],
                        &end,
                        words,
                    )),
                });
            }
        }
        Ok(())
    }

    /// The interfaces that packets of a VPC can enter by, in the order of their names: one for each ACL that is met there.
    fn entrances(&self, vpc: &Name, network: &Network) -> Vec<(Name, Option<AclIndex>)> {
        let interfaces = self.state.configuration.interface.values();
        let enters = interfaces.filter(|row| {
            row.vpc == *vpc && row.kind() != InterfaceType::Loopback && !row.disabled
        });
        let mut entrances: Vec<(Name, Option<AclIndex>)> = Vec::new();
        for row in enters {
            let index = self.state.interfaces.get(&row.name).map(InterfaceIndex);
            let acl = index.and_then(|index| network.interface(index)?.acl_in);
            if entrances.iter().all(|(_, other)| *other != acl) {
                entrances.push((row.name.clone(), acl));
            }
        }
        entrances
    }

    /// A packet of a box, with what ACLs say of it.
    fn counterexample(&self, interface: &Name, end: &End, words: Vec<String>) -> Counterexample {
        let Headers { entry, .. } = &end.headers;
        let holds =
            |protocol: &u8| entry.protocols.0 <= *protocol && *protocol <= entry.protocols.1;
        let likely = [6, 17, if entry.is_ipv4 { 1 } else { 58 }];
        let protocol = *likely
            .iter()
            .find(|p| holds(p))
            .unwrap_or(&entry.protocols.0);
        let has_ports = PORT_PROTOCOLS.contains(&protocol);
        let port = has_ports.then_some(entry.ports.0.max(1).min(entry.ports.1));
        let source_port = has_ports.then(|| {
            let (first, last) = entry.source_ports;
            SOURCE_PORT.clamp(first, last).max(1).min(last)
        });
        let icmp = ICMP.iter().any(|(number, _)| *number == protocol).then(|| {
            let protocols = (protocol, protocol);
            let requests = beginning(&Entry {
                protocols,
                ..*entry
            });
            let [icmp_type, code] = requests.first().unwrap_or(entry).ports.0.to_be_bytes();
            (icmp_type, code)
        });
        let address = |number| space::address(entry.is_ipv4, number);
        let vpc = |index| self.vpc_name(index);
        let mut steps = Vec::new();
        if end.headers.is_translated {
            let to = address(end.headers.destination.0);
            steps.push(format!("translated to {to}"));
        }
        if let Some(vpc) = vpc(end.headers.vpc_after_nat) {
            let to = address(end.headers.destination.0);
            let routes = self.explain(&Question::Address(vpc, to));
            let routes = routes.into_iter().flat_map(|found| found.entries);
            // It meets no entry of a table that it does not get into.
            steps.extend(routes.take(end.lookups));
        }
        steps.extend(words);
        steps.push(end.why.to_string());
        Counterexample {
            source: address(entry.source.0),
            destination: address(entry.destination.0),
            protocol,
            source_port,
            destination_port: port,
            icmp,
            interface: interface.clone(),
            steps,
        }
    }
}
