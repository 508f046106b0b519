//! Starting and stopping, threads, names.

mod common;

use std::path::{Path, PathBuf};
use std::{mem, thread};

use arrayvec::ArrayVec;
use common::{eal, ethernet, frame, open, pool, queues, try_open};
use rewire_dpdk::{Eal, EalConfig, Error, Mbuf, MemifRole, Mempool, PortConfig, VirtualDevice};

fn affinity() -> Vec<usize> {
    // SAFETY: all zeroes is an empty set, which the call fills within its size.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        assert_eq!(
            libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set),
            0
        );
        (0..64).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

#[test]
fn it_starts_once() {
    let config = EalConfig {
        memory: 32,
        hugepages: false,
        ..EalConfig::default()
    };
    let first = Eal::init(&config).unwrap();
    assert!(!first.has_hugepages());
    assert!(matches!(Eal::init(&config), Err(Error::AlreadyInitialised)));
    drop(first);
    assert!(matches!(Eal::init(&config), Err(Error::AlreadyInitialised)));
    for folder in ["/run/dpdk", "/tmp/dpdk"] {
        assert!(
            !Path::new(folder).join(&config.file_prefix).exists(),
            "it left a folder behind"
        );
    }
}

#[test]
fn it_leaves_the_calling_thread_alone() {
    let before = affinity();
    let eal = eal();
    assert_eq!(affinity(), before);
    // Not one of DPDK's yet, or this would be refused.
    let registration = eal.register_thread().unwrap();
    assert!(matches!(
        eal.register_thread(),
        Err(Error::ThreadAlreadyRegistered)
    ));
    drop(registration);
    drop(eal.register_thread().unwrap());
    assert_eq!(affinity(), before);
}

#[test]
fn threads_have_their_places() {
    let eal = eal();
    let pool = pool(&eal);
    // More than DPDK has places for, one after the other: each gives its place back.
    for _ in 0..200 {
        thread::scope(|scope| {
            scope.spawn(|| {
                let _registration = eal.register_thread().unwrap();
                drop(pool.alloc().unwrap());
            });
        });
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn too_little_memory_says_so() {
    let eal = eal();
    let error = Mempool::new(&eal, "huge", 1_000_000, 2048).unwrap_err();
    let told = error.to_string();
    assert!(
        told.starts_with("no mempool \"huge\" of 1000000 buffers of 2048 bytes: "),
        "{told}"
    );
    assert!(Mempool::new(&eal, "wide", 10, u16::MAX).is_err());
    drop(Mempool::new(&eal, "fits", 1023, 2048).unwrap());
}

#[test]
fn a_dropped_pool_gives_its_memory_back() {
    let eal = eal();
    // 64 MiB hold one of these pools, not two.
    for _ in 0..5 {
        let pool = Mempool::new(&eal, "again", 8191, 2048).unwrap();
        let kept = pool.alloc().unwrap();
        drop(pool);
        assert!(Mempool::new(&eal, "another", 8191, 2048).is_err());
        drop(kept);
        // The next registration's end finds that the pool is complete.
        drop(eal.register_thread().unwrap());
    }
}

#[test]
fn mbufs_may_outlive_everything() {
    let eal = eal();
    let pool = pool(&eal);
    let mut mbuf = frame(&pool, b"still here");
    drop(pool);
    drop(eal);
    mbuf.prepend(1).unwrap()[0] = b'!';
    assert_eq!(mbuf.data(), b"!still here");
}

#[test]
fn a_name_is_one_ports_at_a_time() {
    let eal = eal();
    let pool = pool(&eal);
    let device = VirtualDevice::Null { generate: false };
    let port = open(&eal, "wan", &device, &pool);
    let error = eal.attach("wan", &device).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port wan: a port of this name is already attached"
    );
    let other = open(&eal, "lan", &device, &pool);
    assert_ne!(port.id(), other.id());
    drop(port);
    for _ in 0..100 {
        drop(open(&eal, "wan", &device, &pool));
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn ports_close_in_every_state() {
    let eal = eal();
    let pool = pool(&eal);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("in.pcap"), empty_capture()).unwrap();
    let devices = [
        VirtualDevice::Null { generate: true },
        VirtualDevice::Ring,
        VirtualDevice::Pcap {
            receive: path("in.pcap"),
            transmit: path("out.pcap"),
        },
        VirtualDevice::Memif {
            id: 1,
            role: MemifRole::Server,
            socket: path("memif.sock"),
        },
    ];
    for device in &devices {
        let config = PortConfig::new(pool.clone());
        drop(eal.attach("port", device).unwrap());
        drop(
            eal.attach("port", device)
                .unwrap()
                .configure(&config)
                .unwrap(),
        );
        let mut port = open(&eal, "port", device, &pool);
        let (receive, _) = queues(&mut port);
        assert!(port.take_receive_queue(0).is_none(), "it was taken");
        assert!(port.take_receive_queue(1).is_none(), "there is one");
        // The queue keeps the port open, and its name taken.
        drop(port);
        assert!(matches!(
            eal.attach("port", device),
            Err(Error::NameInUse { .. })
        ));
        drop(receive);
        let too_many = PortConfig {
            receive_queues: 5000,
            ..config
        };
        let error = eal
            .attach("port", device)
            .unwrap()
            .configure(&too_many)
            .unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("cannot configure: 5000 receive queues; it takes 1 to"),
            "{told}"
        );
    }
    assert_eq!(pool.in_use(), 0);
}

fn empty_capture() -> Vec<u8> {
    let numbers = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1];
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

#[test]
fn what_cannot_be_opened_says_why() {
    let eal = eal();
    let pool = pool(&eal);
    let told = |device: VirtualDevice| try_open(&eal, "p", &device, &pool).unwrap_err().to_string();
    let af_packet = |name: &str, queue_pairs| VirtualDevice::AfPacket {
        interface: name.to_owned(),
        queue_pairs,
    };
    assert_eq!(
        told(af_packet("eth9", 1)),
        "port p: af_packet: no interface named eth9"
    );
    assert_eq!(
        told(af_packet("lo", 0)),
        "port p: af_packet: 0 queue pairs; it takes 1 to 16"
    );
    assert_eq!(
        told(af_packet("a,b=c", 1)),
        "port p: af_packet: \"a,b=c\" cannot be an interface's name"
    );
    assert_eq!(
        told(VirtualDevice::Pcap {
            receive: "/none/in".into(),
            transmit: "/tmp/out".into()
        }),
        "port p: pcap: cannot read /none/in: No such file or directory (os error 2)"
    );
    assert_eq!(
        told(VirtualDevice::Memif {
            id: 0,
            role: MemifRole::Server,
            socket: PathBuf::from("/none/socket"),
        }),
        "port p: memif: cannot write /none/socket: No such file or directory (os error 2)"
    );
    // No capture, though it exists.
    let told = told(VirtualDevice::Pcap {
        receive: "/etc/passwd".into(),
        transmit: "unused.pcap".into(),
    });
    assert!(
        told.starts_with("port p: pcap: ") && told.contains("/etc/passwd"),
        "{told}"
    );
    // The name is free after each.
    drop(open(&eal, "p", &VirtualDevice::Ring, &pool));
}

#[test]
fn a_queue_moves_to_another_registered_thread() {
    let eal = eal();
    let pool = pool(&eal);
    let mut port = open(&eal, "loop", &VirtualDevice::Ring, &pool);
    let (receive, mut transmit) = queues(&mut port);
    let _registration = eal.register_thread().unwrap();
    common::transmit(&mut transmit, &pool, &[ethernet(60, 1)]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _registration = eal.register_thread().unwrap();
            let (mut receive, mut transmit) = (receive, transmit);
            let mut burst = ArrayVec::<Mbuf, 8>::new();
            assert_eq!(receive.receive_burst(&mut burst), 1);
            assert_eq!(burst[0].data(), ethernet(60, 1));
            burst[0].data_mut()[14] = 99;
            assert_eq!(transmit.transmit_burst(&mut burst), 1);
            assert!(burst.is_empty());
        });
    });
    drop(port);
    // The frame that was in the ring came back to the pool, the thread's cache counted.
    assert_eq!(pool.in_use(), 0);
}
