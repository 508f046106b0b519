//! Ports through DPDK.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rewire_conntrack::offload::Card;
use rewire_dpdk::{
    Eal, Link, Mbuf, MemifRole, Mempool, PortConfig, ReceiveQueue, Started, TransmitQueue,
    VirtualDevice,
};
use rewire_schema::port::Port;
use rewire_tables::InterfaceIndex;

use super::kernel_links::KernelLinks;
use super::{BoxedQueue, LinkChange, OpenError, PortDriver, PortQueue, PortRequest};
use crate::buffer::{BufferPool, LARGEST_FRAME, PacketBuffer};
use crate::rte_flow::{FlowPorts, RteFlowCard};

/// Frames that pass between us and a driver at once.
const BURST: usize = 64;
/// Slots that a receive queue has at least: one burst's.
const FEWEST_SLOTS: u16 = 64;
/// Rules of one family and protocol that a port's card makes room for, if it can.
const RULES: u32 = 1 << 18;

impl PacketBuffer for Mbuf {
    fn bytes(&self) -> &[u8] {
        self.data()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }
    fn truncate(&mut self, length: usize) {
        // False says that the frame is not longer, or not contiguous; `receive` lets none of the latter in.
        let _ = Mbuf::truncate(self, length);
    }
    fn resize(&mut self, length: usize) -> bool {
        match length.checked_sub(self.len()) {
            Some(more) => self.append(more).map(|new| new.fill(0)).is_some(),
            None => Mbuf::truncate(self, length),
        }
    }
}

/// One worker's handle to the mempool.
pub struct DpdkPool(Mempool);

impl BufferPool for DpdkPool {
    type Buffer = Mbuf;
    fn allocate(&mut self) -> Option<Mbuf> {
        self.0.alloc()
    }
}

/// The device for a port, and how many of so many queues it can have.
type DeviceOf = Box<dyn Fn(&Port, u16) -> (VirtualDevice, u16) + Send>;

/// Opens DPDK's virtual devices while the gateway runs.
pub struct DpdkDriver {
    eal: Arc<Eal>,
    mempool: Mempool,
    opened: u64,
    /// The card's door for new ports; none as long as nobody has the card.
    flows: Option<FlowPorts>,
    /// Why the card takes no flows of some ports.
    no_offload: BTreeMap<InterfaceIndex, String>,
    /// The links of ports that were opened; some may be closed by now.
    links: BTreeMap<InterfaceIndex, Link>,
    /// Those of the kernel's devices; none where it tells nothing.
    kernel_links: Option<KernelLinks>,
    device: DeviceOf,
}

impl DpdkDriver {
    /// A driver with one mempool of `buffers` buffers, each large enough for the largest frame.
    pub fn new(eal: Arc<Eal>, buffers: u32) -> Result<Self, rewire_dpdk::Error> {
        // What the largest slot of an af_packet ring can hold; a frame and headroom for tags fit well inside.
        let data_room = LARGEST_FRAME.next_multiple_of(1024) as u16;
        let mempool = Mempool::new(&eal, "rewire", buffers, data_room)?;
        let kernel_links = KernelLinks::open();
        let kernel_links = kernel_links.inspect_err(|error| {
            tracing::warn!(%error, "the kernel cannot be heard: changes of links that last less than a look are missed");
        });
        let kernel_links = kernel_links.ok();
        Ok(DpdkDriver {
            eal,
            mempool,
            opened: 0,
            flows: None,
            no_offload: BTreeMap::new(),
            links: BTreeMap::new(),
            kernel_links,
            device: Box::new(device),
        })
    }

    /// Opens these devices for ports from now on, instead of those that the configuration says: for tests.
    pub fn opening(mut self, device: impl Fn(&Port) -> VirtualDevice + Send + 'static) -> Self {
        self.device = Box::new(move |port, queues| (device(port), queues));
        self
    }

    /// Gives the card a new port, if there is a card, and the port can.
    fn hand_to_card(
        &mut self,
        request: &PortRequest,
        port: &mut rewire_dpdk::Port<Started>,
        ages: bool,
    ) {
        let Some(flows) = &self.flows else { return };
        let why = match port.take_flow_engine() {
            None => Some("its driver has no flow rules".to_owned()),
            Some(engine) => {
                let opened = flows.opened(request.index, engine, request.mtu, ages);
                opened.err().map(reason)
            }
        };
        match why {
            Some(why) => {
                let (interface, port) = (&request.interface, &request.port);
                tracing::debug!(interface, %port, why, "its flows stay in software");
                self.no_offload.insert(request.index, why);
            }
            None => {
                self.no_offload.remove(&request.index);
            }
        }
    }

    /// The buffers that are in use now, and all there are.
    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }
}

/// What went wrong, without the name and the driver that DPDK knows the port by: those are not the administrator's.
fn reason(error: rewire_dpdk::Error) -> String {
    match error {
        rewire_dpdk::Error::Attach { reason, .. } => reason,
        rewire_dpdk::Error::Configure { step, reason, .. }
        | rewire_dpdk::Error::Flow { step, reason, .. } => format!("cannot {step}: {reason}"),
        other => other.to_string(),
    }
}

/// The device of a port, and how many of so many queues it can have, as far as that is known before it is there.
fn device(port: &Port, queues: u16) -> (VirtualDevice, u16) {
    let device = match port.clone() {
        Port::AfPacket { interface } => VirtualDevice::AfPacket {
            interface,
            queue_pairs: queues,
        },
        Port::Tap { interface } => VirtualDevice::Tap { interface },
        Port::Null { .. } => VirtualDevice::Null { generate: false },
        Port::Ring { .. } => VirtualDevice::Ring,
        Port::Pcap { receive, transmit } => VirtualDevice::Pcap { receive, transmit },
        Port::Memif { socket, id, server } => VirtualDevice::Memif {
            id,
            role: if server {
                MemifRole::Server
            } else {
                MemifRole::Client
            },
            socket,
        },
    };
    let queues = match device {
        // The other side must have as many, and a file cannot be shared.
        VirtualDevice::Memif { .. } | VirtualDevice::Pcap { .. } => 1,
        _ => queues,
    };
    (device, queues)
}

impl PortDriver for DpdkDriver {
    type Pool = DpdkPool;

    fn open_queues(
        &mut self,
        request: &PortRequest,
        most: u16,
    ) -> Result<Vec<BoxedQueue<Self>>, OpenError> {
        let error = |error| request.refused(reason(error));
        let gone = || request.refused("the device has no queue".to_owned());
        // A name of its own for each device: one that is just being closed may still hold the last one.
        self.opened += 1;
        let name = format!("port{}", self.opened);
        let (device, queues) = (self.device)(&request.port, most.max(1));
        let port = self.eal.attach(&name, &device).map_err(error)?;
        let queues = queues.min(port.most_queues().map_err(error)?);
        let alone = PortConfig::new(self.mempool.clone());
        let config = PortConfig {
            receive_queues: queues,
            transmit_queues: queues,
            // A driver fills its slots with buffers: several queues share what one would have.
            receive_descriptors: (alone.receive_descriptors / queues).max(FEWEST_SLOTS),
            ..alone
        };
        let mut port = port.configure(&config).map_err(error)?;
        let ages = self
            .flows
            .as_ref()
            .is_some_and(|flows| flows.configure(&mut port));
        let mut port = port.start().map_err(error)?;
        self.hand_to_card(request, &mut port, ages);
        self.links.insert(request.index, port.link());
        if let Some(kernel) = &mut self.kernel_links {
            match &device {
                VirtualDevice::AfPacket { interface, .. } | VirtualDevice::Tap { interface } => {
                    kernel.follow(request.index, interface);
                }
                _ => kernel.forget(request.index),
            }
        }
        let queue = |number| -> Result<BoxedQueue<Self>, OpenError> {
            Ok(Box::new(DpdkQueue {
                receive: port.take_receive_queue(number).ok_or_else(gone)?,
                transmit: port.take_transmit_queue(number).ok_or_else(gone)?,
                burst: ArrayVec::new(),
            }))
        };
        (0..queues).map(queue).collect()
    }

    fn card(&mut self) -> Option<Box<dyn Card>> {
        if self.flows.is_some() {
            return None;
        }
        let (card, flows) = RteFlowCard::new(RULES);
        self.flows = Some(flows);
        Some(Box::new(card))
    }

    fn link_changes(&mut self, changed: &mut dyn FnMut(InterfaceIndex, LinkChange)) {
        if let Some(kernel) = &mut self.kernel_links {
            kernel.take(changed);
        }
    }

    fn link_up(&self, interface: InterfaceIndex) -> Option<bool> {
        let link = self.links.get(&interface)?;
        let kernel = self.kernel_links.as_ref();
        match kernel.and_then(|kernel| kernel.is_up(interface)) {
            Some(is_up) => link.is_open().then_some(is_up),
            None => link.is_up(),
        }
    }

    fn no_offload(&self, interface: InterfaceIndex) -> Option<String> {
        self.no_offload.get(&interface).cloned()
    }

    fn pool(&self) -> DpdkPool {
        DpdkPool(self.mempool.clone())
    }

    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send> {
        let eal = Arc::clone(&self.eal);
        Box::new(move || match eal.register_thread() {
            Ok(registration) => Box::new(registration),
            Err(error) => {
                // The thread works all the same; only its mempool cache is missing.
                tracing::warn!(%error, "a worker could not be registered with DPDK");
                Box::new(())
            }
        })
    }
}

/// A worker's two queues of one port. Dropping all of a port's closes it.
struct DpdkQueue {
    receive: ReceiveQueue,
    transmit: TransmitQueue,
    burst: ArrayVec<Mbuf, BURST>,
}

impl PortQueue<Mbuf> for DpdkQueue {
    fn receive(&mut self, frames: &mut Vec<Mbuf>, limit: usize) {
        let mut received: ArrayVec<Mbuf, 32> = ArrayVec::new();
        let mut room = limit;
        while room >= received.capacity() {
            let number = self.receive.receive_burst(&mut received);
            frames.extend(received.drain(..));
            room -= number;
            if number < received.capacity() {
                break;
            }
        }
    }

    fn transmit(&mut self, frames: &mut Vec<Mbuf>) {
        while !frames.is_empty() {
            let number = frames.len().min(self.burst.capacity());
            self.burst.extend(frames.drain(..number));
            self.transmit.transmit_burst(&mut self.burst);
            if !self.burst.is_empty() {
                // What was not taken goes back to the front: the order stays.
                frames.splice(0..0, self.burst.drain(..));
                return;
            }
        }
    }
}
