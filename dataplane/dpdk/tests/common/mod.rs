//! What the tests share. DPDK starts once a process: run them with nextest, a process a test.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use rewire_dpdk::{
    Eal, EalConfig, Error, Mbuf, Mempool, Port, PortConfig, ReceiveQueue, Started, TransmitQueue,
    VirtualDevice,
};

/// Without hugepages, so that tests do not compete for them.
pub(crate) fn eal() -> Eal {
    Eal::init(&EalConfig {
        memory: 64,
        hugepages: false,
        ..EalConfig::default()
    })
    .unwrap()
}

pub(crate) fn pool(eal: &Eal) -> Mempool {
    Mempool::new(eal, "test", 4095, Mempool::DEFAULT_DATA_ROOM).unwrap()
}

/// A device with one queue each way, running.
pub(crate) fn open(eal: &Eal, name: &str, device: &VirtualDevice, pool: &Mempool) -> Port<Started> {
    try_open(eal, name, device, pool).unwrap()
}

pub(crate) fn try_open(
    eal: &Eal,
    name: &str,
    device: &VirtualDevice,
    pool: &Mempool,
) -> Result<Port<Started>, Error> {
    eal.attach(name, device)?
        .configure(&PortConfig::new(pool.clone()))?
        .start()
}

pub(crate) fn queues(port: &mut Port<Started>) -> (ReceiveQueue, TransmitQueue) {
    (
        port.take_receive_queue(0).unwrap(),
        port.take_transmit_queue(0).unwrap(),
    )
}

pub(crate) fn frame(pool: &Mempool, bytes: &[u8]) -> Mbuf {
    let mut mbuf = pool.alloc().unwrap();
    mbuf.append(bytes.len()).unwrap().copy_from_slice(bytes);
    mbuf
}

/// An Ethernet frame of an experimental type, `length` bytes long.
pub(crate) fn ethernet(length: usize, seed: u8) -> Vec<u8> {
    let header = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    header
        .into_iter()
        .chain((0..).map(|n: usize| n as u8 ^ seed))
        .take(length)
        .collect()
}

/// Transmits all, however often it takes.
pub(crate) fn transmit(queue: &mut TransmitQueue, pool: &Mempool, frames: &[Vec<u8>]) {
    for frames in frames.chunks(32) {
        let mut burst: ArrayVec<Mbuf, 32> = frames.iter().map(|bytes| frame(pool, bytes)).collect();
        until("the device takes the frames", || {
            queue.transmit_burst(&mut burst);
            burst.is_empty().then_some(())
        });
    }
}

/// Waits until `count` frames came.
pub(crate) fn receive(queue: &mut ReceiveQueue, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    until("frames come", || {
        let mut burst = ArrayVec::<Mbuf, 32>::new();
        queue.receive_burst(&mut burst);
        frames.extend(burst.iter().map(|mbuf| mbuf.data().to_vec()));
        (frames.len() >= count).then_some(())
    });
    frames
}

/// Waits for an event, with a generous limit.
pub(crate) fn until<T>(what: &str, mut event: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = event() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Puts this thread, and those that it starts, into a network namespace of its own, which goes
/// away with them. False, with a word to the reader, where the test may not.
pub(crate) fn own_namespace() -> bool {
    // SAFETY: no pointers.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: it takes root to make a network namespace");
        return false;
    }
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        println!(
            "skipped: no network namespace: {}",
            std::io::Error::last_os_error()
        );
        return false;
    }
    // So that the kernel sends nothing of its own.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    true
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Two ends of a cable, up.
pub(crate) fn veth(left: &str, right: &str) {
    ip(&format!("link add {left} type veth peer name {right}"));
    ip(&format!("link set {left} up"));
    ip(&format!("link set {right} up"));
}
