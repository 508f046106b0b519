//! Datagrams are read back by a decoder that believes nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

struct Xdr<'a>(&'a [u8]);

impl<'a> Xdr<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        assert!(length <= self.0.len(), "{length} bytes of {}", self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn words(&mut self, number: usize) -> Vec<u32> {
        (0..number).map(|_| self.word()).collect()
    }

    fn opaque(&mut self) -> Vec<u8> {
        let length = self.word() as usize;
        let bytes = self.take(length).to_vec();
        let padding = self.take(length.next_multiple_of(4) - length);
        assert!(padding.iter().all(|byte| *byte == 0));
        bytes
    }

    /// A structure of this format.
    fn structure(&mut self) -> (u32, Xdr<'a>) {
        let format = self.word();
        let length = self.word() as usize;
        (format, Xdr(self.take(length)))
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, PartialEq)]
enum Heard {
    /// The flow_sample's words, the frame's length and its first bytes.
    Packet(Vec<u32>, u32, Vec<u8>),
    /// The counters_sample's words, if_counters' words, the name.
    Counters(Vec<u32>, Vec<u32>, Vec<u8>),
}

fn read(bytes: &[u8], agent: IpAddr, sequence: u32) -> Vec<Heard> {
    assert!(bytes.len() <= 1_400 && bytes.len().is_multiple_of(4));
    let mut xdr = Xdr(bytes);
    assert_eq!(xdr.word(), 5);
    let address: IpAddr = match xdr.word() {
        1 => <[u8; 4]>::try_from(xdr.take(4)).unwrap().into(),
        2 => <[u8; 16]>::try_from(xdr.take(16)).unwrap().into(),
        other => panic!("address type {other}"),
    };
    assert_eq!(address, agent);
    assert_eq!(xdr.words(3), [0, sequence, 77_000]);
    let number = xdr.word();
    let heard: Vec<_> = (0..number)
        .map(|_| {
            let (format, mut sample) = xdr.structure();
            let heard = match format {
                1 => {
                    let words = sample.words(7);
                    assert_eq!(sample.word(), 1);
                    let (format, mut header) = sample.structure();
                    assert_eq!((format, header.word()), (1, 1));
                    let length = header.word();
                    assert_eq!(header.word(), 4, "no checksum");
                    let bytes = header.opaque();
                    assert!(header.is_over());
                    Heard::Packet(words, length, bytes)
                }
                2 => {
                    let words = sample.words(2);
                    assert_eq!(sample.word(), 2);
                    let (format, mut counters) = sample.structure();
                    let counted = counters.words(22);
                    assert!(format == 1 && counters.is_over());
                    let (format, mut name) = sample.structure();
                    assert_eq!(format, 1005);
                    Heard::Counters(words, counted, name.opaque())
                }
                other => panic!("a sample of format {other}"),
            };
            assert!(sample.is_over());
            heard
        })
        .collect();
    assert!(xdr.is_over());
    heard
}

fn any_packet() -> impl Strategy<Value = (SampledPacket, Sampled)> {
    let bytes = prop::collection::vec(any::<u8>(), 0..=128);
    (
        any::<u16>(),
        prop::option::of(any::<u16>()),
        bytes,
        0..9_000_u32,
        any::<[u32; 4]>(),
    )
        .prop_map(|(ingress, egress, bytes, more, numbers)| {
            let packet = SampledPacket {
                ingress: InterfaceIndex(ingress),
                egress: egress.map(InterfaceIndex),
                length: bytes.len() as u32 + more,
                bytes: bytes.into_iter().collect(),
            };
            let [sequence, rate, pool, lost] = numbers;
            let sampled = Sampled {
                sequence,
                rate,
                pool,
                lost,
            };
            (packet, sampled)
        })
}

fn any_counted() -> impl Strategy<Value = Counted> {
    (any::<[u32; 2]>(), "[a-z0-9-]{1,63}", any::<[u64; 5]>()).prop_map(
        |([sequence, interface], name, counters)| Counted {
            sequence,
            interface: InterfaceIndex(interface as u16),
            name,
            is_up: sequence % 2 == 0,
            totals: InterfaceTotals {
                received_packets: counters[0],
                received_bytes: counters[1],
                transmitted_packets: counters[2],
                transmitted_bytes: counters[3],
                dropped_packets: counters[4],
            },
        },
    )
}

fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_added_is_read_back(
        packets in prop::collection::vec(any_packet(), 0..60),
        counted in prop::collection::vec(any_counted(), 0..40),
        is_six in any::<bool>(),
    ) {
        let agent: IpAddr = match is_six {
            true => Ipv6Addr::LOCALHOST.into(),
            false => Ipv4Addr::LOCALHOST.into(),
        };
        let uptime = Duration::from_secs(77);
        let mut datagrams = Datagrams::new(agent);
        for (packet, sampled) in &packets {
            datagrams.add_packet(packet, sampled, uptime);
        }
        for counted in &counted {
            datagrams.add_counters(counted, uptime);
        }
        datagrams.finish(uptime);
        let mut heard = Vec::new();
        for (datagram, sequence) in datagrams.take().into_iter().zip(1..) {
            let samples = read(&datagram.bytes, agent, sequence);
            prop_assert_eq!(samples.len(), datagram.samples as usize);
            heard.extend(samples);
        }
        let packets = packets.iter().map(|(packet, sampled)| {
            let ingress = u32::from(packet.ingress.0) + 1;
            let egress = packet.egress.map_or(0, |egress| u32::from(egress.0) + 1);
            let Sampled { sequence, rate, pool, lost } = *sampled;
            let words = vec![sequence, ingress, rate, pool, lost, ingress, egress];
            Heard::Packet(words, packet.length + 4, packet.bytes.to_vec())
        });
        let counted = counted.iter().map(|counted| {
            let interface = u32::from(counted.interface.0) + 1;
            let totals = &counted.totals;
            let unknown = u32::MAX;
            let mut words = vec![interface, 6, 0, 0, 0, if counted.is_up { 3 } else { 1 }];
            words.extend(halves(totals.received_bytes));
            words.extend([totals.received_packets as u32, unknown, unknown]);
            words.extend([totals.dropped_packets as u32, unknown, unknown]);
            words.extend(halves(totals.transmitted_bytes));
            words.extend([totals.transmitted_packets as u32, unknown, unknown, unknown, unknown, 0]);
            Heard::Counters(vec![counted.sequence, interface], words, counted.name.clone().into())
        });
        prop_assert_eq!(heard, packets.chain(counted).collect::<Vec<_>>());
    }
}
