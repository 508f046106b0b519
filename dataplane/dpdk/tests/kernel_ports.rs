//! Ports over interfaces of the kernel, in a network namespace of the test's own. They need root.

mod common;

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd};

use common::{
    eal, ethernet, ip, open, own_namespace, pool, queues, receive, transmit, try_open, until, veth,
};
use rewire_dpdk::{Mempool, PortConfig, VirtualDevice};

fn af_packet(interface: &str) -> VirtualDevice {
    VirtualDevice::AfPacket {
        interface: interface.to_owned(),
        queue_pairs: 1,
    }
}

/// A packet socket of the kernel's at an interface: each read and write is one frame.
fn packet_socket(interface: &str) -> File {
    let name = std::ffi::CString::new(interface).unwrap();
    let protocol = 0x88b5_u16.to_be();
    // SAFETY: a valid string; a struct of the size given; the socket is nobody else's.
    unsafe {
        let socket = libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_NONBLOCK,
            i32::from(protocol),
        );
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        let mut address: libc::sockaddr_ll = mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let size = mem::size_of_val(&address) as u32;
        let code = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size);
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
        // Room for all that a test sends before it reads.
        let room = 16_i32 << 20;
        let room = (&raw const room).cast();
        let code = libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room, 4);
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
        File::from_raw_fd(socket)
    }
}

fn read(socket: &mut File, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    until("frames come to the kernel", || {
        let mut buffer = vec![0; 16_384];
        if let Ok(length) = socket.read(&mut buffer) {
            buffer.truncate(length);
            frames.push(buffer);
        }
        (frames.len() >= count).then_some(())
    });
    frames
}

#[test]
fn af_packet_both_ways() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let mut host = packet_socket("host");
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
    assert_ne!(port.mac_address(), [0; 6]);
    let (mut from, mut to) = queues(&mut port);
    let frames: Vec<_> = (0..200).map(|n| ethernet(60 + 7 * n, n as u8)).collect();
    transmit(&mut to, &pool, &frames);
    assert_eq!(read(&mut host, frames.len()), frames);
    for frame in &frames {
        host.write_all(frame).unwrap();
    }
    assert_eq!(receive(&mut from, frames.len()), frames);
    let statistics = port.statistics();
    assert_eq!(
        (statistics.received_packets, statistics.transmitted_packets),
        (200, 200)
    );
    assert_eq!(statistics.transmit_errors, 0);
    assert_eq!(pool.in_use(), 0);

    assert!(port.link_up());
    ip("link set host down");
    until("the port notices", || (!port.link_up()).then_some(()));
}

#[test]
fn af_packet_comes_and_goes() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let mut host = packet_socket("host");
    let eal = eal();
    let pool = pool(&eal);
    for n in 0..20 {
        let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
        let (_, mut to) = queues(&mut port);
        transmit(&mut to, &pool, &[ethernet(60, n)]);
        assert_eq!(read(&mut host, 1), [ethernet(60, n)]);
        let again = eal.attach("other", &af_packet("gateway")).unwrap_err();
        assert_eq!(
            again.to_string(),
            "port other: af_packet: port lan has the interface gateway already"
        );
    }
    ip("link del gateway");
    let error = try_open(&eal, "lan", &af_packet("gateway"), &pool).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port lan: af_packet: no interface named gateway"
    );
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn af_packet_with_large_frames() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    ip("link set gateway mtu 9000");
    ip("link set host mtu 9000");
    let mut host = packet_socket("host");
    let eal = eal();
    let small = pool(&eal);
    let error = try_open(&eal, "lan", &af_packet("gateway"), &small).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port lan: af_packet: cannot configure: for its interface's MTU it needs a mempool with a \
         data room of 9184 bytes; \"test\" has 2048"
    );
    let pool = Mempool::new(&eal, "large", 511, 9216).unwrap();
    let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
    let (mut from, mut to) = queues(&mut port);
    let frames = vec![ethernet(9014, 1), ethernet(60, 2), ethernet(9014, 3)];
    transmit(&mut to, &pool, &frames);
    assert_eq!(read(&mut host, 3), frames);
    for frame in &frames {
        host.write_all(frame).unwrap();
    }
    assert_eq!(receive(&mut from, 3), frames);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn af_packet_sets_the_mtu_of_its_interface() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let eal = eal();
    let pool = pool(&eal);
    let configure = |mtu| {
        let config = PortConfig {
            mtu: Some(mtu),
            ..PortConfig::new(pool.clone())
        };
        eal.attach("lan", &af_packet("gateway"))
            .unwrap()
            .configure(&config)
    };
    drop(configure(1400).unwrap());
    let mtu = |expected: &str| {
        let output = std::process::Command::new("ip")
            .args(["link", "show", "gateway"])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        assert!(text.contains(expected), "{text}");
    };
    mtu("mtu 1400");
    let error = configure(9000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port lan: af_packet: cannot set the MTU: 9000 is over 1964, which its rings were made for \
         when it was attached; raise the MTU of gateway before"
    );
    mtu("mtu 1400");
}

#[test]
fn af_packet_is_promiscuous_only_while_open() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let promiscuity = || {
        let output = std::process::Command::new("ip")
            .args(["-d", "link", "show", "gateway"])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let rest = text.split("promiscuity ").nth(1).unwrap();
        rest.split(' ').next().unwrap().to_owned()
    };
    let eal = eal();
    let pool = pool(&eal);
    let port = open(&eal, "lan", &af_packet("gateway"), &pool);
    assert_eq!(promiscuity(), "1");
    drop(port);
    assert_eq!(promiscuity(), "0");
}

#[test]
fn af_packet_spreads_over_its_queues() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let eal = eal();
    let pool = pool(&eal);
    let device = VirtualDevice::AfPacket {
        interface: "gateway".to_owned(),
        queue_pairs: 2,
    };
    let error = try_open(&eal, "lan", &device, &pool).unwrap_err();
    assert!(
        error.to_string().contains("attached with 2 queue pairs"),
        "{error}"
    );
    let config = PortConfig {
        receive_queues: 2,
        transmit_queues: 2,
        ..PortConfig::new(pool.clone())
    };
    let mut port = eal
        .attach("lan", &device)
        .unwrap()
        .configure(&config)
        .unwrap()
        .start()
        .unwrap();
    let mut host = packet_socket("host");
    let mut queues: Vec<_> = (0..2)
        .map(|n| port.take_receive_queue(n).unwrap())
        .collect();
    for n in 0..50 {
        host.write_all(&ethernet(60 + n, n as u8)).unwrap();
    }
    let mut lengths = Vec::new();
    until("all came by one queue or the other", || {
        for queue in &mut queues {
            let mut burst = arrayvec::ArrayVec::<_, 32>::new();
            queue.receive_burst(&mut burst);
            lengths.extend(burst.iter().map(|mbuf: &rewire_dpdk::Mbuf| mbuf.len()));
        }
        (lengths.len() >= 50).then_some(())
    });
    lengths.sort_unstable();
    assert_eq!(lengths, (60..110).collect::<Vec<_>>());
}

#[test]
fn tap_both_ways() {
    if !own_namespace() {
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped: no /dev/net/tun");
        return;
    }
    let eal = eal();
    let pool = pool(&eal);
    for round in 0..3 {
        let device = VirtualDevice::Tap {
            interface: "rewire0".to_owned(),
        };
        let mut port = open(&eal, "tap", &device, &pool);
        ip("link set rewire0 up");
        let mut kernel = packet_socket("rewire0");
        let (mut from, mut to) = queues(&mut port);
        let frames: Vec<_> = (0..100)
            .map(|n| ethernet(60 + n, n as u8 ^ round))
            .collect();
        transmit(&mut to, &pool, &frames);
        assert_eq!(read(&mut kernel, frames.len()), frames);
        for frame in &frames {
            kernel.write_all(frame).unwrap();
        }
        assert_eq!(receive(&mut from, frames.len()), frames);
        drop((from, to, port));
        assert_eq!(pool.in_use(), 0);
        assert!(!std::path::Path::new("/proc/sys/net/ipv4/conf/rewire0").exists());
    }
}

/// A fragment of a UDP datagram, in an Ethernet frame.
fn fragment(identification: u16, offset: u16, more: bool, length: usize) -> Vec<u8> {
    let mut header = [
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    header[2..4].copy_from_slice(&(20 + length as u16).to_be_bytes());
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
    let checksum = checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    ethernet
        .into_iter()
        .chain(header)
        .chain(vec![7; length])
        .collect()
}

/// The internet checksum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Not what one would wish, but what the crate's page says: whoever routes must know.
#[test]
fn af_packet_puts_fragments_together_and_cuts_what_is_too_long() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
    let (mut from, _) = queues(&mut port);
    let mut host = packet_socket("host");
    for (first, second) in [(800, 400), (1400, 1000)] {
        host.write_all(&fragment(first, 0, true, usize::from(first)))
            .unwrap();
        host.write_all(&fragment(first, first, false, second))
            .unwrap();
    }
    let lengths: Vec<_> = receive(&mut from, 2).iter().map(Vec::len).collect();
    assert_eq!(lengths, [14 + 20 + 800 + 400, 2048 - 66]);
}

/// Likewise.
#[test]
fn af_packet_over_veth_gets_partial_checksums_until_the_host_is_told() {
    if !own_namespace() {
        return;
    }
    if std::process::Command::new("ethtool")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: no ethtool");
        return;
    }
    veth("gateway", "host");
    ip("addr add 10.0.0.2/24 dev host");
    ip("neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev host");
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
    let (mut from, _) = queues(&mut port);
    let socket = std::net::UdpSocket::bind("10.0.0.2:1000").unwrap();
    let mut right = || {
        socket.send_to(b"payload!", "10.0.0.1:2000").unwrap();
        let frame = receive(&mut from, 1).remove(0);
        assert_eq!(frame.len(), 14 + 20 + 8 + 8);
        assert_eq!(checksum(&frame[14..34]), 0, "IPv4's own is always right");
        // RFC 768: over addresses, protocol, length, and the datagram with its checksum.
        let pseudo_header = [&frame[26..34], &[0, 17, 0, 16]].concat();
        checksum(&[&pseudo_header, &frame[34..]].concat()) == 0
    };
    assert!(!right());
    let arguments = ["-K", "host", "tx", "off"];
    assert!(
        std::process::Command::new("ethtool")
            .args(arguments)
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(right());
}

#[test]
fn af_packet_survives_its_interface() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    ip("addr add 10.0.0.1/24 dev gateway");
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
    let (mut from, mut to) = queues(&mut port);
    let mut host = packet_socket("host");

    // What the kernel sends out of the interface comes in at the port.
    std::net::UdpSocket::bind("10.0.0.1:0")
        .unwrap()
        .send_to(b"who has?", "10.0.0.2:9")
        .unwrap();
    assert_eq!(receive(&mut from, 1)[0][12..14], [8, 6], "an ARP request");

    // Over the MTU: taken, and gone. The next passes.
    transmit(&mut to, &pool, &[ethernet(1600, 1), ethernet(60, 2)]);
    assert_eq!(read(&mut host, 1), [ethernet(60, 2)]);

    // Down: taken and counted until the ring is full; never stuck.
    ip("link set gateway down");
    let offer = |to: &mut rewire_dpdk::TransmitQueue| {
        for _ in 0..100 {
            let frames = (0..32).map(|_| common::frame(&pool, &ethernet(60, 3)));
            let mut burst: arrayvec::ArrayVec<_, 32> = frames.collect();
            to.transmit_burst(&mut burst);
        }
    };
    offer(&mut to);
    assert_eq!(
        port.statistics().transmit_errors,
        512,
        "the slots of the ring"
    );
    ip("link del gateway");
    offer(&mut to);
    assert!(!port.link_up());
    assert_eq!(
        from.receive_burst(&mut arrayvec::ArrayVec::<rewire_dpdk::Mbuf, 8>::new()),
        0
    );
    drop((from, to, port));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn af_packet_keeps_vlan_tags() {
    if !own_namespace() {
        return;
    }
    veth("gateway", "host");
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "lan", &af_packet("gateway"), &pool);
    let (mut from, _) = queues(&mut port);
    let mut host = packet_socket("host");
    let mut tagged = ethernet(100, 1);
    tagged.splice(12..12, [0x81, 0, 0, 42]);
    host.write_all(&tagged).unwrap();
    assert_eq!(receive(&mut from, 1), [tagged.as_slice()]);
}

/// What comes in by several sockets of one interface, and what either transmit queue sends.
#[test]
fn tap_with_several_queues() {
    if !own_namespace() {
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped: no /dev/net/tun");
        return;
    }
    let eal = eal();
    let pool = pool(&eal);
    let device = VirtualDevice::Tap {
        interface: "rewire0".to_owned(),
    };
    let attached = eal.attach("tap", &device).unwrap();
    assert!(attached.most_queues().unwrap() >= 2);
    let config = PortConfig {
        receive_queues: 2,
        transmit_queues: 2,
        ..PortConfig::new(pool.clone())
    };
    let mut port = attached.configure(&config).unwrap().start().unwrap();
    ip("link set rewire0 up");
    let mut kernel = packet_socket("rewire0");
    let (mut from, to): (Vec<_>, Vec<_>) = (0..2)
        .map(|n| {
            let from = port.take_receive_queue(n).unwrap();
            (from, port.take_transmit_queue(n).unwrap())
        })
        .unzip();
    let frames: Vec<_> = (0..100).map(|n| ethernet(60 + n, n as u8)).collect();
    for (mut to, frames) in to.into_iter().zip(frames.chunks(50)) {
        transmit(&mut to, &pool, frames);
        assert_eq!(read(&mut kernel, frames.len()), frames);
    }
    // The kernel spreads flows: of many, either queue has some.
    ip("address add 10.0.0.1/24 dev rewire0");
    ip("neighbor add 10.0.0.2 lladdr 02:00:00:00:00:02 dev rewire0");
    let senders: Vec<_> = (0..64)
        .map(|_| std::net::UdpSocket::bind("10.0.0.1:0").unwrap())
        .collect();
    for (number, sender) in senders.iter().enumerate() {
        let data = vec![0; 100 + number];
        sender.send_to(&data, "10.0.0.2:53").unwrap();
    }
    let mut came = [Vec::new(), Vec::new()];
    until("all came by one queue or the other", || {
        for (queue, came) in from.iter_mut().zip(&mut came) {
            let mut burst = arrayvec::ArrayVec::<_, 32>::new();
            queue.receive_burst(&mut burst);
            came.extend(burst.iter().map(|mbuf: &rewire_dpdk::Mbuf| mbuf.len()));
        }
        (came[0].len() + came[1].len() >= senders.len()).then_some(())
    });
    assert!(!came[0].is_empty() && !came[1].is_empty());
    let mut came = came.concat();
    came.sort_unstable();
    assert_eq!(came, (142..142 + 64).collect::<Vec<_>>());
}
