//! The connections of a running gateway, for whoever asks: listed, and ended by hand.
//!
//! A worker copies its connections into a slice that it is handed, a few between two bursts, and gives the slice back when it
//! is full. So a look at a million connections keeps no packet waiting for longer than a microsecond or two, and takes no
//! memory of the worker's. What is seen is no moment: each connection is as it was when the worker came to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;

use rewire_conntrack::{
    Connections, Direction, Flow, FlowId, FlowKey, Internal, SavedFlow, State, Traffic,
};
use rewire_tables::{Address, InterfaceIndex, Tables, VpcIndex};

use crate::clock::Instant;
use crate::connection_copy::Copying;
use crate::gateway::{GatewayError, Request};
use crate::nat_ports::{ExternalAddresses, ListedPorts, copy_ports};

/// Connections in one slice.
pub(crate) const SLICE: usize = 2_048;
/// How long a worker may take for a slice.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which connection it is, of a worker's: it is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId(Family<FlowId>);

/// One or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family<T> {
    Ipv4(T),
    Ipv6(T),
}

/// Where the packets of a direction come from and go to, as they arrive. Ports in host order; of ICMP queries both are the
/// identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The VPC that they arrive in.
    pub vpc: VpcIndex,
    /// Their source.
    pub source: (IpAddr, u16),
    /// Their destination.
    pub destination: (IpAddr, u16),
}

/// One connection, as it was when its worker came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedConnection {
    /// The worker that has it, from 0.
    pub worker: u16,
    /// Which one of that worker's it is.
    pub id: ConnectionId,
    /// The IP protocol number.
    pub protocol: u8,
    /// Its state.
    pub state: State,
    /// The original direction's ends.
    pub original: Ends,
    /// The reply direction's. What is not the original's, turned round, is translated.
    pub reply: Ends,
    /// The interface that its first packet came in by.
    pub ingress: InterfaceIndex,
    /// How long ago it began, to about a second.
    pub age: Duration,
    /// How long it had no packet that prolonged it.
    pub idle: Duration,
    /// After how long it ends, if no packet comes.
    pub expires: Duration,
    /// Whether it is handed to the card.
    pub offloaded: bool,
    /// What was seen of either direction.
    pub traffic: [Traffic; 2],
}

impl ListedConnection {
    fn of<A: Address>(
        worker: u16,
        (id, flow_id): (ConnectionId, FlowId),
        connections: &Connections<A>,
        flow: &Flow<A>,
        now: Instant,
    ) -> Self {
        let ends = |direction| {
            let key = flow.key(direction);
            // What is IPv4 on the far side of a NAT64 is shown so.
            let shown = |address: A| Into::<IpAddr>::into(address).to_canonical();
            Ends {
                vpc: key.vpc,
                source: (shown(key.source), key.source_port),
                destination: (shown(key.destination), key.destination_port),
            }
        };
        let directions = [Direction::Original, Direction::Reply];
        ListedConnection {
            worker,
            id,
            protocol: flow.original.protocol,
            state: flow.state,
            original: ends(Direction::Original),
            reply: ends(Direction::Reply),
            ingress: flow.admission.ingress,
            age: now.duration_since(flow.created),
            idle: connections.idle(flow, now),
            expires: flow.expires.duration_since(now),
            offloaded: connections.is_offloaded(flow_id),
            traffic: directions.map(|direction| flow.traffic(direction)),
        }
    }

    /// Whether its addresses or ports are translated.
    pub fn is_translated(&self) -> bool {
        (self.original.source, self.original.destination)
            != (self.reply.destination, self.reply.source)
    }
}

/// What is copied, from a place on, and who has asked for it.
#[derive(Debug)]
pub(crate) struct Listing<T> {
    from: Family<u32>,
    slice: Vec<T>,
    reply: SyncSender<Job>,
}

impl<T> Listing<T> {
    /// Whether there is nothing more to copy, or no room.
    fn is_done(&self) -> bool {
        self.from == Family::Ipv6(u32::MAX) || self.slice.len() == self.slice.capacity()
    }
}

/// What can be listed.
trait Listed: Sized {
    fn job(listing: Listing<Self>) -> Job;
    /// What has come of that.
    fn of(job: Job) -> Option<Listing<Self>>;
}

impl Listed for ListedConnection {
    fn job(listing: Listing<Self>) -> Job {
        Job::List(listing)
    }

    fn of(job: Job) -> Option<Listing<Self>> {
        match job {
            Job::List(listing) => Some(listing),
            _ => None,
        }
    }
}

impl Listed for ListedPorts {
    fn job(listing: Listing<Self>) -> Job {
        Job::Ports(listing)
    }

    fn of(job: Job) -> Option<Listing<Self>> {
        match job {
            Job::Ports(listing) => Some(listing),
            _ => None,
        }
    }
}

/// What a worker is to do with connections, between its bursts.
#[derive(Debug)]
pub(crate) enum Job {
    /// Copy those from a place on into the slice, until it is full.
    List(Listing<ListedConnection>),
    /// Copy which external ports are in use, from a place on, into the slice, until it is full.
    Ports(Listing<ListedPorts>),
    /// Copy them for another gateway, from a place on, until a slice is full.
    Copy(Copying),
    /// Copy those that packets belong to.
    Find {
        sought: Sought,
        found: FoundConnections,
        reply: SyncSender<Job>,
    },
    /// End these, from the last one on.
    End {
        connections: Vec<ConnectionId>,
        ended: usize,
        reply: SyncSender<Job>,
    },
}

/// Keys of packets, a few, whose connections are sought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sought {
    /// Where to a packet without a connection may be translated: the VPCs that have interfaces, a few of them.
    pub(crate) external: Vec<VpcIndex>,
    pub(crate) four: Vec<FlowKey<Ipv4Addr>>,
    pub(crate) six: Vec<FlowKey<Ipv6Addr>>,
}

/// Copies of the connections that packets belong to, to be taken over by a [trial](crate::Trial).
#[derive(Clone, Debug, Default)]
pub struct FoundConnections {
    pub(crate) four: Vec<SavedFlow<Ipv4Addr>>,
    pub(crate) six: Vec<SavedFlow<Ipv6Addr>>,
}

impl FoundConnections {
    /// With room for what is sought, so that no worker allocates.
    fn for_all(sought: &Sought) -> Self {
        FoundConnections {
            four: Vec::with_capacity(sought.four.len()),
            six: Vec::with_capacity(sought.six.len()),
        }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.four.len() + self.six.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Places that a worker looks at between two bursts, at most, and connections that it copies or ends.
pub(crate) const SLOTS_BETWEEN: u32 = 128;
pub(crate) const CONNECTIONS_BETWEEN: usize = 32;

impl Job {
    /// Does a part of it. Whether that was the last one.
    pub(crate) fn go_on(
        &mut self,
        worker: u16,
        connections: (&mut Connections<Ipv4Addr>, &mut Connections<Ipv6Addr>),
        now: Instant,
    ) -> bool {
        match self {
            Job::List(listing) => {
                let slice = &mut listing.slice;
                listing.from = match listing.from {
                    Family::Ipv4(slot) => {
                        let id = |id| ConnectionId(Family::Ipv4(id));
                        let next = copy(connections.0, slot, slice, now, worker, id);
                        next.map_or(Family::Ipv6(0), Family::Ipv4)
                    }
                    Family::Ipv6(slot) => {
                        let id = |id| ConnectionId(Family::Ipv6(id));
                        let next = copy(connections.1, slot, slice, now, worker, id);
                        Family::Ipv6(next.unwrap_or(u32::MAX))
                    }
                };
                listing.is_done()
            }
            Job::Ports(listing) => {
                let slice = &mut listing.slice;
                listing.from = match listing.from {
                    Family::Ipv4(place) => {
                        let next = copy_ports(connections.0, place, slice, worker);
                        next.map_or(Family::Ipv6(0), Family::Ipv4)
                    }
                    Family::Ipv6(place) => {
                        let next = copy_ports(connections.1, place, slice, worker);
                        Family::Ipv6(next.unwrap_or(u32::MAX))
                    }
                };
                listing.is_done()
            }
            Job::Copy(copying) => copying.go_on((connections.0, connections.1), now),
            Job::Find { sought, found, .. } => {
                let (external, four, six) = (&sought.external, &sought.four, &sought.six);
                let flow = |key| one_of(connections.0, key, external, now);
                found.four.extend(four.iter().filter_map(flow));
                let flow = |key| one_of(connections.1, key, external, now);
                found.six.extend(six.iter().filter_map(flow));
                true
            }
            Job::End {
                connections: ids,
                ended,
                ..
            } => {
                for _ in 0..CONNECTIONS_BETWEEN {
                    let Some(ConnectionId(id)) = ids.pop() else {
                        return true;
                    };
                    // One that has ended meanwhile is not found, whoever has its place.
                    let has_ended = match id {
                        Family::Ipv4(id) => connections.0.remove(id).is_some(),
                        Family::Ipv6(id) => connections.1.remove(id).is_some(),
                    };
                    *ended += usize::from(has_ended);
                }
                ids.is_empty()
            }
        }
    }

    /// How many connections it has ended.
    pub(crate) fn ended(&self) -> usize {
        match self {
            Job::List(_) | Job::Ports(_) | Job::Copy(_) | Job::Find { .. } => 0,
            Job::End { ended, .. } => *ended,
        }
    }

    /// Hands it to who has asked, who may have gone away.
    pub(crate) fn reply(self) {
        let (Job::List(Listing { ref reply, .. })
        | Job::Ports(Listing { ref reply, .. })
        | Job::Copy(Copying { ref reply, .. })
        | Job::Find { ref reply, .. }
        | Job::End { ref reply, .. }) = self;
        let reply = reply.clone();
        let _ = reply.try_send(self);
    }
}

/// A copy of the connection that a key is of; else of one whose mapping the connection would have that it begins.
fn one_of<A: Address>(
    connections: &Connections<A>,
    key: &FlowKey<A>,
    external: &[VpcIndex],
    now: Instant,
) -> Option<SavedFlow<A>> {
    let of_mapping = || {
        let internal = Internal {
            vpc: key.vpc,
            protocol: key.protocol,
            address: key.source,
            port: key.source_port,
        };
        let mut external = external.iter();
        external.find_map(|vpc| connections.connection_of_mapping(&internal, *vpc))
    };
    let known = connections.lookup(key, now).map(|(id, _)| id);
    connections.saved_flow(known.or_else(of_mapping)?, now)
}

/// Copies a few connections; where to go on, if there are more.
fn copy<A: Address>(
    connections: &Connections<A>,
    mut slot: u32,
    slice: &mut Vec<ListedConnection>,
    now: Instant,
    worker: u16,
    listed: impl Fn(FlowId) -> ConnectionId,
) -> Option<u32> {
    let slots = connections.slots();
    let end = slot.saturating_add(SLOTS_BETWEEN).min(slots);
    let room = (slice.capacity() - slice.len()).min(CONNECTIONS_BETWEEN);
    for _ in 0..room {
        let Some((found, id)) = connections.next_connection(slot..end, now) else {
            slot = end;
            break;
        };
        slot = found + 1;
        if let Some(flow) = connections.flow(id) {
            slice.push(ListedConnection::of(
                worker,
                (listed(id), id),
                connections,
                &flow,
                now,
            ));
        }
    }
    (slot < slots).then_some(slot)
}

/// What indices stand for, in the tables that are live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    vpcs: Vec<String>,
    interfaces: Vec<String>,
}

impl Names {
    pub(crate) fn of(tables: &Tables) -> Names {
        let mut names = Names::default();
        for (index, vpc) in tables.vpcs() {
            let vpcs = &mut names.vpcs;
            vpcs.resize(vpcs.len().max(index.position() + 1), String::new());
            vpc.name().clone_into(&mut vpcs[index.position()]);
        }
        for (index, interface) in tables.interfaces() {
            let interfaces = &mut names.interfaces;
            interfaces.resize(interfaces.len().max(index.position() + 1), String::new());
            interface
                .name
                .as_ref()
                .clone_into(&mut interfaces[index.position()]);
        }
        names
    }

    /// A VPC's name; empty where it is gone.
    pub fn vpc(&self, index: VpcIndex) -> &str {
        self.vpcs.get(index.position()).map_or("", String::as_str)
    }

    /// All VPCs, by name.
    pub fn vpcs(&self) -> impl Iterator<Item = (VpcIndex, &str)> {
        let vpcs = (0..).map(VpcIndex).zip(&self.vpcs);
        vpcs.filter(|(_, name)| !name.is_empty())
            .map(|(index, name)| (index, name.as_str()))
    }

    /// All interfaces, by name.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceIndex, &str)> {
        let interfaces = (0..).map(InterfaceIndex).zip(&self.interfaces);
        interfaces
            .filter(|(_, name)| !name.is_empty())
            .map(|(index, name)| (index, name.as_str()))
    }

    /// An interface's name; empty where it is gone.
    pub fn interface(&self, index: InterfaceIndex) -> &str {
        let interface = self.interfaces.get(index.position());
        interface.map_or("", String::as_str)
    }
}

/// Who can be asked about connections, for as long as the gateway runs.
#[derive(Clone, Debug)]
pub struct ConnectionTable {
    pub(crate) requests: Sender<Request>,
    pub(crate) workers: u16,
}

impl ConnectionTable {
    /// What the indices in connections stand for.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn names(&self) -> Result<Names, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request::Names(reply);
        self.requests
            .send(request)
            .map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(|_| GatewayError::Stopping)
    }

    /// Shows every connection of every worker to `see`, slice by slice. Those that begin meanwhile may be among them or not; none
    /// is there twice. Cost: a tenth of a microsecond a connection, of the workers' time; about half a second for a million.
    ///
    /// # Errors
    /// The gateway is stopping, or a worker does not answer.
    pub fn visit(&self, mut see: impl FnMut(&ListedConnection)) -> Result<(), GatewayError> {
        self.walk(&mut see)
    }

    /// Shows what every worker has in use of every external address to `see`; the numbers of one address add up. Cost: as of
    /// [`visit`](Self::visit), for each external address that has a port in use.
    ///
    /// # Errors
    /// The gateway is stopping, or a worker does not answer.
    pub fn visit_ports(&self, mut see: impl FnMut(&ListedPorts)) -> Result<(), GatewayError> {
        self.walk(&mut see)
    }

    fn walk<T: Listed>(&self, see: &mut impl FnMut(&T)) -> Result<(), GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let mut slice = Vec::with_capacity(SLICE);
        for worker in 0..self.workers {
            let mut from = Family::Ipv4(0);
            while from != Family::Ipv6(u32::MAX) {
                slice.clear();
                let reply = reply.clone();
                let job = T::job(Listing { from, slice, reply });
                let done = T::of(self.ask(worker, job, &answer)?).ok_or(GatewayError::Stopping)?;
                (from, slice) = (done.from, done.slice);
                slice.iter().for_each(&mut *see);
            }
        }
        Ok(())
    }

    /// The external addresses that rules of the live tables share out.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn external_addresses(&self) -> Result<Vec<ExternalAddresses>, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request::ExternalAddresses(reply);
        self.requests
            .send(request)
            .map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(|_| GatewayError::Stopping)
    }

    /// Ends connections of one worker, in both directions and with their mappings; those that have ended by themselves are left
    /// out. How many have.
    ///
    /// # Errors
    /// The gateway is stopping, or the worker does not answer: it ends them all the same, if it ever does.
    pub fn end(&self, worker: u16, connections: Vec<ConnectionId>) -> Result<usize, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let job = Job::End {
            connections,
            ended: 0,
            reply,
        };
        self.ask(worker, job, &answer).map(|job| job.ended())
    }

    /// The connections that packets with these keys belong to, of all workers; each is left as it is.
    pub(crate) fn find(&self, sought: &Sought) -> Result<FoundConnections, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let mut all = FoundConnections::default();
        for worker in 0..self.workers {
            let job = Job::Find {
                sought: sought.clone(),
                found: FoundConnections::for_all(sought),
                reply: reply.clone(),
            };
            if let Job::Find { mut found, .. } = self.ask(worker, job, &answer)? {
                all.four.append(&mut found.four);
                all.six.append(&mut found.six);
            }
        }
        Ok(all)
    }

    pub(crate) fn ask(
        &self,
        worker: u16,
        job: Job,
        answer: &Receiver<Job>,
    ) -> Result<Job, GatewayError> {
        let request = Request::Job(worker, job);
        self.requests
            .send(request)
            .map_err(|_| GatewayError::Stopping)?;
        let late = |_| GatewayError::WorkerSilent {
            worker: worker.into(),
        };
        answer.recv_timeout(PATIENCE).map_err(late)
    }
}
