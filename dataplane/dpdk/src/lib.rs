//! Safe wrappers over DPDK: EAL, mempools, mbufs, ports and queues.

mod device;
mod eal;
mod error;
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
pub use port::{Attached, Configured, Port, PortConfig, PortStatistics, Started};
pub use queue::{ReceiveQueue, TransmitQueue};
pub use thread::ThreadRegistration;
