//! Ports that need neither root nor a network interface.

mod common;

use std::fs;

use arrayvec::ArrayVec;
use common::{eal, ethernet, open, pool, queues, receive, transmit, until};
use rewire_dpdk::{Mbuf, MemifRole, VirtualDevice, free_bulk};

#[test]
fn null_to_null() {
    let eal = eal();
    let pool = pool(&eal);
    let _registration = eal.register_thread().unwrap();
    let mut source = open(
        &eal,
        "source",
        &VirtualDevice::Null { generate: true },
        &pool,
    );
    let mut sink = open(
        &eal,
        "sink",
        &VirtualDevice::Null { generate: false },
        &pool,
    );
    let (mut from, _) = queues(&mut source);
    let (mut nothing, mut to) = queues(&mut sink);
    let mut burst = ArrayVec::<Mbuf, 32>::new();
    for _ in 0..1000 {
        assert_eq!(from.receive_burst(&mut burst), 32);
        assert!(
            burst
                .iter()
                .all(|mbuf| mbuf.len() == 64 && mbuf.ingress_port() == source.id())
        );
        assert_eq!(to.transmit_burst(&mut burst), 32);
        assert_eq!(nothing.receive_burst(&mut burst), 0);
    }
    assert_eq!(source.statistics().received_packets, 32_000);
    assert_eq!(sink.statistics().transmitted_packets, 32_000);
    assert!(source.link_up());
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_ring_gives_back_what_it_was_given() {
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "loop", &VirtualDevice::Ring, &pool);
    let (mut from, mut to) = queues(&mut port);
    let frames: Vec<_> = (0..100).map(|n| ethernet(60 + n, n as u8)).collect();
    transmit(&mut to, &pool, &frames);
    assert_eq!(receive(&mut from, frames.len()), frames);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_a_full_ring_refuses_stays_with_the_caller() {
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "loop", &VirtualDevice::Ring, &pool);
    let (mut from, mut to) = queues(&mut port);
    let mut taken = 0_u64;
    let refused = loop {
        let mut burst = ArrayVec::<Mbuf, 10>::new();
        burst.extend((taken..taken + 10).map(|n| common::frame(&pool, &n.to_be_bytes())));
        let count = to.transmit_burst(&mut burst);
        taken += count as u64;
        if count < 10 {
            break burst;
        }
    };
    // 1023, as documented: three of the last ten.
    assert_eq!((taken, refused.len()), (1023, 7));
    let numbers: Vec<_> = refused.iter().map(|mbuf| mbuf.data().to_vec()).collect();
    let expected: Vec<_> = (taken..1030).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(
        numbers, expected,
        "in order, from the first that was not taken"
    );
    assert_eq!(pool.in_use(), 1030);
    free_bulk(refused);
    assert_eq!(pool.in_use(), 1023);
    // Some are received, the rest is still in the ring when the port closes.
    let mut burst = ArrayVec::<Mbuf, 50>::new();
    assert_eq!(from.receive_burst(&mut burst), 50);
    assert_eq!(from.receive_burst(&mut burst), 0, "no place");
    drop((from, to, port));
    assert_eq!(pool.in_use(), 50);
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

/// The frames of a classic pcap file of either byte order of time stamps, little endian.
fn frames_of(capture: &[u8]) -> Vec<Vec<u8>> {
    assert!(
        [0xa1b2_c3d4_u32, 0xa1b2_3c4d]
            .iter()
            .any(|magic| capture.starts_with(&magic.to_le_bytes()))
    );
    let mut rest = &capture[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

fn capture_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1];
    let mut capture: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (n, frame) in frames.iter().enumerate() {
        let length = frame.len() as u32;
        capture.extend(
            [n as u32, 0, length, length]
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        capture.extend(frame);
    }
    capture
}

#[test]
fn pcap_in_is_pcap_out() {
    let eal = eal();
    let pool = pool(&eal);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("in.pcap"),
        folder.path().join("out.pcap"),
    );
    // The longest are chains of mbufs.
    let lengths = [14, 60, 64, 1514, 2048, 2049, 9014, 16_128];
    let frames: Vec<_> = (0..500)
        .map(|n| ethernet(lengths[n % lengths.len()], n as u8))
        .collect();
    fs::write(&from, capture_of(&frames)).unwrap();
    let device = VirtualDevice::Pcap {
        receive: from,
        transmit: to.clone(),
    };
    let mut port = open(&eal, "capture", &device, &pool);
    let (mut receive, mut transmit) = queues(&mut port);
    let mut forwarded = 0;
    loop {
        let mut burst = ArrayVec::<Mbuf, 32>::new();
        if receive.receive_burst(&mut burst) == 0 {
            break;
        }
        for mut mbuf in burst.drain(..) {
            let expected = frames[forwarded].len();
            assert_eq!(mbuf.packet_len(), expected);
            assert_eq!(mbuf.is_contiguous(), expected <= 2048);
            assert_eq!(mbuf.data(), &frames[forwarded][..expected.min(2048)]);
            if !mbuf.is_contiguous() {
                assert!(mbuf.append(1).is_none() && !mbuf.trim_back(1) && !mbuf.truncate(0));
            }
            let mut one = ArrayVec::<Mbuf, 1>::from([mbuf]);
            assert_eq!(transmit.transmit_burst(&mut one), 1);
            forwarded += 1;
        }
    }
    assert_eq!(port.statistics().transmitted_packets, 500);
    drop((receive, transmit, port));
    let written = frames_of(&fs::read(to).unwrap());
    assert_eq!(written.len(), frames.len());
    for (n, (written, frame)) in written.iter().zip(&frames).enumerate() {
        assert!(
            written == frame,
            "frame {n}: {} bytes of {}",
            written.len(),
            frame.len()
        );
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn memif_both_ways() {
    let eal = eal();
    let pool = pool(&eal);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("memif.sock");
    let device = |role| VirtualDevice::Memif {
        id: 7,
        role,
        socket: socket.clone(),
    };
    let mut server = open(&eal, "server", &device(MemifRole::Server), &pool);
    let mut client = open(&eal, "client", &device(MemifRole::Client), &pool);
    until("both sides meet", || {
        (server.link_up() && client.link_up()).then_some(())
    });
    let (mut from_client, mut to_client) = queues(&mut server);
    let (mut from_server, mut to_server) = queues(&mut client);
    let frames: Vec<_> = (0..200).map(|n| ethernet(60 + n, n as u8)).collect();
    // The server transmits into buffers that the client gives it when it looks for packets.
    assert_eq!(
        from_server.receive_burst(&mut ArrayVec::<Mbuf, 32>::new()),
        0
    );
    transmit(&mut to_client, &pool, &frames);
    assert_eq!(receive(&mut from_server, frames.len()), frames);
    transmit(&mut to_server, &pool, &frames);
    assert_eq!(receive(&mut from_client, frames.len()), frames);
    drop((from_client, to_client, server));
    until("the client notices", || (!client.link_up()).then_some(()));
    drop((from_server, to_server, client));
    assert_eq!(pool.in_use(), 0);
}

/// Which devices a gateway can give each of several workers a queue of.
#[test]
fn devices_say_how_many_queues_they_have() {
    let eal = eal();
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("in.pcap");
    // The header of a capture without a frame: microseconds, Ethernet.
    let words = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 1];
    fs::write(&capture, words.map(u32::to_ne_bytes).concat()).unwrap();
    let devices = [
        VirtualDevice::Null { generate: false },
        VirtualDevice::Ring,
        VirtualDevice::Pcap {
            receive: capture,
            transmit: folder.path().join("out.pcap"),
        },
    ];
    let several = devices.map(|device| {
        let port = eal.attach("any", &device).unwrap();
        port.most_queues().unwrap() > 1
    });
    assert_eq!(several, [true, true, false]);
}
