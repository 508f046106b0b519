//! Messages are read back by a decoder that believes nothing: it knows what templates say, and no more.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use rewire_dataplane::ConnectionState;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::recording::{
    FlowEvent, FlowRecord, FlowReport, FlowStep, RecordedEnds, RefusedFlow, ReportReason, Shortage,
    TimedEvent, Traffic,
};
use rewire_tables::{InterfaceIndex, VpcIndex};

use super::message::Message;
use super::{Messages, write};

/// An element as a template names it: its number, and whether it is about the reverse direction.
type Element = (u16, bool);

#[derive(Debug, Default)]
struct Decoder {
    /// By number: elements with their lengths, and how many of them are the scope.
    templates: BTreeMap<u16, (Vec<(Element, u16)>, u16)>,
    /// The sequence number that the next message must have.
    sequence: u32,
}

/// A record: its template's number, and the bytes of its elements.
type Record = (u16, BTreeMap<Element, Vec<u8>>);

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    assert!(length <= bytes.len(), "{length} bytes of {}", bytes.len());
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Decoder {
    /// The records of a message of RFC 7011, section 3; panics at whatever is not as it should be.
    fn read(&mut self, message: &[u8], time: u32) -> Vec<Record> {
        assert!(message.len() <= 1_400);
        let mut rest = message;
        assert_eq!(number(take(&mut rest, 2)), 10);
        assert_eq!(number(take(&mut rest, 2)), message.len() as u64);
        assert_eq!(number(take(&mut rest, 4)), u64::from(time));
        assert_eq!(number(take(&mut rest, 4)), u64::from(self.sequence));
        assert_eq!(number(take(&mut rest, 4)), 7, "the observation domain");
        assert!(!rest.is_empty(), "a message without sets");
        let mut records = Vec::new();
        while !rest.is_empty() {
            let set = number(take(&mut rest, 2)) as u16;
            let length = number(take(&mut rest, 2)) as usize;
            let mut body = take(&mut rest, length - 4);
            assert!(!body.is_empty(), "a set without records");
            while !body.is_empty() {
                match set {
                    2 | 3 => self.template(&mut body, set == 3),
                    _ => records.push((set, self.record(set, &mut body))),
                }
            }
        }
        self.sequence = self.sequence.wrapping_add(records.len() as u32);
        records
    }

    fn template(&mut self, body: &mut &[u8], has_scope: bool) {
        let template = number(take(body, 2)) as u16;
        assert!(template >= 256);
        let fields = number(take(body, 2));
        let scope = if has_scope { number(take(body, 2)) } else { 0 };
        assert_eq!(has_scope, scope > 0);
        assert!(fields > scope);
        let mut elements = Vec::new();
        for _ in 0..fields {
            let element = number(take(body, 2)) as u16;
            let length = number(take(body, 2)) as u16;
            let is_reverse = element & 0x8000 != 0;
            if is_reverse {
                assert_eq!(number(take(body, 4)), 29_305);
            }
            elements.push(((element & 0x7fff, is_reverse), length));
        }
        let mut named: Vec<_> = elements.iter().map(|(element, _)| *element).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), elements.len(), "an element twice");
        self.templates.insert(template, (elements, scope as u16));
    }

    fn record(&self, set: u16, body: &mut &[u8]) -> BTreeMap<Element, Vec<u8>> {
        let (elements, _) = self.templates.get(&set).expect("its template was sent");
        let values = elements.iter().map(|(element, length)| {
            let length = match *length {
                u16::MAX => number(take(body, 1)) as usize,
                length => length.into(),
            };
            assert!(length < 255);
            (*element, take(body, length).to_vec())
        });
        values.collect()
    }
}

/// All that is ready, each message at a time of its own.
fn sent(messages: &mut Messages) -> Vec<(u32, Message)> {
    messages.finish();
    let mut sent = Vec::new();
    while let Some(message) = messages.next(1000 + sent.len() as u32).cloned() {
        sent.push((1000 + sent.len() as u32, message));
        messages.gone();
    }
    sent
}

fn decode(messages: &mut Messages, decoder: &mut Decoder) -> Vec<Record> {
    let sent = sent(messages).into_iter();
    sent.flat_map(|(time, message)| {
        let records = decoder.read(&message.bytes, time);
        assert_eq!(records.len(), message.records as usize);
        records
    })
    .collect()
}

fn values(record: &Record, wanted: &[u16]) -> Vec<u64> {
    wanted
        .iter()
        .map(|element| number(&record.1[&(*element, false)]))
        .collect()
}

fn time_of(at: Instant) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_nanos(at.0)
}

fn flow(original: RecordedEnds, reply: RecordedEnds, step: FlowStep) -> FlowRecord {
    FlowRecord {
        step,
        protocol: 17,
        original,
        reply,
        ingress: InterfaceIndex(0),
        egress: Some(InterfaceIndex(2)),
        icmp: 0,
        state: ConnectionState::ALL[9],
        tcp_flags: 0,
        is_mapped: true,
        is_joined: false,
    }
}

fn ends(vpc: u16, source: (IpAddr, u16), destination: (IpAddr, u16)) -> RecordedEnds {
    RecordedEnds {
        vpc: VpcIndex(vpc),
        source,
        destination,
    }
}

const HOST: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10)), 5000);
const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 53);
const EXTERNAL: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 6000);
const HOST6: (IpAddr, u16) = (
    IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x10)),
    5000,
);
const SERVER6: (IpAddr, u16) = (
    IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 1)),
    53,
);

fn report(reason: ReportReason) -> FlowReport {
    FlowReport {
        reason,
        since: Instant(1_000_000_000),
        last: Instant(3_500_000_000),
        traffic: [
            Traffic {
                packets: 3,
                bytes: 300,
            },
            Traffic {
                packets: 2,
                bytes: 5_000_000_000,
            },
        ],
    }
}

fn told(events: &[FlowEvent]) -> Vec<Record> {
    let mut messages = Messages::new(7);
    messages.introduce(Messages::add_templates);
    for event in events {
        write(&mut messages, &(Instant(4_000_000_000), *event), time_of);
    }
    decode(&mut messages, &mut Decoder::default())
}

#[test]
fn a_connection_is_told_with_both_of_its_directions_and_what_nat_made_of_it() {
    let [original, reply] = [ends(0, HOST, SERVER), ends(1, SERVER, EXTERNAL)];
    let begins = flow(original, reply, FlowStep::Begins { mapping: true });
    let over = FlowStep::Ends {
        report: Some(report(ReportReason::Idle)),
        mapping: true,
    };
    let records = told(&[
        FlowEvent::Flow(begins),
        FlowEvent::Flow(flow(original, reply, over)),
    ]);
    let sets: Vec<u16> = records.iter().map(|(set, _)| *set).collect();
    assert_eq!(sets, [261, 259, 256, 259, 261]);
    let events: Vec<_> = [0, 1, 3, 4]
        .map(|nth: usize| values(&records[nth], &[230])[0])
        .into();
    assert_eq!(events, [8, 4, 5, 9]);
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(_) => panic!("{address}"),
    };
    // Source, its port, what either becomes; VPCs.
    let of_source = [8, 7, 225, 227, 234, 235];
    let expected = [address(HOST.0), 5000, address(EXTERNAL.0), 6000, 1, 2];
    for record in &records {
        assert_eq!(values(record, &of_source), expected, "{}", record.0);
    }
    let report = &records[2];
    assert_eq!(values(report, &[152, 153, 136]), [1000, 3500, 1]);
    assert_eq!(values(report, &[2, 1, 10, 14]), [3, 300, 1, 3]);
    let reverse = |element| number(&report.1[&(element, true)]);
    assert_eq!((reverse(2), reverse(1)), (2, 5_000_000_000));
    assert_eq!(
        values(report, &[12, 11, 226, 228]),
        [address(SERVER.0), 53, address(SERVER.0), 53]
    );
}

#[test]
fn identifiers_of_icmp_are_no_destination_ports() {
    let mut echo = flow(
        ends(0, (HOST.0, 77), (SERVER.0, 77)),
        ends(1, (SERVER.0, 99), (EXTERNAL.0, 99)),
        FlowStep::Report(report(ReportReason::Interval)),
    );
    (echo.protocol, echo.icmp) = (1, 8 << 8);
    let records = told(&[FlowEvent::Flow(echo)]);
    assert_eq!(
        values(&records[0], &[7, 227, 11, 228, 32]),
        [77, 99, 0, 0, 8 << 8]
    );
}

#[test]
fn nat64_has_events_of_its_own_and_ipv6_has_none() {
    let original = ends(0, HOST6, SERVER6);
    let begins = FlowStep::Begins { mapping: true };
    let nat64 = flow(original, ends(1, SERVER, EXTERNAL), begins);
    let records = told(&[FlowEvent::Flow(nat64)]);
    let told_events: Vec<_> = records
        .iter()
        .map(|record| (record.0, values(record, &[230])[0]))
        .collect();
    assert_eq!(told_events, [(262, 10), (260, 6)]);
    let nat66 = flow(original, ends(1, SERVER6, (HOST6.0, 9)), begins);
    assert_eq!(told(&[FlowEvent::Flow(nat66)]), []);
    let over = FlowStep::Report(report(ReportReason::Interval));
    let told = told(&[FlowEvent::Flow(flow(original, nat66.reply, over))]);
    assert_eq!((told.len(), told[0].0), (1, 257));
    assert_eq!(values(&told[0], &[227, 136]), [9, 2]);
}

/// One that began outside is told as its host of IPv6 sees it: source, destination, and what they are in IPv4.
#[test]
fn nat64_is_told_from_inside_whoever_began() {
    let (outside, inside) = (ends(1, SERVER, EXTERNAL), ends(0, HOST6, SERVER6));
    let begun = flow(outside, inside, FlowStep::Begins { mapping: false });
    let records = told(&[FlowEvent::Flow(begun)]);
    let of = |elements: &[u16]| values(&records[0], elements);
    assert_eq!((records.len(), records[0].0, of(&[230])[0]), (1, 260, 6));
    assert_eq!(of(&[7, 11, 227, 228, 234, 235]), [5000, 53, 6000, 53, 1, 2]);
    let over = FlowStep::Report(report(ReportReason::Interval));
    let turned = told(&[FlowEvent::Flow(flow(outside, inside, over))]);
    let plain = told(&[FlowEvent::Flow(flow(inside, outside, over))]);
    let counts = |record: &Record| [(2, false), (2, true)].map(|key| number(&record.1[&key]));
    assert_eq!((turned[0].0, plain[0].0), (258, 258));
    let mut swapped = counts(&plain[0]);
    swapped.reverse();
    assert_eq!(counts(&turned[0]), swapped);
    assert_ne!(counts(&turned[0]), counts(&plain[0]));
}

/// From outside, what joins a mapping is told with the mapping's inner side first.
#[test]
fn a_mapping_is_told_from_inside_whoever_began() {
    let mut joined = flow(
        ends(1, SERVER, EXTERNAL),
        ends(0, HOST, SERVER),
        FlowStep::Ends {
            report: None,
            mapping: true,
        },
    );
    joined.is_joined = true;
    let records = told(&[FlowEvent::Flow(joined)]);
    assert_eq!((records.len(), records[1].0), (2, 261));
    let inside = values(&records[1], &[7, 227, 234, 235]);
    assert_eq!(inside, [5000, 6000, 1, 2]);
}

#[test]
fn shortages_are_told() {
    let refused = |shortage, original, external| {
        FlowEvent::Refused(RefusedFlow {
            shortage,
            protocol: 17,
            original,
            external,
        })
    };
    let (four, six) = (ends(0, HOST, SERVER), ends(0, HOST6, SERVER6));
    let records = told(&[
        refused(Shortage::Ports, six, Some(EXTERNAL.0)),
        refused(Shortage::Ports, six, Some(HOST6.0)),
        refused(Shortage::Table, four, None),
        refused(Shortage::Source, six, None),
    ]);
    let events: Vec<_> = records
        .iter()
        .map(|record| {
            let quota = record.1.get(&(466, false)).map(|bytes| number(bytes));
            (record.0, values(record, &[230])[0], quota)
        })
        .collect();
    assert_eq!(
        events,
        [
            (263, 12, None),
            (264, 12, None),
            (265, 13, Some(1)),
            (266, 13, Some(3))
        ]
    );
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

fn any_event() -> impl Strategy<Value = TimedEvent> {
    let step = prop_oneof![
        any::<bool>().prop_map(|mapping| FlowStep::Begins { mapping }),
        Just(FlowStep::Report(report(ReportReason::Interval))),
        any::<[bool; 2]>().prop_map(|[reports, mapping]| FlowStep::Ends {
            report: reports.then(|| report(ReportReason::Forced)),
            mapping,
        }),
    ];
    let ends = || {
        (
            any::<u16>(),
            any_address(),
            any_address(),
            any::<[u16; 2]>(),
        )
            .prop_map(|(vpc, source, destination, ports)| {
                ends(vpc, (source, ports[0]), (destination, ports[1]))
            })
    };
    (any::<u64>(), step, ends(), ends(), any::<[bool; 2]>()).prop_map(
        |(at, step, original, reply, [is_mapped, is_joined])| {
            let flow = FlowRecord {
                is_mapped,
                is_joined,
                ..flow(original, reply, step)
            };
            (Instant(at), FlowEvent::Flow(flow))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is told, messages are whole, short enough, and numbered by what was sent before; also where some do not go at once,
    /// and templates overtake them.
    #[test]
    fn messages_are_sound(
        events in prop::collection::vec(any_event(), 1..200),
        fails in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let mut messages = Messages::new(7);
        messages.introduce(Messages::add_templates);
        let mut decoder = Decoder::default();
        let mut fails = fails.into_iter();
        let mut heard = Vec::new();
        let mut hear = |messages: &mut Messages, decoder: &mut Decoder, may_fail: bool| {
            messages.finish();
            while let Some(message) = messages.next(9).cloned() {
                if may_fail && fails.next() == Some(true) {
                    messages.introduce(Messages::add_templates);
                    continue;
                }
                heard.extend(decoder.read(&message.bytes, 9));
                messages.gone();
            }
        };
        for part in events.chunks(7) {
            for event in part {
                write(&mut messages, event, time_of);
            }
            hear(&mut messages, &mut decoder, true);
        }
        hear(&mut messages, &mut decoder, false);
        // The same at once, and nothing in between.
        let mut whole = Messages::new(7);
        whole.introduce(Messages::add_templates);
        events.iter().for_each(|event| write(&mut whole, event, time_of));
        let all = decode(&mut whole, &mut Decoder::default());
        prop_assert_eq!(heard, all);
    }
}
