use rewire_tables::InterfaceIndex;

use super::*;
use crate::buffer::{MemoryBuffer, MemoryPool};
use crate::port::memory::MemoryDriver;

/// Sends so many numbered frames, one a millisecond, and returns what arrives, with the millisecond.
fn arrivals(faults: &str, number: u32) -> Vec<(u64, u32)> {
    let mut link = FaultyLink::new(faults.parse().expect("faults"));
    let mut arrived = Vec::new();
    for millisecond in 0..u64::from(number) + 1000 {
        let now = Instant(millisecond * 1_000_000);
        if let Ok(frame) = u32::try_from(millisecond)
            && frame < number
        {
            let buffer = MemoryBuffer::new(frame.to_be_bytes().to_vec());
            link.send(buffer, now, &mut MemoryPool);
        }
        let mut frames = Vec::new();
        link.receive(&mut frames, 64, now);
        let read = |frame: MemoryBuffer| {
            let bytes = frame.into_bytes().try_into().expect("four bytes");
            (millisecond, u32::from_be_bytes(bytes))
        };
        arrived.extend(frames.into_iter().map(read));
    }
    assert!(link.is_empty());
    arrived
}

#[test]
fn a_link_without_faults_is_a_link() {
    let all: Vec<(u64, u32)> = (0..100).map(|n| (u64::from(n), n)).collect();
    assert_eq!(arrivals("seed=1", 100), all);
}

#[test]
fn delay_is_the_same_for_all_and_jitter_keeps_the_order() {
    let late = arrivals("delay=7ms", 100);
    assert!(
        late.iter()
            .all(|(time, frame)| *time == u64::from(*frame) + 7)
    );
    let late = arrivals("delay=7ms,jitter=20ms", 500);
    assert_eq!(late.len(), 500);
    assert!(late.iter().map(|(_, frame)| *frame).eq(0..500));
    assert!(
        late.iter()
            .all(|(time, frame)| (7..=28).contains(&(time - u64::from(*frame))))
    );
    assert!(
        late.iter()
            .any(|(time, frame)| time - u64::from(*frame) > 15)
    );
}

#[test]
fn shares_are_about_what_they_say_and_the_seed_decides_whom_they_meet() {
    let lost = 10_000 - arrivals("loss=2%,seed=1", 10_000).len();
    assert!((100..300).contains(&lost), "{lost}");
    let doubled = arrivals("duplicate=2%,seed=1", 10_000).len() - 10_000;
    assert!((100..300).contains(&doubled), "{doubled}");
    let order: Vec<u32> = arrivals("delay=5ms,reorder=2%,seed=1", 10_000)
        .into_iter()
        .map(|(_, frame)| frame)
        .collect();
    let early = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((100..300).contains(&early), "{early}");
    let all = "loss=2%,duplicate=2%,reorder=2%,delay=3ms,jitter=3ms";
    assert_eq!(
        arrivals(&format!("{all},seed=5"), 500),
        arrivals(&format!("{all},seed=5"), 500)
    );
    assert_ne!(
        arrivals(&format!("{all},seed=5"), 500),
        arrivals(&format!("{all},seed=6"), 500)
    );
}

#[test]
fn what_is_no_fault_is_refused_by_name() {
    for text in [
        "loss=2",
        "loss=101%",
        "delay=5",
        "delay=-1ms",
        "hail=1%",
        "",
        "loss",
    ] {
        assert_eq!(text.parse::<Faults>(), Err(NoFault(text.to_owned())));
    }
}

#[test]
fn a_link_holds_a_bounded_number_of_frames() {
    let mut link = FaultyLink::new(Faults {
        delay: Duration::from_secs(1),
        ..Faults::default()
    });
    for _ in 0..2 * MOST_UNDERWAY {
        link.send(MemoryBuffer::new(vec![1]), Instant(0), &mut MemoryPool);
    }
    let mut frames = Vec::new();
    link.receive(&mut frames, usize::MAX, Instant(2_000_000_000));
    assert_eq!(frames.len(), MOST_UNDERWAY);
}

#[test]
fn ports_of_a_driver_have_bad_links() {
    let memory = MemoryDriver::default();
    let far = memory.port("blue0");
    let mut driver = FaultyDriver::new(memory, "loss=100%".parse().expect("faults"));
    let mut port = driver
        .open(&PortRequest {
            index: InterfaceIndex(0),
            interface: "blue0".to_owned(),
            port: "null:blue".parse().expect("a port"),
            mtu: 1500,
        })
        .expect("it opens");
    assert!(far.send(vec![1, 2, 3]));
    let mut frames = Vec::new();
    port.receive(&mut frames, 64);
    assert!(frames.is_empty());
    // The other way there are none: what a port sends, another one receives.
    frames.push(MemoryBuffer::new(vec![4]));
    port.transmit(&mut frames);
    assert_eq!(far.receive(), Some(vec![4]));
}
