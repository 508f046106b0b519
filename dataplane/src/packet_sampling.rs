//! Packets of a running gateway, one in so many, for whoever exports samples (sFlow version 5, "Random 1 in N Sampling").
//!
//! A worker counts down what it walks of what ports receive, with a random number of packets between two samples, and copies the first
//! bytes of those into a bounded ring. It never waits: a sample that finds no room is counted. Without a sampling it looks once a burst whether there
//! is one. Packets that a card forwards are seen by no worker, and are neither sampled nor counted here.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use arrayvec::ArrayVec;
use rewire_tables::InterfaceIndex;

use crate::buffer::PacketBuffer;
use crate::counters::{COUNTED_INTERFACES, Counter};
use crate::gateway::{GatewayError, Request};
use crate::graph::{Origin, Received};
use crate::worker::BURST;

/// Bytes of a packet that a sample has, at most.
pub const SAMPLED_BYTES: usize = 128;

/// The first bytes of a packet, as its port received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledPacket {
    /// The interface that it came in by.
    pub ingress: InterfaceIndex,
    /// The interface that it left by; none where it did not leave with its burst, or not as one frame of the same length.
    pub egress: Option<InterfaceIndex>,
    /// Its length in bytes, from the Ethernet header on, without a checksum behind it.
    pub length: u32,
    /// Its first bytes.
    pub bytes: ArrayVec<u8, SAMPLED_BYTES>,
}

/// What a worker has seen of each interface. Those with a higher index than are counted share the last one.
#[derive(Debug)]
struct Seen {
    packets: Box<[Counter]>,
    /// Samples that found no room.
    lost: Box<[Counter]>,
}

impl Seen {
    fn new() -> Arc<Self> {
        let counters = || {
            (0..COUNTED_INTERFACES)
                .map(|_| Counter::default())
                .collect()
        };
        Arc::new(Seen {
            packets: counters(),
            lost: counters(),
        })
    }
}

fn place(interface: InterfaceIndex) -> usize {
    interface.position().min(COUNTED_INTERFACES - 1)
}

/// A worker's side of a sampling.
#[derive(Debug)]
pub(crate) struct Sampler {
    id: u64,
    /// One packet in so many.
    rate: u32,
    /// Packets that are passed before the next sample.
    skip: u32,
    /// The state of a generator of random numbers (Marsaglia 2003, "Xorshift RNGs"); never zero.
    random: u64,
    seen: Arc<Seen>,
    samples: rtrb::Producer<SampledPacket>,
    /// Samples of this burst, with where their frames begin in memory.
    taken: ArrayVec<(SampledPacket, usize), BURST>,
}

/// Where a frame begins in memory: what tells it from others while it is there.
fn begins_at(frame: &[u8]) -> usize {
    frame.as_ptr() as usize
}

impl Sampler {
    /// Which sampling it is for.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Looks at what the ports have just received, here or for another worker which has handed it over: each packet is seen by the
    /// worker that walks it first.
    pub(crate) fn look<B: PacketBuffer>(&mut self, received: &[Received<B>]) {
        for frame in received {
            let (Origin::Received(ingress), 0) = (frame.origin, frame.hops) else {
                continue;
            };
            self.seen.packets[place(ingress)].add(1);
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.skip = self.next_skip();
            let bytes = frame.buffer.bytes();
            let first = &bytes[..bytes.len().min(SAMPLED_BYTES)];
            let sample = SampledPacket {
                ingress,
                egress: None,
                length: bytes.len() as u32,
                bytes: first.iter().copied().collect(),
            };
            // As many as a burst has.
            let _ = self.taken.try_push((sample, begins_at(bytes)));
        }
    }

    /// A random number of packets, such that one in `rate` is sampled.
    fn next_skip(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let most = 2 * u64::from(self.rate) - 1;
        // The high half of a product is evenly spread over the numbers below `most`.
        ((u128::from(self.random) * u128::from(most)) >> 64) as u32
    }

    /// Whether a packet of this burst was sampled.
    pub(crate) fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Frames that are about to leave: those that were sampled are among them as the graph has rewritten them, in place.
    pub(crate) fn leave<B: PacketBuffer>(&mut self, egress: InterfaceIndex, frames: &[B]) {
        for frame in frames {
            let bytes = frame.bytes();
            let is_it = |(sample, at): &&mut (SampledPacket, usize)| {
                // A buffer that was freed and taken again mostly has another length.
                *at == begins_at(bytes) && sample.length as usize == bytes.len()
            };
            if let Some((sample, _)) = self.taken.iter_mut().find(is_it) {
                sample.egress = Some(egress);
            }
        }
    }

    /// Hands the samples of this burst over.
    pub(crate) fn finish(&mut self) {
        for (sample, _) in self.taken.drain(..) {
            let lost = &self.seen.lost[place(sample.ingress)];
            if self.samples.push(sample).is_err() {
                lost.add(1);
            }
        }
    }
}

/// Numbers samplings, so that the end of one never ends another.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Who can let packets be sampled, for as long as the gateway runs.
#[derive(Clone, Debug)]
pub struct PacketSamplers {
    pub(crate) requests: Sender<Request>,
    pub(crate) workers: u16,
}

impl PacketSamplers {
    /// Lets each worker sample one packet in `rate` of what its ports receive, beside whatever else samples; each has room for so many
    /// samples that nobody has read. A rate of 0 is taken for 1.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn begin(&self, rate: u32, samples: usize) -> Result<PacketSampling, GatewayError> {
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let rate = rate.max(1);
        // The standard library's hasher is keyed anew each time: nobody outside knows which packets are sampled.
        let random = RandomState::new();
        let mut rings = Vec::new();
        let mut seen = Vec::new();
        let mut samplers = Vec::new();
        for worker in 0..self.workers {
            let (producer, consumer) = rtrb::RingBuffer::new(samples.max(1));
            let counters = Seen::new();
            let mut sampler = Sampler {
                id,
                rate,
                skip: 0,
                random: random.hash_one(worker) | 1,
                seen: Arc::clone(&counters),
                samples: producer,
                taken: ArrayVec::new(),
            };
            sampler.skip = sampler.next_skip();
            rings.push(consumer);
            seen.push(counters);
            samplers.push(Box::new(sampler));
        }
        let request = Request::Sample(samplers);
        self.requests
            .send(request)
            .map_err(|_| GatewayError::Stopping)?;
        Ok(PacketSampling {
            id,
            rings,
            seen,
            requests: self.requests.clone(),
        })
    }
}

/// Whoever samples; when it is dropped, the sampling is over.
#[derive(Debug)]
pub struct PacketSampling {
    id: u64,
    rings: Vec<rtrb::Consumer<SampledPacket>>,
    seen: Vec<Arc<Seen>>,
    requests: Sender<Request>,
}

impl PacketSampling {
    /// The next sample, if there is one.
    pub fn next_sample(&mut self) -> Option<SampledPacket> {
        self.rings.iter_mut().find_map(|ring| ring.pop().ok())
    }

    /// Packets that were received by an interface since the sampling began: those that could have been sampled.
    pub fn pool(&self, interface: InterfaceIndex) -> u64 {
        let workers = self.seen.iter();
        workers
            .map(|seen| seen.packets[place(interface)].get())
            .sum()
    }

    /// Samples of packets that were received by an interface and found no room.
    pub fn lost(&self, interface: InterfaceIndex) -> u64 {
        let workers = self.seen.iter();
        workers.map(|seen| seen.lost[place(interface)].get()).sum()
    }

    /// The same over all interfaces.
    pub fn all_lost(&self) -> u64 {
        let lost = self.seen.iter().flat_map(|seen| seen.lost.iter());
        lost.map(Counter::get).sum()
    }
}

impl Drop for PacketSampling {
    fn drop(&mut self) {
        // Where the gateway stops, nobody samples any more.
        let _ = self.requests.send(Request::EndSampling(self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::MemoryBuffer;

    fn sampler(rate: u32, room: usize) -> (Sampler, rtrb::Consumer<SampledPacket>) {
        let (samples, ring) = rtrb::RingBuffer::new(room);
        let mut sampler = Sampler {
            id: 1,
            rate,
            skip: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            seen: Seen::new(),
            samples,
            taken: ArrayVec::new(),
        };
        sampler.skip = sampler.next_skip();
        (sampler, ring)
    }

    fn frames(number: usize, length: usize) -> Vec<Received<MemoryBuffer>> {
        let frame = |_| {
            let frame = (0..length).map(|n| n as u8).collect();
            Received::new(
                MemoryBuffer::new(frame),
                Origin::Received(InterfaceIndex(3)),
            )
        };
        (0..number).map(frame).collect()
    }

    /// One in so many on average, and never in step.
    #[test]
    fn samples_are_as_frequent_as_asked_for_and_at_random() {
        for rate in [1, 2, 10, 100] {
            let (mut sampler, mut ring) = sampler(rate, 1 << 17);
            let mut gaps = std::collections::BTreeSet::new();
            let mut last = 0;
            for burst in 0..2_000 {
                sampler.look(&frames(50, 60));
                if sampler.has_taken() {
                    gaps.insert(burst - last);
                    last = burst;
                }
                sampler.finish();
            }
            let taken = std::iter::from_fn(|| ring.pop().ok()).count() as f64;
            let expected = 100_000.0 / f64::from(rate);
            // Five times its spread: the seed is always the same, so this never fails by chance.
            let spread = (expected / 3.0).sqrt();
            assert!((taken - expected).abs() <= 5.0 * spread, "{rate}: {taken}");
            assert_eq!(sampler.seen.packets[3].get(), 100_000);
            assert!(rate < 100 || gaps.len() > 2, "in step: {gaps:?}");
        }
    }

    #[test]
    fn a_sample_says_where_its_packet_went_and_has_its_first_bytes() {
        let (mut sampler, mut ring) = sampler(1, 2);
        let received = frames(3, 300);
        sampler.look(&received);
        let mut buffers = received.into_iter().map(|frame| frame.buffer);
        let (gone, dropped) = (buffers.next().unwrap(), buffers.next().unwrap());
        drop(dropped);
        sampler.leave(InterfaceIndex(7), &[gone]);
        sampler.finish();
        let samples: Vec<_> = std::iter::from_fn(|| ring.pop().ok()).collect();
        // There was room for two.
        assert_eq!((samples.len(), sampler.seen.lost[3].get()), (2, 1));
        assert_eq!(samples[0].egress, Some(InterfaceIndex(7)));
        assert_eq!(samples[1].egress, None);
        let first: Vec<u8> = (0..128).collect();
        assert_eq!(
            (samples[0].length, &samples[0].bytes[..]),
            (300, &first[..])
        );
        assert!(!sampler.has_taken());
    }
}
