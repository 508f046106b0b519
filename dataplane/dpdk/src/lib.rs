//! Safe wrappers over DPDK 22.11: the EAL, mempools, mbufs, ports and queues.
//!
//! ```
//! use arrayvec::ArrayVec;
//! use rewire_dpdk::{Eal, EalConfig, Mempool, PortConfig, VirtualDevice};
//!
//! # fn main() -> Result<(), rewire_dpdk::Error> {
//! let eal = Eal::init(&EalConfig { memory: 64, ..EalConfig::default() })?;
//! let pool = Mempool::new(&eal, "packets", 4095, Mempool::DEFAULT_DATA_ROOM)?;
//! let port = eal.attach("wan", &VirtualDevice::Ring)?;
//! let mut port = port.configure(&PortConfig::new(pool.clone()))?.start()?;
//! let mut receive = port.take_receive_queue(0).expect("it has one");
//! let mut transmit = port.take_transmit_queue(0).expect("it has one");
//!
//! // A worker, on a thread of its own.
//! let _registration = eal.register_thread()?;
//! let mut burst = ArrayVec::<_, 32>::new();
//! let mut packet = pool.alloc().expect("the pool is full");
//! packet.append(60).expect("there is room").fill(0);
//! burst.push(packet);
//! transmit.transmit_burst(&mut burst);
//! assert_eq!(receive.receive_burst(&mut burst), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is owned by whom
//!
//! An [`Mbuf`] has one owner and is freed once: by its drop, or by the device that took it for
//! transmission. A queue keeps its port open; a port keeps its mempool and the EAL; a pool's
//! memory stays until its last mbuf is back. So values may be dropped in any order, on any thread.
//! The one thing that lasts is the EAL: a process starts it once.
//!
//! The EAL pins no thread and owns none: it starts on a thread that ends. Workers
//! [register](Eal::register_thread). Devices come and go while it runs.
//!
//! # Limits
//!
//! Only virtual devices: no PCI. No offloads but [flow rules](flow). One NUMA node. Nothing but x86-64
//! Debian 12 was tried. Mbufs from a device may be chains; only their first segment can be seen. A
//! name or path with a comma, an equals sign or a bracket cannot be said in DPDK's arguments, and
//! is refused. Tests need a process each: run them with nextest.
//!
//! # Costs
//!
//! Starting takes 0.15 to 0.5 s. A call of the C shim costs 1.6 ns, so none is made for a field of
//! a packet. A burst of 32 through null ports costs 9 ns a packet with hugepages and 18 without,
//! most of it allocating and freeing; 7 for those alone, as [`alloc_bulk`](Mempool::alloc_bulk)
//! and [`free_bulk`], with hugepages. af_packet over veth moves 0.3 to 0.4 million packets a
//! second, tap 1.1, memif 0.6.
//!
//! Without hugepages, a buffer costs memory in whole pages of 4 KiB: twice the default's.
//!
//! # An af_packet port, above all over veth
//!
//! - **The kernel's stack stays on the interface**, and sees what arrives as well. Give the
//!   interface no address, and switch its IPv6 off (`net.ipv6.conf.DEV.disable_ipv6=1`), or the
//!   kernel answers beside you. What the kernel sends out of the interface is received by the
//!   port, too, as if it had come in.
//! - **Checksums of TCP and UDP are partial** in what local kernels send over veth, for a card
//!   that is not there; and TCP comes in frames of up to 64 KiB. On the hosts' ends: `ethtool -K
//!   DEV tx off gso off tso off`. The port cannot tell such packets, and a NAT that updates a
//!   checksum leaves it wrong.
//! - **Frames are cut without a word** where they are longer than a slot of the ring: 1982 bytes
//!   up to an MTU of 1964, else the MTU rounded up, at most 9150 bytes. The rings are sized when
//!   the port is attached: set the interface's MTU before. A cut packet is known by its IP length.
//!   Over an MTU of 1964 the mempool needs larger buffers: 9184 bytes hold any.
//! - **Fragments of IPv4 arrive put together**, because the driver asks the kernel for that: a
//!   datagram longer than the MTU, and cut if longer than a slot.
//! - **VLAN tags** that the kernel took out are put back by the driver, from the headroom.
//! - **Transmitting may wait.** A full transmit ring makes the driver poll the socket; a frame
//!   over the interface's MTU is taken, and thrown away by the kernel. While the interface is down
//!   the driver takes packets until its ring is full (512), and counts
//!   [`transmit_errors`](PortStatistics::transmit_errors); they are sent when it is up again.
//!   Packets that the kernel dropped because the receive ring was full are counted nowhere in DPDK
//!   (`missed` stays 0).
//! - **One port an interface**: two would share its packets between them. Several queues spread by
//!   flow.
//! - **The queueing discipline is bypassed** (as the driver does by default), so `tc` sees nothing
//!   of what the port sends.
//! - It needs CAP_NET_RAW, and CAP_NET_ADMIN for an MTU; its interface is the one of that name in
//!   the network namespace of the thread that attaches it. When the interface is deleted, the port
//!   goes on, silent, and [`link_up`](Port::link_up) says no.

mod device;
mod eal;
mod error;
pub mod flow;
mod log;
mod mbuf;
mod mempool;
mod netif;
mod port;
mod queue;
mod thread;

pub use device::{MemifRole, VirtualDevice};
pub use eal::{Eal, EalConfig};
pub use error::Error;
pub use mbuf::{HEADROOM, Mbuf, free_bulk};
pub use mempool::Mempool;
pub use port::{Attached, Configured, Link, Port, PortConfig, PortStatistics, Started};
pub use queue::{ReceiveQueue, TransmitQueue};
pub use thread::ThreadRegistration;

/// What may go to another thread, and what may not: this compiles, or it does not.
#[cfg(test)]
mod markers {
    use super::*;

    trait NotSend<A> {
        const OK: () = ();
    }
    impl<T> NotSend<()> for T {}
    impl<T: Send> NotSend<u8> for T {}

    trait NotSync<A> {
        const OK: () = ();
    }
    impl<T> NotSync<()> for T {}
    impl<T: Sync> NotSync<u8> for T {}

    const fn send<T: Send>() {}
    const fn sync<T: Sync>() {}

    // Ambiguous, and so an error, if the type is Send (or Sync) after all.
    const _: () = <ThreadRegistration as NotSend<_>>::OK;
    const _: () = <ThreadRegistration as NotSync<_>>::OK;
    const _: () = <Mbuf as NotSync<_>>::OK;
    const _: () = <ReceiveQueue as NotSync<_>>::OK;
    const _: () = <TransmitQueue as NotSync<_>>::OK;
    const _: () = send::<Mbuf>();
    const _: () = send::<ReceiveQueue>();
    const _: () = send::<TransmitQueue>();
    const _: () = (send::<Port<Started>>(), send::<Eal>(), send::<Mempool>()).0;
    const _: () = (sync::<Eal>(), sync::<Mempool>()).0;
}
