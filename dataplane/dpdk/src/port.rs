//! Ports, by typestate: attached, configured, started.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

use crate::device::FrameSize;
use crate::eal::EalInner;
use crate::queue::{ReceiveQueue, TransmitQueue};
use crate::{Eal, Error, Mbuf, Mempool, VirtualDevice, free_bulk, log, netif};

/// The state of a [`Port`] whose device is open, and that is to be configured.
#[derive(Debug)]
pub struct Attached(());

/// The state of a [`Port`] whose queues are set up, and that is to be started.
#[derive(Debug)]
pub struct Configured(Queues);

/// The state of a [`Port`] that receives and transmits.
#[derive(Debug)]
pub struct Started {
    receive: Vec<Option<ReceiveQueue>>,
    transmit: Vec<Option<TransmitQueue>>,
}

#[derive(Debug, Clone, Copy)]
struct Queues {
    receive: u16,
    transmit: u16,
}

/// A device and its queues.
///
/// It is stopped, closed and detached when the last of the port and its queues is dropped, on the
/// thread that drops it; that takes system calls, so let the manager's port go last.
#[derive(Debug)]
pub struct Port<State> {
    pub(crate) inner: Arc<PortInner>,
    state: State,
}

/// How a port is set up. No offloads are asked for: neither checksums nor segmentation nor tags.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// How many receive queues. With several, the device spreads packets by flow, in its own way; one that can hash as it is told
    /// does so the same for both directions.
    pub receive_queues: u16,
    /// How many transmit queues.
    pub transmit_queues: u16,
    /// Slots in each receive queue, adjusted to what the device can. The software devices have
    /// their own numbers.
    pub receive_descriptors: u16,
    /// Slots in each transmit queue, likewise.
    pub transmit_descriptors: u16,
    /// Where received packets are put.
    pub mempool: Mempool,
    /// Receive frames for any address. Devices that always do (ring, pcap) are content with either.
    pub promiscuous: bool,
    /// Sets the MTU (without the Ethernet header); none leaves it. Of the kernel's interface,
    /// where there is one. Devices that know no MTU take any.
    pub mtu: Option<u16>,
}

impl PortConfig {
    /// One queue each way with 512 descriptors, promiscuous, the MTU as it is.
    pub fn new(mempool: Mempool) -> PortConfig {
        PortConfig {
            receive_queues: 1,
            transmit_queues: 1,
            receive_descriptors: 512,
            transmit_descriptors: 512,
            mempool,
            promiscuous: true,
            mtu: None,
        }
    }
}

/// What a port counted since it was attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Frames received.
    pub received_packets: u64,
    /// Frames transmitted.
    pub transmitted_packets: u64,
    /// Bytes received, from the Ethernet header on.
    pub received_bytes: u64,
    /// Bytes transmitted, likewise.
    pub transmitted_bytes: u64,
    /// Frames that the device dropped because nobody took them in time.
    pub missed: u64,
    /// Frames that came in broken.
    pub receive_errors: u64,
    /// Frames that the device took for transmission, and could not transmit.
    pub transmit_errors: u64,
    /// Times that the mempool was empty.
    pub no_mbufs: u64,
}

/// What the port and its queues share: the device itself.
#[derive(Debug)]
pub(crate) struct PortInner {
    pub(crate) id: u16,
    name: String,
    device: VirtualDevice,
    vdev: CString,
    frame_size: Option<FrameSize>,
    started: AtomicBool,
    receive_queues: AtomicU16,
    /// Operations in the queue of the flow engine, 0 without one; [`NO_FLOW_ENGINE`] when the engine is taken.
    flow_queue: AtomicU32,
    /// Keeps the interface under af_packet promiscuous.
    promiscuous: OnceLock<OwnedFd>,
    // Last: the device is closed before its pool goes, and that before the EAL.
    mempool: OnceLock<Mempool>,
    eal: Arc<EalInner>,
}

impl Eal {
    /// Opens a device under a name of your choice. Costs some milliseconds.
    ///
    /// The device belongs to the network namespace of the calling thread. Call it, and everything
    /// else on the [`Port`], from threads in that namespace.
    ///
    /// # Errors
    ///
    /// [`Error::NameInUse`], and [`Error::Attach`] that says why the device cannot be opened.
    pub fn attach(&self, name: &str, device: &VirtualDevice) -> Result<Port<Attached>, Error> {
        let driver = device.driver();
        let failed = |reason| Error::Attach {
            port: name.to_owned(),
            driver,
            reason,
        };
        let mut ports = self.inner.ports();
        if ports.contains_key(name) {
            return Err(Error::NameInUse {
                port: name.to_owned(),
            });
        }
        let interface = device.interface().map(str::to_owned);
        let taken = ports
            .iter()
            .find(|(_, other)| other.is_some() && **other == interface);
        if let (Some((other, _)), Some(interface)) = (taken, &interface) {
            return Err(failed(format!(
                "port {other} has the interface {interface} already"
            )));
        }
        let prepared = device.prepare().map_err(failed)?;
        let c_string = |text: String| CString::new(text).map_err(|error| failed(error.to_string()));
        let vdev = c_string(format!("net_{driver}{}", self.inner.next_number()))?;
        let arguments = c_string(prepared.arguments)?;
        // SAFETY: the EAL runs; valid strings, which DPDK copies; under the lock.
        let (code, lines) = log::capture(|| unsafe {
            sys::rte_eal_hotplug_add(c"vdev".as_ptr(), vdev.as_ptr(), arguments.as_ptr())
        });
        if code != 0 {
            return Err(failed(reason(code, lines)));
        }
        let mut id = 0;
        // SAFETY: a valid string and a place for the number.
        let code = unsafe { sys::rte_eth_dev_get_port_by_name(vdev.as_ptr(), &mut id) };
        if code != 0 {
            unplug(&vdev);
            return Err(failed(reason(code, Vec::new())));
        }
        ports.insert(name.to_owned(), interface);
        drop(ports);
        let inner = PortInner {
            id,
            name: name.to_owned(),
            device: device.clone(),
            vdev,
            frame_size: prepared.frame_size,
            started: AtomicBool::new(false),
            receive_queues: AtomicU16::new(0),
            flow_queue: AtomicU32::new(0),
            promiscuous: OnceLock::new(),
            mempool: OnceLock::new(),
            eal: Arc::clone(&self.inner),
        };
        Ok(Port {
            inner: Arc::new(inner),
            state: Attached(()),
        })
    }
}

/// The key that a device spreads packets by, in its place: with two bytes that repeat, both directions of a flow have one hash
/// (S. Woo and K. Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012). As long as the longest
/// that devices take.
static SYMMETRIC_KEY: [u8; 64] = {
    let mut key = [0x6d; 64];
    let mut at = 1;
    while at < key.len() {
        key[at] = 0x5a;
        at += 2;
    }
    key
};

impl Port<Attached> {
    /// How many queues the device takes each way, at most.
    ///
    /// # Errors
    ///
    /// [`Error::Configure`], if it cannot say.
    pub fn most_queues(&self) -> Result<u16, Error> {
        let limits = self.inner.limits()?;
        Ok(limits.max_rx_queues.min(limits.max_tx_queues))
    }

    /// Sets up the queues. On an error the port is detached.
    ///
    /// # Errors
    ///
    /// [`Error::Configure`], with what does not fit: the number of queues, the size of the
    /// mempool's buffers, the MTU.
    pub fn configure(self, config: &PortConfig) -> Result<Port<Configured>, Error> {
        let inner = &self.inner;
        let control = inner.eal.ports();
        let result = inner.configure(config);
        drop(control);
        result?;
        let queues = Queues {
            receive: config.receive_queues,
            transmit: config.transmit_queues,
        };
        Ok(Port {
            inner: self.inner,
            state: Configured(queues),
        })
    }
}

impl Port<Configured> {
    /// Starts the device. On an error the port is detached.
    ///
    /// # Errors
    ///
    /// [`Error::Configure`] with what the driver said.
    pub fn start(self) -> Result<Port<Started>, Error> {
        let inner = self.inner;
        let control = inner.eal.ports();
        // SAFETY: a configured port; under the lock.
        let result = inner.call("start", || unsafe { sys::rte_eth_dev_start(inner.id) });
        if result.is_ok() {
            inner.started.store(true, Ordering::Release);
        }
        drop(control);
        result?;
        let Queues { receive, transmit } = self.state.0;
        let receive = (0..receive)
            .map(|n| Some(ReceiveQueue::new(&inner, n)))
            .collect();
        let transmit = (0..transmit)
            .map(|n| Some(TransmitQueue::new(&inner, n)))
            .collect();
        Ok(Port {
            inner,
            state: Started { receive, transmit },
        })
    }
}

impl Port<Started> {
    /// The receive queue with this number, for the worker that owns it from now on. Each can be
    /// taken once.
    pub fn take_receive_queue(&mut self, queue: u16) -> Option<ReceiveQueue> {
        self.state.receive.get_mut(usize::from(queue))?.take()
    }

    /// The transmit queue with this number, likewise.
    pub fn take_transmit_queue(&mut self, queue: u16) -> Option<TransmitQueue> {
        self.state.transmit.get_mut(usize::from(queue))?.take()
    }
}

/// A port's link, for who looks at it while others have the port.
#[derive(Debug, Clone)]
pub struct Link(Weak<PortInner>);

impl Link {
    /// Whether the port is attached still.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// As [`Port::link_up`]; none once the port is closed. Where the port is dropped meanwhile, it is closed here.
    pub fn is_up(&self) -> Option<bool> {
        self.0.upgrade().map(|port| port.link_up())
    }
}

impl PortInner {
    fn link_up(&self) -> bool {
        let mut link = MaybeUninit::<sys::rte_eth_link>::zeroed();
        // SAFETY: an attached port, and a place for the answer, of which all zeroes is one.
        let up = unsafe {
            let code = sys::rte_eth_link_get_nowait(self.id, link.as_mut_ptr());
            code == 0 && u32::from(link.assume_init().link_status()) == sys::RTE_ETH_LINK_UP
        };
        match &self.device {
            VirtualDevice::AfPacket { interface, .. } => {
                up && netif::is_running(interface).unwrap_or(false)
            }
            _ => up,
        }
    }
}

impl<State> Port<State> {
    /// The name that it was attached with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// DPDK's number for it, small and dense, and in every mbuf that it receives. Given to another
    /// port after this one is closed.
    pub fn id(&self) -> u16 {
        self.inner.id
    }

    /// The device that it was attached with.
    pub fn device(&self) -> &VirtualDevice {
        &self.inner.device
    }

    /// Its Ethernet address. All zeroes if the device cannot tell.
    pub fn mac_address(&self) -> [u8; 6] {
        let mut address = sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: an attached port, and a place for the address.
        unsafe { sys::rte_eth_macaddr_get(self.inner.id, &mut address) };
        address.addr_bytes
    }

    /// Who can be asked about its link from now on, for as long as it is attached.
    pub fn link(&self) -> Link {
        Link(Arc::downgrade(&self.inner))
    }

    /// Whether the device is started and its link is up. For af_packet, whose driver does not
    /// look, the kernel is asked. A system call: not for a worker.
    pub fn link_up(&self) -> bool {
        self.inner.link_up()
    }

    /// What it counted. The counters of a queue in use may be some packets behind.
    pub fn statistics(&self) -> PortStatistics {
        let mut counters = MaybeUninit::<sys::rte_eth_stats>::zeroed();
        // SAFETY: an attached port, and a place for the answer, of which all zeroes is one.
        let counters = unsafe {
            sys::rte_eth_stats_get(self.inner.id, counters.as_mut_ptr());
            counters.assume_init()
        };
        PortStatistics {
            received_packets: counters.ipackets,
            transmitted_packets: counters.opackets,
            received_bytes: counters.ibytes,
            transmitted_bytes: counters.obytes,
            missed: counters.imissed,
            receive_errors: counters.ierrors,
            transmit_errors: counters.oerrors,
            no_mbufs: counters.rx_nombuf,
        }
    }
}

/// The flow engine of a port is taken.
const NO_FLOW_ENGINE: u32 = u32::MAX;

impl PortInner {
    /// The name that the port was attached with.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Remembers how many operations the flow engine's queue holds.
    pub(crate) fn set_flow_queue(&self, size: u32) {
        self.flow_queue.store(size, Ordering::Release);
    }

    /// How many operations the flow engine's queue holds, for the one who takes the engine.
    pub(crate) fn take_flow_queue(&self) -> Option<u32> {
        let size = self.flow_queue.swap(NO_FLOW_ENGINE, Ordering::AcqRel);
        (size != NO_FLOW_ENGINE).then_some(size)
    }

    /// Under the lock.
    fn configure(&self, config: &PortConfig) -> Result<(), Error> {
        let limits = self.limits()?;
        self.check(config, &limits)?;
        // Kept as soon as the driver may hold a pointer to it.
        let pool = self.mempool.get_or_init(|| config.mempool.clone()).as_ptr();
        // SAFETY: all zeroes is the default configuration, without any offload.
        let mut settings: sys::rte_eth_conf = unsafe { std::mem::zeroed() };
        if config.receive_queues > 1 {
            spread(&mut settings, &limits);
        }
        let (receive, transmit) = (config.receive_queues, config.transmit_queues);
        // SAFETY: an attached, stopped port, here and below.
        self.call("configure", || unsafe {
            sys::rte_eth_dev_configure(self.id, receive, transmit, &settings)
        })?;
        let (mut receive_slots, mut transmit_slots) =
            (config.receive_descriptors, config.transmit_descriptors);
        // SAFETY: places for the two numbers.
        self.call("choose descriptors", || unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &mut receive_slots, &mut transmit_slots)
        })?;
        for queue in 0..receive {
            // SAFETY: the pool outlives the port; a null configuration is the default; socket 0.
            self.call("set up a receive queue", || unsafe {
                sys::rte_eth_rx_queue_setup(self.id, queue, receive_slots, 0, ptr::null(), pool)
            })?;
        }
        for queue in 0..transmit {
            // SAFETY: as above.
            self.call("set up a transmit queue", || unsafe {
                sys::rte_eth_tx_queue_setup(self.id, queue, transmit_slots, 0, ptr::null())
            })?;
        }
        self.receive_queues.store(receive, Ordering::Release);
        if let Some(mtu) = config.mtu {
            self.set_mtu(mtu)?;
        }
        if config.promiscuous {
            self.be_promiscuous()?;
        }
        Ok(())
    }

    /// What the device says of itself.
    fn limits(&self) -> Result<sys::rte_eth_dev_info, Error> {
        let mut limits = MaybeUninit::<sys::rte_eth_dev_info>::zeroed();
        // SAFETY: an attached port, and a place for the answer, of which all zeroes is one.
        unsafe {
            self.call("ask its limits", || {
                sys::rte_eth_dev_info_get(self.id, limits.as_mut_ptr())
            })?;
            Ok(limits.assume_init())
        }
    }

    /// What drivers would refuse without a good reason, or not refuse.
    fn check(&self, config: &PortConfig, limits: &sys::rte_eth_dev_info) -> Result<(), Error> {
        let refuse = |reason| Err(self.error("configure", reason));
        let queues = [
            ("receive", config.receive_queues, limits.max_rx_queues),
            ("transmit", config.transmit_queues, limits.max_tx_queues),
        ];
        for (what, asked, at_most) in queues {
            if asked == 0 || asked > at_most {
                return refuse(format!("{asked} {what} queues; it takes 1 to {at_most}"));
            }
        }
        if let VirtualDevice::AfPacket { queue_pairs, .. } = self.device
            && [config.receive_queues, config.transmit_queues] != [queue_pairs; 2]
        {
            return refuse(format!(
                "it was attached with {queue_pairs} queue pairs, and must have so many receive and \
                 transmit queues: packets are spread over all of them"
            ));
        }
        if let Some(size) = self.frame_size
            && u32::from(config.mempool.data_room()) < size.data_room()
        {
            return refuse(format!(
                "for its interface's MTU it needs a mempool with a data room of {} bytes; {:?} has \
                 {}",
                size.data_room(),
                config.mempool.name(),
                config.mempool.data_room()
            ));
        }
        Ok(())
    }

    fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        const STEP: &str = "set the MTU";
        match (&self.device, self.frame_size) {
            // The driver claims a limit of 1500 whatever its rings hold.
            (VirtualDevice::AfPacket { interface, .. }, Some(size)) => {
                if u32::from(mtu) > size.largest_mtu() {
                    return Err(self.error(
                        STEP,
                        format!(
                            "{mtu} is over {}, which its rings were made for when it was attached; \
                             raise the MTU of {interface} before",
                            size.largest_mtu()
                        ),
                    ));
                }
                netif::set_mtu(interface, mtu)
                    .map_err(|error| self.error(STEP, format!("{interface}: {error}")))
            }
            // SAFETY: a configured port, under the lock.
            _ => self.call_optional(STEP, || unsafe { sys::rte_eth_dev_set_mtu(self.id, mtu) }),
        }
    }

    fn be_promiscuous(&self) -> Result<(), Error> {
        const STEP: &str = "be promiscuous";
        match &self.device {
            // The driver would leave the interface promiscuous for good. The kernel ends this with
            // the socket, however the process ends.
            VirtualDevice::AfPacket { interface, .. } => {
                let held = netif::hold_promiscuous(interface)
                    .map_err(|error| self.error(STEP, format!("{interface}: {error}")))?;
                self.promiscuous.get_or_init(|| held);
                Ok(())
            }
            // SAFETY: a configured port, under the lock.
            _ => self.call_optional(STEP, || unsafe { sys::rte_eth_promiscuous_enable(self.id) }),
        }
    }

    fn call(&self, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), Error> {
        match log::capture(call) {
            (0, _) => Ok(()),
            (code, lines) => Err(self.error(step, reason(code, lines))),
        }
    }

    /// As `call`, and content if the device has nothing of the kind.
    fn call_optional(&self, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), Error> {
        match log::capture(call) {
            (0, _) => Ok(()),
            (code, _) if code == -libc::ENOTSUP => Ok(()),
            (code, lines) => Err(self.error(step, reason(code, lines))),
        }
    }

    fn error(&self, step: &'static str, reason: String) -> Error {
        Error::Configure {
            port: self.name.clone(),
            driver: self.device.driver(),
            step,
            reason,
        }
    }

    /// A ring device frees its rings, and not the mbufs in them.
    fn drain(&self) {
        for queue in 0..self.receive_queues.load(Ordering::Acquire) {
            let mut burst = ArrayVec::<Mbuf, 64>::new();
            // SAFETY: a started port's queue, which no ReceiveQueue can use any more.
            while unsafe { crate::queue::receive(self.id, queue, &mut burst) } > 0 {
                free_bulk(burst.drain(..));
            }
        }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        let mut ports = self.eal.ports();
        let ((), lines) = log::capture(|| {
            if self.started.load(Ordering::Acquire) {
                if self.device == VirtualDevice::Ring {
                    self.drain();
                }
                // SAFETY: our port, started, and no queue in use: those hold an Arc of this.
                unsafe { sys::rte_eth_dev_stop(self.id) };
            }
            // SAFETY: our port, stopped. It frees what its queues hold.
            unsafe { sys::rte_eth_dev_close(self.id) };
            unplug(&self.vdev);
        });
        if !lines.is_empty() {
            tracing::warn!(port = self.name, "closing it: {}", lines.join("; "));
        }
        ports.remove(&self.name);
    }
}

/// Asks for packets to be spread over the receive queues by all that the device can hash, the same for either direction. The
/// software devices spread in their own ways.
fn spread(settings: &mut sys::rte_eth_conf, limits: &sys::rte_eth_dev_info) {
    if limits.flow_type_rss_offloads == 0 {
        return;
    }
    settings.rxmode.mq_mode = sys::rte_eth_rx_mq_mode_RTE_ETH_MQ_RX_RSS;
    let hash = &mut settings.rx_adv_conf.rss_conf;
    hash.rss_hf = limits.flow_type_rss_offloads;
    if usize::from(limits.hash_key_size) <= SYMMETRIC_KEY.len() {
        // The driver reads it, and copies it.
        hash.rss_key = SYMMETRIC_KEY.as_ptr().cast_mut();
        hash.rss_key_len = limits.hash_key_size;
    }
}

/// Takes the device out of DPDK's lists.
fn unplug(vdev: &CString) {
    // SAFETY: valid strings; under the lock.
    let code = unsafe { sys::rte_eal_hotplug_remove(c"vdev".as_ptr(), vdev.as_ptr()) };
    if code != 0 {
        tracing::warn!(device = ?vdev, "cannot detach it: {}", crate::error::of_code(code));
    }
}

/// What the driver said, or the bare error number.
fn reason(code: i32, lines: Vec<String>) -> String {
    // What the layers above the driver say is that the driver failed.
    let noise = [
        "Driver cannot attach",
        "Failed to attach device",
        "failed to initialize",
    ];
    let told = |line: &String| !noise.iter().any(|noise| line.contains(noise));
    let lines: Vec<String> = lines.into_iter().filter(told).collect();
    match (lines.is_empty(), code) {
        (false, _) => lines.join("; "),
        (true, -1) => "the driver refuses, and does not say why".to_owned(),
        (true, code) => crate::error::of_code(code).to_string(),
    }
}
