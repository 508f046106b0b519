//! `rewire show connections` and `rewire clear connections` on the gateway's side.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use rewire_dataplane::{ConnectionId, ConnectionTable, ListedConnection, Names};
use serde::{Deserialize, Serialize};

use super::Daemon;

/// The most connections, or talkers, of one answer.
pub(crate) const MOST_SHOWN: usize = 20_000;

/// The version of [`Connections`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// Which connections are meant. All that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Packets of either direction arrive in this VPC.
    pub(crate) vpc: Option<String>,
    /// `tcp`, `udp`, `icmp` of either version, or a number.
    pub(crate) protocol: Option<String>,
    /// The state's name, without the protocol.
    pub(crate) state: Option<String>,
    /// One of its ends is in this prefix, translated or not.
    pub(crate) address: Option<IpNet>,
    /// One of its ends has this port, translated or not.
    pub(crate) port: Option<u16>,
    /// Its first packet came in by this interface.
    pub(crate) interface: Option<String>,
    /// Its addresses or ports are translated; or are not.
    pub(crate) translated: Option<bool>,
    /// It is handed to the card; or is not.
    pub(crate) offloaded: Option<bool>,
    /// It began longer ago than this.
    pub(crate) older_seconds: Option<u64>,
    /// It had no packet for longer than this.
    pub(crate) idle_seconds: Option<u64>,
}

/// What is shown of the connections that are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(default)]
    pub(crate) filter: Filter,
    /// What comes first.
    #[serde(default)]
    pub(crate) sort: Sort,
    /// At most so many.
    #[serde(default)]
    pub(crate) most: Option<usize>,
    /// Not connections, but who opens them, with what all of theirs come to.
    #[serde(default)]
    pub(crate) talkers: bool,
}

/// By what connections are sorted, the most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sort {
    /// Bytes of both directions
    #[default]
    Bytes,
    /// Packets of both directions
    Packets,
    /// How long ago it began
    Age,
}

/// Which connections are to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clear {
    pub(crate) filter: Filter,
}

/// How many have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cleared {
    pub(crate) version: u32,
    pub(crate) ended: usize,
}

/// Connections, the first ones in the order that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) version: u32,
    /// How many the gateway has.
    pub(crate) total: usize,
    /// How many are meant, shown or not.
    pub(crate) count: usize,
    /// Of those that are meant, how many are in which state, the most first.
    pub(crate) states: Vec<StateCount>,
    /// Of those that are meant, how many began in which VPC, the most first.
    pub(crate) vpcs: Vec<VpcCount>,
    pub(crate) connections: Vec<Connection>,
    /// Who has opened those that are meant, where that was asked for.
    pub(crate) talkers: Vec<Talker>,
    /// How many there are, shown or not.
    pub(crate) talker_count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateCount {
    pub(crate) protocol: String,
    pub(crate) state: String,
    pub(crate) connections: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VpcCount {
    pub(crate) vpc: String,
    pub(crate) connections: u64,
}

/// Who opens connections: an address of a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Talker {
    pub(crate) vpc: String,
    pub(crate) address: IpAddr,
    pub(crate) connections: u64,
    /// Of both directions, here and below.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) protocol: String,
    pub(crate) state: String,
    /// Of its first packet, as it arrived.
    pub(crate) original: Direction,
    /// Of replies, as they arrive.
    pub(crate) reply: Direction,
    pub(crate) translated: bool,
    /// Whether it is handed to the card.
    #[serde(default)]
    pub(crate) offloaded: bool,
    /// The interface that its first packet came in by.
    pub(crate) interface: String,
    pub(crate) worker: u16,
    pub(crate) age_seconds: u64,
    pub(crate) idle_seconds: u64,
    /// When it ends, if no packet comes.
    pub(crate) expires_seconds: u64,
}

/// One direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Direction {
    pub(crate) vpc: String,
    pub(crate) source: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// The name of a protocol, or its number.
pub(super) fn protocol(number: u8) -> String {
    match number {
        1 | 58 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        number => number.to_string(),
    }
}

impl Connection {
    fn of(listed: &ListedConnection, names: &Names) -> Connection {
        let direction = |ends: &rewire_dataplane::Ends, index: usize| Direction {
            vpc: names.vpc(ends.vpc).to_owned(),
            source: ends.source.0,
            source_port: ends.source.1,
            destination: ends.destination.0,
            destination_port: ends.destination.1,
            packets: listed.traffic[index].packets,
            bytes: listed.traffic[index].bytes,
        };
        Connection {
            protocol: protocol(listed.protocol),
            state: listed.state.name().to_owned(),
            original: direction(&listed.original, 0),
            reply: direction(&listed.reply, 1),
            translated: listed.is_translated(),
            offloaded: listed.offloaded,
            interface: names.interface(listed.ingress).to_owned(),
            worker: listed.worker,
            age_seconds: listed.age.as_secs(),
            idle_seconds: listed.idle.as_secs(),
            expires_seconds: listed.expires.as_secs(),
        }
    }
}

impl Filter {
    fn holds(&self, listed: &ListedConnection, names: &Names) -> bool {
        let ends = [&listed.original, &listed.reply];
        let points = ends.iter().flat_map(|ends| [ends.source, ends.destination]);
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let vpc = |wanted: &String| ends.iter().any(|ends| names.vpc(ends.vpc) == wanted);
        let within = |net: IpNet| points.clone().any(|(address, _)| net.contains(&address));
        let has_port = |port| points.clone().any(|(_, one)| one == port);
        self.vpc.as_ref().is_none_or(vpc)
            && is(&self.protocol, &protocol(listed.protocol))
            && is(&self.state, listed.state.name())
            && self.address.is_none_or(within)
            && self.port.is_none_or(has_port)
            && is(&self.interface, names.interface(listed.ingress))
            && self
                .translated
                .is_none_or(|wanted| wanted == listed.is_translated())
            && self
                .offloaded
                .is_none_or(|wanted| wanted == listed.offloaded)
            && self
                .older_seconds
                .is_none_or(|least| listed.age.as_secs() >= least)
            && self
                .idle_seconds
                .is_none_or(|least| listed.idle.as_secs() >= least)
    }
}

/// What of a connection comes first.
fn weight(sort: Sort, listed: &ListedConnection) -> u64 {
    let [out, back] = listed.traffic;
    match sort {
        Sort::Bytes => out.bytes.saturating_add(back.bytes),
        Sort::Packets => out.packets.saturating_add(back.packets),
        Sort::Age => listed.age.as_secs(),
    }
}

/// The connections that weigh most, of all that are shown to it: no more are kept than are asked for.
struct Heaviest {
    most: usize,
    /// The lightest on top. Those of one weight stay in their order.
    kept: BinaryHeap<Reverse<(u64, Reverse<usize>)>>,
    connections: HashMap<usize, ListedConnection>,
    seen: usize,
}

impl Heaviest {
    fn new(most: usize) -> Heaviest {
        Heaviest {
            most,
            kept: BinaryHeap::new(),
            connections: HashMap::new(),
            seen: 0,
        }
    }

    fn see(&mut self, weight: u64, listed: &ListedConnection) {
        let number = self.seen;
        self.seen += 1;
        let key = Reverse((weight, Reverse(number)));
        let is_full = self.kept.len() >= self.most;
        if is_full && self.kept.peek().is_none_or(|lightest| *lightest <= key) {
            return;
        }
        self.kept.push(key);
        self.connections.insert(number, *listed);
        if is_full && let Some(Reverse((_, Reverse(lightest)))) = self.kept.pop() {
            self.connections.remove(&lightest);
        }
    }

    fn sorted(mut self) -> Vec<ListedConnection> {
        let keys = self.kept.into_sorted_vec().into_iter();
        keys.filter_map(|Reverse((_, Reverse(number)))| self.connections.remove(&number))
            .collect()
    }
}

/// The first of what is counted, the most first; of equals in the order of their names.
fn most_first<K: Ord, T>(counts: BTreeMap<K, u64>, shown: impl Fn(K, u64) -> T) -> Vec<T> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let counts = counts.into_iter();
    counts.map(|(key, count)| shown(key, count)).collect()
}

#[derive(Default)]
struct Sums {
    connections: u64,
    packets: u64,
    bytes: u64,
}

impl Daemon {
    pub(super) fn connection_table(&self) -> Result<&ConnectionTable, String> {
        let table = self.connection_table.as_ref();
        table.ok_or_else(|| "the gateway is stopping".to_owned())
    }

    /// The connections that are asked for, or why there is no answer.
    pub(crate) fn connections(&self, query: &Query) -> Result<Connections, String> {
        let table = self.connection_table()?;
        let names = table.names().map_err(|error| error.to_string())?;
        let mut collected = Collected::new(query);
        table
            .visit(|listed| collected.see(listed, &names))
            .map_err(|error| error.to_string())?;
        Ok(collected.finish(&names))
    }

    /// Ends the connections that are meant; how many have ended, or why nothing is known of it.
    pub(crate) fn clear_connections(&self, clear: &Clear) -> Result<Cleared, String> {
        let table = self.connection_table()?;
        let names = table.names().map_err(|error| error.to_string())?;
        let mut meant: BTreeMap<u16, Vec<ConnectionId>> = BTreeMap::new();
        table
            .visit(|listed| {
                if clear.filter.holds(listed, &names) {
                    meant.entry(listed.worker).or_default().push(listed.id);
                }
            })
            .map_err(|error| error.to_string())?;
        let mut ended = 0;
        for (worker, connections) in meant {
            let cleared = table.end(worker, connections);
            ended +=
                cleared.map_err(|error| format!("{ended} connections have ended, but {error}"))?;
        }
        tracing::info!(ended, "connections were cleared");
        Ok(Cleared {
            version: VERSION,
            ended,
        })
    }
}

/// What an answer is made of.
struct Collected<'a> {
    query: &'a Query,
    answer: Connections,
    heaviest: Heaviest,
    states: BTreeMap<(&'static str, &'static str), u64>,
    vpcs: BTreeMap<u16, u64>,
    talkers: BTreeMap<(u16, IpAddr), Sums>,
}

impl<'a> Collected<'a> {
    fn new(query: &'a Query) -> Self {
        Collected {
            query,
            answer: Connections {
                version: VERSION,
                ..Connections::default()
            },
            heaviest: Heaviest::new(query.most.unwrap_or(MOST_SHOWN).min(MOST_SHOWN)),
            states: BTreeMap::new(),
            vpcs: BTreeMap::new(),
            talkers: BTreeMap::new(),
        }
    }

    fn see(&mut self, listed: &ListedConnection, names: &Names) {
        self.answer.total += 1;
        if !self.query.filter.holds(listed, names) {
            return;
        }
        self.answer.count += 1;
        let state = (listed.state.protocol(), listed.state.name());
        *self.states.entry(state).or_default() += 1;
        let vpc = listed.original.vpc.0;
        *self.vpcs.entry(vpc).or_default() += 1;
        if !self.query.talkers {
            self.heaviest.see(weight(self.query.sort, listed), listed);
            return;
        }
        let sums = self
            .talkers
            .entry((vpc, listed.original.source.0))
            .or_default();
        sums.connections += 1;
        for traffic in listed.traffic {
            sums.packets += traffic.packets;
            sums.bytes += traffic.bytes;
        }
    }

    fn finish(self, names: &Names) -> Connections {
        let vpc_name = |vpc| names.vpc(rewire_tables::VpcIndex(vpc)).to_owned();
        let most = self.heaviest.most;
        let mut talkers: Vec<_> = self.talkers.into_iter().collect();
        talkers.sort_by_key(|(_, sums)| {
            Reverse(match self.query.sort {
                Sort::Bytes => sums.bytes,
                Sort::Packets => sums.packets,
                // All of one's connections have no one age: who has most of them.
                Sort::Age => sums.connections,
            })
        });
        let talker_count = talkers.len();
        let talkers = talkers.into_iter().take(most);
        Connections {
            states: most_first(self.states, |(protocol, state), connections| StateCount {
                protocol: protocol.to_owned(),
                state: state.to_owned(),
                connections,
            }),
            vpcs: most_first(self.vpcs, |vpc, connections| VpcCount {
                vpc: vpc_name(vpc),
                connections,
            }),
            connections: self
                .heaviest
                .sorted()
                .iter()
                .map(|listed| Connection::of(listed, names))
                .collect(),
            talkers: talkers
                .map(|((vpc, address), sums)| Talker {
                    vpc: vpc_name(vpc),
                    address,
                    connections: sums.connections,
                    packets: sums.packets,
                    bytes: sums.bytes,
                })
                .collect(),
            talker_count,
            ..self.answer
        }
    }
}
