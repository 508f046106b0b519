//! The manager's ports: opened for the workers that are to have them, looked at, tried again, closed.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rewire_tables::InterfaceIndex;

use super::Manager;
use crate::gateway::PortStatus;
use crate::port::{BoxedQueue, LinkChange, PortDriver, PortRequest};
use crate::worker::Command;

/// The worker that transmits for another by a port of which these have a queue; none where that is one of them.
fn transmitter(owners: &[u16], worker: u16) -> Option<u16> {
    match owners.contains(&worker) {
        true => None,
        // Not all by the same one.
        false => owners
            .get(usize::from(worker) % owners.len().max(1))
            .copied(),
    }
}

/// How often links are looked at.
const LINKS_EVERY: Duration = Duration::from_millis(100);
/// So many links are looked at at once, at most: a system call each.
const MOST_LINKS: usize = 64;

impl PortStatus {
    /// What its link is now, and how often it has changed since.
    fn link_is(&mut self, LinkChange { is_up, changes }: LinkChange) {
        self.link = Some(is_up);
        self.link_changes += changes;
        if changes > 0 {
            let (name, state) = (&self.interface, if is_up { "up" } else { "down" });
            tracing::info!(
                interface = name,
                port = self.port,
                changes,
                "the link is {state}"
            );
        }
    }
}

impl<D: PortDriver> Manager<D> {
    /// Opens the ports of interfaces that are in the tables by now.
    pub(super) fn open_new_ports(&mut self) {
        let requests = std::mem::take(&mut self.to_open);
        self.open_ports(requests);
    }

    /// Opens ports, and deals out their queues among the workers. Ports of which a worker does not take its queue are closed,
    /// and tried again later. No worker receives from them before all know them.
    fn open_ports(&mut self, requests: impl IntoIterator<Item = (InterfaceIndex, PortRequest)>) {
        let mut dealt: Vec<Vec<_>> = self.links.iter().map(|_| Vec::new()).collect();
        let mut opened = Vec::new();
        for (interface, request) in requests {
            let queues = self.open_port(interface, request.clone());
            if queues.is_empty() {
                continue;
            }
            let workers = self.least_busy(queues.len());
            for (queue, worker) in queues.into_iter().zip(&workers) {
                dealt[usize::from(*worker)].push((interface, queue));
            }
            self.owners.insert(interface, workers);
            opened.push((interface, request));
        }
        if opened.is_empty() {
            return;
        }
        let deadline = self.config.live_deadline;
        let mut refused = Vec::new();
        for ((worker, link), own) in (0u16..).zip(&mut self.links).zip(dealt) {
            let owners = |interface| self.owners.get(interface);
            let others = opened.iter().filter_map(|(interface, _)| {
                Some((*interface, transmitter(owners(interface)?, worker)?))
            });
            let others = others.collect();
            if !link.command(Command::AddPorts { own, others }, deadline) {
                refused.push(worker);
            }
        }
        for link in &mut self.links {
            link.command(Command::Receive, deadline);
        }
        let is_refused = |(interface, _): &(InterfaceIndex, PortRequest)| {
            let owners = self.owners.get(interface);
            owners.is_some_and(|owners| owners.iter().any(|owner| refused.contains(owner)))
        };
        opened.retain(is_refused);
        if opened.is_empty() {
            return;
        }
        tracing::error!(?refused, "alarm: workers do not take their new ports");
        // Other workers may have taken theirs: a port is there whole, or not at all.
        self.close_ports(opened.iter().map(|(interface, _)| *interface).collect());
        for (interface, request) in opened {
            let problem = Some("its worker does not take it".to_owned());
            self.status(interface, &request, problem);
            self.try_again_later(interface, request);
        }
    }

    /// So many workers, those with the fewest ports.
    fn least_busy(&self, number: usize) -> Vec<u16> {
        let ports = |worker: &u16| {
            let owners = self.owners.values().flatten();
            owners.filter(|owner| *owner == worker).count()
        };
        let mut workers: Vec<u16> = (0..self.links.len() as u16).collect();
        workers.sort_by_cached_key(ports);
        workers.truncate(number);
        workers
    }

    fn try_again_later(&mut self, interface: InterfaceIndex, request: PortRequest) {
        self.waiting.insert(interface, request);
        self.next_retry = Some(Instant::now() + self.config.port_retry);
    }

    /// Says where the port of an interface stands.
    fn status(&self, interface: InterfaceIndex, request: &PortRequest, problem: Option<String>) {
        let no_offload = match self.engine {
            Some(_) => self.driver.no_offload(interface),
            None => Some("these ports have no card".to_owned()),
        };
        let tables = self.publisher.current();
        let offload = tables.is_some_and(|tables| {
            let interface = tables.interface(interface);
            interface.is_some_and(|interface| interface.offload)
        });
        let status = PortStatus {
            interface: request.interface.clone(),
            port: request.port.to_string(),
            problem,
            link: None,
            link_changes: 0,
            offload,
            no_offload,
        };
        self.shared.with_ports(|ports| {
            // What was counted before it is opened again, or its offload is asked for, was the same link.
            let before = ports.get(&interface.0);
            let (link, link_changes) = before.map_or((None, 0), |p| (p.link, p.link_changes));
            let status = PortStatus {
                link: link.filter(|_| status.problem.is_none()),
                link_changes,
                ..status
            };
            ports.insert(interface.0, status)
        });
    }

    /// The queues of a port, no more than there are workers; none where it cannot be opened.
    fn open_port(&mut self, interface: InterfaceIndex, request: PortRequest) -> Vec<BoxedQueue<D>> {
        match self.driver.open_queues(&request, self.links.len() as u16) {
            Ok(queues) => {
                let (port, number) = (&request.port, queues.len());
                tracing::info!(interface = request.interface, %port, queues = number, "port open");
                self.waiting.remove(&interface);
                self.status(interface, &request, None);
                queues
            }
            Err(error) => {
                if !self.waiting.contains_key(&interface) {
                    tracing::warn!(%error, "the gateway goes on with its other ports and tries again");
                }
                self.status(interface, &request, Some(error.reason));
                self.try_again_later(interface, request);
                Vec::new()
            }
        }
    }

    /// Takes ports from their worker and closes them, all at once. A worker that does not answer holds nobody up for
    /// longer than one deadline, however many ports there are.
    pub(super) fn close_ports(&mut self, interfaces: Vec<InterfaceIndex>) {
        if interfaces.is_empty() {
            return;
        }
        for interface in &interfaces {
            self.waiting.remove(interface);
            self.shared.with_ports(|ports| ports.remove(&interface.0));
        }
        self.to_open
            .retain(|(owner, _)| !interfaces.contains(owner));
        let deadline = self.config.live_deadline;
        if let Some(engine) = &self.engine
            && !engine.close_ports(interfaces.clone(), deadline)
        {
            tracing::error!("alarm: the offload engine does not let go of ports");
        }
        for link in &mut self.links {
            link.command(Command::ForgetPorts(interfaces.clone()), deadline);
        }
        let mut waited_for = Vec::new();
        for (worker, link) in (0u16..).zip(&mut self.links) {
            let is_own = |interface: &InterfaceIndex| {
                let owners = self.owners.get(interface);
                owners.is_some_and(|owners| owners.contains(&worker))
            };
            let own: Vec<_> = interfaces.iter().copied().filter(is_own).collect();
            if own.is_empty() {
                continue;
            }
            let (back, returned) = mpsc::sync_channel(1);
            let number = own.len();
            let interfaces = own;
            // A command that is not taken is dropped, and its channel with it: then there is nothing to wait for.
            link.command(Command::RemovePorts { interfaces, back }, deadline);
            waited_for.push((number, returned));
        }
        let until = Instant::now() + deadline;
        for (ports, returned) in waited_for {
            match returned.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // Closed here, on the manager's thread: closing makes system calls.
                Ok(queues) => drop(queues),
                Err(_) => tracing::error!(ports, "alarm: a worker does not give its ports back"),
            }
        }
        for interface in &interfaces {
            self.owners.remove(interface);
        }
    }

    /// Counts the changes of links: those that the driver was told of, and those that are found. It looks at some ports at a time, so that many of
    /// them take the manager from nothing else for long.
    pub(super) fn look_at_links(&mut self) {
        let now = Instant::now();
        if self.next_link_look.is_some_and(|at| now < at) {
            return;
        }
        self.next_link_look = Some(now + LINKS_EVERY);
        let shared = &self.shared;
        self.driver.link_changes(&mut |interface, change| {
            shared.with_ports(|ports| {
                if let Some(port) = ports.get_mut(&interface.0) {
                    port.link_is(change);
                }
            });
        });
        let open: Vec<InterfaceIndex> = self.owners.keys().copied().collect();
        let behind = |interface: &&InterfaceIndex| Some(**interface) > self.last_link_looked_at;
        let from = open.iter().filter(behind).chain(&open);
        let looked_at: Vec<InterfaceIndex> =
            from.take(open.len().min(MOST_LINKS)).copied().collect();
        self.last_link_looked_at = looked_at.last().copied();
        for interface in looked_at {
            let Some(link) = self.driver.link_up(interface) else {
                continue;
            };
            self.shared.with_ports(|ports| {
                let Some(port) = ports.get_mut(&interface.0) else {
                    return;
                };
                let differs = port.link.is_some_and(|before| before != link);
                port.link_is(LinkChange {
                    is_up: link,
                    changes: differs.into(),
                });
            });
        }
    }

    pub(super) fn retry_ports(&mut self) {
        if self.next_retry.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.next_retry = None;
        // They stay in the list while they are tried, so that the same failure is not logged again.
        self.open_ports(self.waiting.clone());
    }

    pub(super) fn close_all_ports(&mut self) {
        let ports = self.shared.ports();
        self.close_ports(ports.into_iter().map(|(interface, _)| interface).collect());
    }
}
