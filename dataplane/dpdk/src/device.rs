//! Virtual devices: what can be a port on a machine without a network card for DPDK.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::netif;

/// A device that DPDK makes in software.
///
/// Measured on one core: ring 288, null 88–146, tap 1.1, memif 0.6, af_packet over veth 0.3–0.4
/// million packets a second.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VirtualDevice {
    /// A network interface of the kernel, through a packet socket. See the crate's page for how it
    /// behaves.
    AfPacket {
        /// The interface, in the network namespace of the thread that attaches it.
        interface: String,
        /// Sockets to spread its packets over, by flow. The port must be configured with exactly
        /// so many receive and transmit queues.
        queue_pairs: u16,
    },
    /// A network interface that this makes, and whose other side is the kernel's own stack.
    Tap {
        /// The interface's name. It goes away with the port.
        interface: String,
    },
    /// Swallows what is transmitted.
    Null {
        /// Receives as many 64-byte frames of zeroes as are asked for (for benchmarks), or none.
        generate: bool,
    },
    /// What is transmitted on its queue *n* is received on its queue *n*. Holds 1023 frames a
    /// queue. For tests.
    Ring,
    /// Receives what is in one capture file, once, and transmits into another.
    Pcap {
        /// A pcap file, read from its start. Frames longer than a buffer are chained.
        receive: PathBuf,
        /// Made anew, with nanosecond time stamps of the machine's clock; complete when the port
        /// is closed. Frames are cut to 16,128 bytes.
        transmit: PathBuf,
    },
    /// Shared memory with another process (VPP, another DPDK program) on this machine.
    Memif {
        /// Tells the connections over one socket; the same on both sides.
        id: u32,
        /// One side is the server, the other the client.
        role: MemifRole,
        /// The unix socket over which the two sides meet; the server makes it.
        socket: PathBuf,
    },
    /// Whatever driver is linked or loaded: for tests.
    Other {
        /// The driver's name, without DPDK's `net_`.
        driver: &'static str,
        /// Its arguments, in DPDK's syntax.
        arguments: String,
    },
}

/// Which side of a memif connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemifRole {
    /// Listens on the socket.
    Server,
    /// Connects, and keeps trying.
    Client,
}

impl VirtualDevice {
    /// The kind of device, as DPDK calls its driver: `af_packet`, `tap`, `null`, `ring`, `pcap`,
    /// `memif`, or the name of another.
    pub fn driver(&self) -> &'static str {
        match self {
            VirtualDevice::AfPacket { .. } => "af_packet",
            VirtualDevice::Tap { .. } => "tap",
            VirtualDevice::Null { .. } => "null",
            VirtualDevice::Ring => "ring",
            VirtualDevice::Pcap { .. } => "pcap",
            VirtualDevice::Memif { .. } => "memif",
            VirtualDevice::Other { driver, .. } => driver,
        }
    }

    /// The network interface under it, or made by it.
    pub(crate) fn interface(&self) -> Option<&str> {
        match self {
            VirtualDevice::AfPacket { interface, .. } | VirtualDevice::Tap { interface } => {
                Some(interface)
            }
            _ => None,
        }
    }

    /// Looks whether the device can be opened, since most drivers cannot say why not, and returns
    /// the driver's arguments.
    pub(crate) fn prepare(&self) -> Result<Prepared, String> {
        match self {
            VirtualDevice::AfPacket {
                interface,
                queue_pairs,
            } => af_packet(interface, *queue_pairs),
            VirtualDevice::Tap { interface } => {
                interface_name(interface)?;
                File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/net/tun")
                    .map_err(|error| {
                        format!("cannot open /dev/net/tun (it takes CAP_NET_ADMIN): {error}")
                    })?;
                Ok(Prepared::new(format!("iface={interface}")))
            }
            VirtualDevice::Null { generate: true } => Ok(Prepared::new("size=64".to_owned())),
            VirtualDevice::Null { generate: false } => Ok(Prepared::new("no-rx=1".to_owned())),
            VirtualDevice::Ring => Ok(Prepared::new(String::new())),
            VirtualDevice::Pcap { receive, transmit } => {
                let (from, to) = (argument(receive)?, argument(transmit)?);
                File::open(receive).map_err(|error| format!("cannot read {from}: {error}"))?;
                is_folder(transmit.parent(), to)?;
                Ok(Prepared::new(format!("rx_pcap={from},tx_pcap={to}")))
            }
            VirtualDevice::Memif { id, role, socket } => {
                let path = argument(socket)?;
                is_folder(socket.parent(), path)?;
                let role = match role {
                    MemifRole::Server => "server",
                    MemifRole::Client => "client",
                };
                Ok(Prepared::new(format!(
                    "id={id},role={role},socket={path},socket-abstract=no"
                )))
            }
            VirtualDevice::Other { arguments, .. } => Ok(Prepared::new(arguments.clone())),
        }
    }
}

/// A device that can probably be opened.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) arguments: String,
    /// af_packet only: the rings' frame size.
    pub(crate) frame_size: Option<FrameSize>,
}

impl Prepared {
    fn new(arguments: String) -> Prepared {
        Prepared {
            arguments,
            frame_size: None,
        }
    }
}

/// The size of a slot in an af_packet port's rings, which the kernel shares with us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameSize(u32);

impl FrameSize {
    /// The kernel puts a received frame 66 bytes into the slot (`tpacket2_hdr`, `sockaddr_ll`, and
    /// padding so that what follows the Ethernet header is aligned), and a tag may have to be put
    /// back in.
    const OVERHEAD: u32 = 66;
    /// Ethernet header and one VLAN tag.
    const ETHERNET: u32 = 18;
    const SMALL: u32 = 2048;
    const STEP: u32 = 1024;
    /// For an MTU of 9000.
    const LARGEST: u32 = 9216;
    /// Slots in each of the two rings of a queue pair.
    const SLOTS: u32 = 512;
    const PAGE: u32 = 4096;

    fn for_mtu(mtu: u32) -> FrameSize {
        let needed = mtu.saturating_add(Self::OVERHEAD + Self::ETHERNET);
        let steps = needed
            .checked_next_multiple_of(Self::STEP)
            .unwrap_or(Self::LARGEST);
        FrameSize(steps.clamp(Self::SMALL, Self::LARGEST))
    }

    /// The kernel allocates slots in blocks of whole pages.
    fn block(self) -> u32 {
        let mut block = self.0;
        while !block.is_multiple_of(Self::PAGE) {
            block += self.0;
        }
        block
    }

    /// The longest packet after the Ethernet header that passes uncut.
    pub(crate) fn largest_mtu(self) -> u32 {
        self.0 - Self::OVERHEAD - Self::ETHERNET
    }

    /// The driver insists on buffers that hold a slot less its header.
    pub(crate) fn data_room(self) -> u32 {
        self.0 - 32
    }
}

fn af_packet(interface: &str, queue_pairs: u16) -> Result<Prepared, String> {
    interface_name(interface)?;
    if !(1..=16).contains(&queue_pairs) {
        return Err(format!("{queue_pairs} queue pairs; it takes 1 to 16"));
    }
    let mtu = netif::mtu(interface).map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => format!("no interface named {interface}"),
        _ => format!("cannot read the MTU of {interface}: {error}"),
    })?;
    netif::may_open_packet_socket()
        .map_err(|error| format!("cannot open a packet socket (it takes CAP_NET_RAW): {error}"))?;
    let size = FrameSize::for_mtu(mtu);
    let arguments = format!(
        "iface={interface},qpairs={queue_pairs},framesz={},framecnt={},blocksz={},qdisc_bypass=1",
        size.0,
        FrameSize::SLOTS,
        size.block(),
    );
    Ok(Prepared {
        arguments,
        frame_size: Some(size),
    })
}

/// What the kernel takes as an interface's name, less what DPDK's argument syntax cannot say.
fn interface_name(name: &str) -> Result<(), String> {
    let fits = (1..16).contains(&name.len()) && name != "." && name != "..";
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !",/:=[]()\"'".contains(c);
    if fits && name.chars().all(plain) {
        Ok(())
    } else {
        Err(format!("{name:?} cannot be an interface's name"))
    }
}

/// A path as DPDK's argument syntax can say it.
fn argument(path: &Path) -> Result<&str, String> {
    match path.to_str() {
        Some(text) if !text.is_empty() && !text.contains([',', '=', '[', ']', '(', ')', '\0']) => {
            Ok(text)
        }
        _ => Err(format!(
            "the path {path:?} holds a character that DPDK's arguments cannot"
        )),
    }
}

fn is_folder(folder: Option<&Path>, path: &str) -> Result<(), String> {
    let folder = folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let error = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => io::ErrorKind::NotADirectory.into(),
        Err(error) => error,
    };
    Err(format!("cannot write {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_sizes_hold_their_mtu_and_fill_blocks_of_pages() {
        for mtu in (68..=9000).step_by(4) {
            let size = FrameSize::for_mtu(mtu);
            assert!(size.largest_mtu() >= mtu, "{mtu}: {size:?}");
            assert_eq!(size.0 % 16, 0, "TPACKET_ALIGNMENT");
            assert_eq!(size.block() % FrameSize::PAGE, 0);
            let in_block = size.block() / size.0;
            assert_eq!(size.block() % size.0, 0);
            assert_eq!(FrameSize::SLOTS % in_block, 0, "{mtu}: {size:?}");
        }
        assert_eq!(FrameSize::for_mtu(1500).0, 2048);
        assert_eq!(FrameSize::for_mtu(9000).0, 9216);
        assert_eq!(FrameSize::for_mtu(65536).0, 9216);
        assert_eq!(FrameSize::for_mtu(u32::MAX).0, 9216);
    }

    #[test]
    fn names_that_break_the_arguments_are_refused() {
        for name in ["", "..", "a,qpairs=9", "a/b", "a b", "sixteen-letters-"] {
            assert!(interface_name(name).is_err(), "{name}");
        }
        for name in ["eth0", "veth-12", "wan.100", "fifteen-letters"] {
            assert!(interface_name(name).is_ok(), "{name}");
        }
        assert!(argument(Path::new("/tmp/a,infinite_rx=1")).is_err());
        assert!(argument(Path::new("/tmp/a b.pcap")).is_ok());
    }
}
