//! Flows leave as the configuration says, and collectors that nobody here wrote read what was sent.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use rewire_tests::documents::{push, two_vpcs};
use rewire_tests::{FlowCollector, Lab, LoopbackCapture, tcp_pair, udp_echoes, until, until_for};
use serde_json::{Value, json};

/// nfcapd writes every other second.
const WRITTEN: Duration = Duration::from_secs(20);

fn with_exporters(mut document: Value, exporters: &Value) -> Value {
    document["telemetry"] = json!({ "exporters": exporters });
    document
}

fn to_port(port: u16) -> Value {
    json!({ "type": "ipfix", "address": format!("127.0.0.1:{port}"), "interval": "1s" })
}

fn is_event(record: &Value) -> bool {
    record["nat_event_id"].is_string()
}

/// The sum of a counter over what was reported of connections.
fn sum<'a>(records: impl IntoIterator<Item = &'a Value>, counter: &str) -> u64 {
    let counted = records.into_iter().filter(|record| !is_event(record));
    counted
        .map(|record| record[counter].as_u64().unwrap_or(0))
        .sum()
}

/// What was told of NAT: how often each event was, of each pair of ends, as far as the event names them.
fn events(records: &[Value]) -> BTreeMap<String, u64> {
    let mut events = BTreeMap::new();
    for record in records.iter().filter(|record| is_event(record)) {
        let field = |names: &[&str]| {
            let found = names.iter().find_map(|name| record[*name].as_str());
            found.unwrap_or("-").to_owned()
        };
        let event = format!(
            "{} {} {} as {}",
            record["nat_event"].as_str().unwrap_or("?"),
            record["proto"],
            field(&["src4_addr", "src6_addr"]),
            field(&["src4_xlt_ip"]),
        );
        *events.entry(event).or_default() += 1;
    }
    events
}

fn clear(lab: &Lab) {
    lab.rewire(&["clear", "connections", "--all"]).good();
}

#[track_caller]
fn exported(lab: &Lab, metric: &str, exporter: &str) -> f64 {
    lab.metrics().labelled(metric, "exporter", exporter)
}

#[test]
fn a_collector_hears_of_every_byte_and_of_every_translation() {
    let Some(mut lab) = Lab::new() else { return };
    if !FlowCollector::is_possible() {
        return;
    }
    lab.start_gateway();
    let collector = FlowCollector::ipfix(&lab.inside, 4739);
    let capture = LoopbackCapture::start(&lab.inside, 4739);
    lab.commit(&with_exporters(
        two_vpcs(),
        &json!({ "nfdump": to_port(4739) }),
    ));

    // What was received: of what is sent, a kernel counts headers before it cuts segments.
    let received = |lab: &Lab| [&lab.internet, &lab.blue].map(|host| host.ip_bytes().received);
    let before = received(&lab);
    lab.blue.ping("198.51.100.1", "-c 5 -i 0.05").assert_all();
    let mut tcp = tcp_pair(
        &lab.blue,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    tcp.talk(200_000);
    let peer = tcp.server.peer_addr().expect("it is connected");
    // What goes on is reported in parts, which add up.
    until_for(WRITTEN, "a report of what goes on", || {
        let records = collector.records();
        (sum(&records, "in_bytes") > 100_000).then_some(())
    });
    tcp.talk(100_000);
    drop(tcp);
    udp_echoes(
        &lab.blue,
        "10.1.0.10:5353",
        &lab.internet,
        "198.51.100.1:53",
        400,
        20,
    );
    // Both FINs are acknowledged: the connection is said to be over while it lingers.
    until_for(WRITTEN, "the connection is over", || {
        let has_fin = |record: &Value| {
            record["tcp_flags"]
                .as_str()
                .is_some_and(|f| f.contains('F'))
        };
        collector.records().iter().any(has_fin).then_some(())
    });
    let shown = lab.rewire(&["show", "connections"]).good();
    assert!(shown.contains("time_wait"), "{shown}");
    let after = received(&lab);
    clear(&lab);
    let records = until_for(WRITTEN, "all translations are over", || {
        let records = collector.records();
        let over = events(&records);
        let over = over.keys().filter(|event| event.contains("BIB delete"));
        (over.count() == 3).then_some(records)
    });

    // What the hosts' kernels count is what nfdump says.
    assert_eq!(
        ["in_bytes", "out_bytes"].map(|counter| sum(&records, counter)),
        [after[0] - before[0], after[1] - before[1]]
    );
    let udp: Vec<_> = records.iter().filter(|r| r["proto"] == 17).collect();
    assert_eq!(sum(udp.iter().copied(), "in_packets"), 20);
    assert_eq!(sum(udp.iter().copied(), "in_bytes"), 20 * 428);
    let mut expected = BTreeMap::new();
    for protocol in [1, 6, 17] {
        for event in [
            "BIB create",
            "BIB delete",
            "session create",
            "session delete",
        ] {
            let text = format!("NAT44 {event} {protocol} 10.1.0.10 as 203.0.113.1");
            expected.insert(text, 1);
        }
    }
    assert_eq!(events(&records), expected);
    // Of TCP, all that the server knows of its peer.
    let tcp: Vec<_> = records.iter().filter(|r| r["proto"] == 6).collect();
    let sessions = tcp.iter().filter(|r| r["dst_port"] == 80);
    for record in sessions.clone() {
        assert_eq!(record["src4_xlt_ip"], peer.ip().to_string(), "{record}");
        assert_eq!(record["src_xlt_port"], peer.port().to_string(), "{record}");
        assert_eq!(record["dst4_xlt_ip"], "198.51.100.1", "{record}");
    }
    let reports: Vec<_> = sessions.filter(|record| !is_event(record)).collect();
    assert!(reports.len() >= 2, "{reports:#?}");
    let last = reports
        .iter()
        .max_by_key(|r| r["last"].as_str().map(str::to_owned));
    let last = last.expect("there are some");
    assert_eq!(last["tcp_flags"], "...A..SF", "{last}");
    assert_eq!(
        exported(&lab, "rewire_exporter_records_lost_total", "nfdump"),
        0.0
    );
    assert_eq!(exported(&lab, "rewire_exporter_up", "nfdump"), 1.0);

    // Wireshark understands every byte, too, and reads names and reasons.
    let dissected = capture.dissect("udp.port==4739,cflow");
    for wrong in ["Malformed", "no template", "Unknown", "Expert Info"] {
        let lines = dissected.lines();
        let found: Vec<_> = lines.filter(|line| line.contains(wrong)).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
    for right in [
        "blue0",
        "internet",
        "Flow End Reason: Active timeout (2)",
        "Flow End Reason: End of Flow detected (3)",
        "Flow End Reason: Forced end (4)",
    ] {
        assert!(dissected.contains(right), "no {right}: {dissected}");
    }
}

/// NAT64 has events of its own, and IPv6 that is only routed has none.
#[test]
fn ipv6_and_nat64_are_told_apart() {
    let mut document = two_vpcs();
    push(
        &mut document["interfaces"]["blue0"]["addresses"],
        "fd00:1::1/64",
    );
    push(
        &mut document["interfaces"]["red0"]["addresses"],
        "fd00:2::1/64",
    );
    document["vpcs"]["internet"]["routes"]["198.51.100.0/24"] =
        json!({ "next_hops": [{ "interface": "wan0", "via": "203.0.113.2" }] });
    for (vpc, interface, prefix) in [
        ("blue", "red0", "fd00:2::/64"),
        ("red", "blue0", "fd00:1::/64"),
    ] {
        document["vpcs"][vpc]["routes"][prefix] =
            json!({ "next_hops": [{ "interface": interface }] });
    }
    document["nat"]["pools"] = json!({
        "clients": { "vpc": "internet", "ranges": ["203.0.113.64"] },
    });
    document["nat"]["nat64"] = json!({
        "clients": { "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "clients" },
    });
    let document = with_exporters(document, &json!({ "nfdump": to_port(4739) }));
    let Some(mut lab) = Lab::new() else { return };
    if !FlowCollector::is_possible() {
        return;
    }
    lab.start_gateway();
    let collector = FlowCollector::ipfix(&lab.inside, 4739);
    lab.commit(&document);
    for (host, address, router) in [
        (&lab.blue, "fd00:1::10/64", "fd00:1::1"),
        (&lab.red, "fd00:2::10/64", "fd00:2::1"),
    ] {
        host.set("ipv6/conf/eth0/accept_ra", "0");
        host.set("ipv6/conf/eth0/disable_ipv6", "0");
        host.ip(&format!("address add {address} dev eth0 nodad"));
        host.ip(&format!("-6 route add default via {router}"));
    }
    let site = "[2001:db8:64::198.51.100.1]:80";
    tcp_pair(&lab.blue, site, &lab.internet, "198.51.100.1:80")
        .expect("TCP goes out")
        .talk(10_000);
    lab.blue.ping("fd00:2::10", "-c 3 -i 0.05").assert_all();
    clear(&lab);
    let records = until_for(WRITTEN, "both are over", || {
        let records = collector.records();
        let is_over = events(&records)
            .keys()
            .any(|event| event.contains("BIB delete"));
        let has_ping = records.iter().any(|record| record["proto"] == 58);
        (is_over && has_ping).then_some(records)
    });
    let told: Vec<_> = events(&records).into_keys().collect();
    let event = |event| format!("NAT64 {event} 6 fd00:1::10 as 203.0.113.64");
    assert_eq!(
        told,
        [
            "BIB create",
            "BIB delete",
            "session create",
            "session delete"
        ]
        .map(event)
    );
    let pings: Vec<_> = records.iter().filter(|r| r["proto"] == 58).collect();
    assert_eq!(sum(pings.iter().copied(), "in_packets"), 3);
    assert_eq!(sum(pings.iter().copied(), "out_bytes"), 3 * 104);
    assert_eq!(
        (&pings[0]["icmp_type"], &pings[0]["icmp_code"]),
        (&json!(128), &json!(0))
    );
}

/// Exporters come, change and go with commits, and collectors without: what is known to go nowhere waits.
/// What runs out is told with who asked for it; a NAT66 stands in the records of its connections, and has no events.
#[test]
fn what_runs_out_is_told_and_nat66_stands_in_its_records() {
    let mut document = two_vpcs();
    document["nat"]["masquerade"]["blue-out"]["ports"] = json!("5000-5001");
    document["vpcs"]["red"]["conntrack"] = json!({ "most_per_source": 2 });
    push(
        &mut document["interfaces"]["blue0"]["addresses"],
        "fd00:1::1/64",
    );
    push(
        &mut document["interfaces"]["wan0"]["addresses"],
        "2001:db8::1/64",
    );
    document["vpcs"]["blue"]["routes"]["::/0"] =
        json!({ "next_hops": [{ "interface": "wan0", "via": "2001:db8::2" }] });
    document["nat"]["masquerade"]["blue-out-6"] =
        json!({ "vpc": "blue", "interface": "wan0", "sources": ["fd00:1::/64"] });
    let Some(mut lab) = Lab::new() else { return };
    if !FlowCollector::is_possible() {
        return;
    }
    lab.start_gateway();
    let collector = FlowCollector::ipfix(&lab.inside, 4739);
    let capture = LoopbackCapture::start(&lab.inside, 4739);
    lab.commit(&with_exporters(
        document,
        &json!({ "nfdump": to_port(4739) }),
    ));
    for (host, address) in [
        (&lab.blue, "fd00:1::10/64"),
        (&lab.internet, "2001:db8::2/64"),
    ] {
        host.set("ipv6/conf/eth0/accept_ra", "0");
        host.set("ipv6/conf/eth0/disable_ipv6", "0");
        host.ip(&format!("address add {address} dev eth0 nodad"));
    }
    lab.blue.ip("-6 route add default via fd00:1::1");
    lab.blue.ping("2001:db8::2", "-c 3 -i 0.05").assert_all();

    // Each goes on until the gateway has refused one.
    for (host, reason) in [
        (&lab.blue, "nat_ports_exhausted"),
        (&lab.red, "connection_limit_source"),
    ] {
        until("one is refused", || {
            host.run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
                let _ = socket.send_to(b"x", "198.51.100.1:53");
            });
            let dropped = lab.metrics();
            let dropped = dropped.labelled("rewire_dropped_packets_total", "reason", reason);
            (dropped > 0.0).then_some(())
        });
    }
    clear(&lab);
    // What was refused is told before what has ended.
    let records = until_for(WRITTEN, "the records of both families", || {
        let records = collector.records();
        let has_ping = records.iter().any(|record| record["proto"] == 58);
        let told = events(&records);
        let is_over = told.keys().any(|event| event.contains("BIB delete"));
        (has_ping && is_over).then_some(records)
    });
    let pings: Vec<_> = records.iter().filter(|r| r["proto"] == 58).collect();
    assert_eq!(sum(pings.iter().copied(), "in_packets"), 3);
    for ping in &pings {
        assert!(!is_event(ping), "RFC 8158 has none: {ping}");
        assert_eq!(ping["src6_addr"], "fd00:1::10", "{ping}");
    }
    let dissected = capture.dissect("udp.port==4739,cflow");
    for right in [
        "Nat Event: NAT ports exhausted (12)",
        "Nat Event: Quota Exceeded (13)",
        "NAT Quota Exceeded Event: Maximum entries per user (3)",
        // nfdump does not write these.
        "Post NAT Source IPv6 Address: 2001:db8::1",
        "Post NAT Destination IPv6 Address: 2001:db8::2",
    ] {
        assert!(dissected.contains(right), "no {right}: {dissected}");
    }
    for wrong in ["Malformed", "no template", "Unknown", "Expert Info"] {
        assert!(!dissected.contains(wrong), "{wrong}: {dissected}");
    }
}

#[test]
fn exporters_and_collectors_come_and_go() {
    let Some(mut lab) = Lab::new() else { return };
    if !FlowCollector::is_possible() {
        return;
    }
    lab.start_gateway();
    // Nobody listens.
    lab.commit(&with_exporters(
        two_vpcs(),
        &json!({ "one": to_port(4739) }),
    ));
    until("it is known that nobody listens", || {
        (exported(&lab, "rewire_exporter_failed_total", "one") > 0.0).then_some(())
    });
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.05").assert_all();
    clear(&lab);
    let first = FlowCollector::ipfix(&lab.inside, 4739);
    until_for(WRITTEN, "what waited", || {
        (sum(&first.records(), "in_packets") == 2).then_some(())
    });
    // It ends, and another one begins where it was, which has heard of no template.
    first.finish();
    lab.blue.ping("198.51.100.1", "-c 3 -i 0.05").assert_all();
    until("it is known that nobody listens", || {
        (exported(&lab, "rewire_exporter_up", "one") == 0.0).then_some(())
    });
    let second = FlowCollector::ipfix(&lab.inside, 4739);
    clear(&lab);
    let lost = |exporter| exported(&lab, "rewire_exporter_records_lost_total", exporter);
    until_for(WRITTEN, "what came after that", || {
        let deleted = events(&second.records());
        let mut deleted = deleted
            .keys()
            .filter(|event| event.contains("session delete"));
        deleted.next().map(|_| ())
    });
    // One datagram at most went while nobody knew: it is counted.
    assert!((1.0..=4.0).contains(&lost("one")), "{}", lost("one"));
    assert!(sum(&second.records(), "in_packets") <= 3);

    // Another address, and another exporter beside it: neither hears what the other one was told before.
    let third = FlowCollector::ipfix(&lab.inside, 4740);
    let document = with_exporters(
        two_vpcs(),
        &json!({ "one": to_port(4740), "two": to_port(4739) }),
    );
    lab.commit(&document);
    let told_before = sum(&second.records(), "in_packets");
    lab.blue.ping("198.51.100.1", "-c 7 -i 0.05").assert_all();
    until_for(WRITTEN, "both hear", || {
        let heard = (
            sum(&third.records(), "in_packets"),
            sum(&second.records(), "in_packets") - told_before,
        );
        (heard == (7, 7)).then_some(())
    });
    // None: packets go on, and nobody is told.
    lab.commit(&two_vpcs());
    assert_eq!(lab.metrics().samples("rewire_exporter_up").count(), 0);
    lab.blue.ping("198.51.100.1", "-c 4 -i 0.05").assert_all();
    clear(&lab);
    assert_eq!(sum(&third.finish(), "in_packets"), 7);
    let log = lab.log().join("\n");
    let said = log.matches("nobody takes what is sent").count();
    assert_eq!(said, 2, "once each time: {log}");
}

/// Every packet is a sample where one in one is: what sfcapd adds up is what was sent.
#[test]
fn samples_are_read_by_nfdump_and_wireshark() {
    let Some(mut lab) = Lab::new() else { return };
    if !FlowCollector::is_possible() {
        return;
    }
    lab.start_gateway();
    let collector = FlowCollector::sflow(&lab.inside, 6343);
    let capture = LoopbackCapture::start(&lab.inside, 6343);
    let sampling = |sampling: u32| {
        let exporter = json!({
            "type": "sflow", "address": "127.0.0.1:6343", "sampling": sampling, "interval": "1s",
        });
        with_exporters(two_vpcs(), &json!({ "samples": exporter }))
    };
    lab.commit(&sampling(1));
    lab.blue.ping("198.51.100.1", "-c 5 -i 0.05").assert_all();
    udp_echoes(
        &lab.blue,
        "10.1.0.10:5353",
        &lab.internet,
        "198.51.100.1:53",
        400,
        20,
    );
    let of = |records: &[Value], protocol: u64, input: u64| {
        let records = records.iter();
        let is_it = |r: &&Value| r["proto"] == protocol && r["input_snmp"] == input;
        records.filter(is_it).cloned().collect::<Vec<_>>()
    };
    let records = until_for(WRITTEN, "every packet is sampled", || {
        let records = collector.records();
        let udp = [1, 3].map(|input| of(&records, 17, input).len());
        (udp == [20, 20]).then_some(records)
    });
    // As they came in: there, and back to what NAT has made of them. Ethernet's header and checksum are counted.
    for (input, output, source, destination) in [
        (1, 3, "10.1.0.10", "198.51.100.1"),
        (3, 1, "198.51.100.1", "203.0.113.1"),
    ] {
        let pings = of(&records, 1, input);
        assert_eq!(sum(&pings, "in_packets"), 5);
        let udp = of(&records, 17, input);
        assert_eq!(sum(&udp, "in_bytes"), 20 * (428 + 14 + 4));
        for record in &udp {
            assert_eq!(record["src4_addr"], source, "{record}");
            assert_eq!(record["dst4_addr"], destination, "{record}");
        }
        // All but those that begin something at another worker, or wait for a neighbor.
        let known = udp.iter().filter(|r| r["output_snmp"] == output);
        assert!(known.count() >= 18, "{udp:#?}");
    }

    // One in ten on average, under another commit, and all of them in the pool.
    let before = exported(&lab, "rewire_exporter_records_total", "samples");
    assert!(before >= 50.0, "{before}");
    lab.commit(&sampling(10));
    let sockets = udp_echoes(
        &lab.blue,
        "10.1.0.10:5354",
        &lab.internet,
        "198.51.100.1:54",
        100,
        2_000,
    );
    drop(sockets);
    let port = |record: &Value| record["dst_port"] == 54;
    until_for(WRITTEN, "about a tenth is sampled", || {
        let sampled = collector.records();
        let sampled: Vec<_> = sampled.iter().filter(|record| port(record)).collect();
        // sfcapd multiplies by the rate. Ten times the spread is allowed for.
        let packets = sum(sampled.iter().copied(), "in_packets");
        (1_000..=3_000).contains(&packets).then_some(())
    });
    assert_eq!(
        exported(&lab, "rewire_exporter_records_lost_total", "samples"),
        0.0
    );

    let dissected = capture.dissect("udp.port==6343,sflow");
    for wrong in ["Malformed", "Expert Info (Error"] {
        assert!(!dissected.contains(wrong), "{dissected}");
    }
    for right in [
        "Generic interface counters",
        "Sampling rate: 1 out of 10 packets",
        "Raw packet header",
        "IfOperStatus: Up",
    ] {
        assert!(dissected.contains(right), "no {right}");
    }
    // The last sample of blue's interface is near the end of what it has received.
    let pools = dissected.lines().filter_map(|line| {
        let pool = line.trim().strip_prefix("Sample pool: ")?;
        pool.split(' ').next()?.parse::<u32>().ok()
    });
    let most = pools.max().expect("there are samples");
    assert!((1_800..=2_100).contains(&most), "{most}");
    // Without an exporter nobody samples, and packets go on.
    lab.commit(&two_vpcs());
    lab.blue.ping("198.51.100.1", "-c 3 -i 0.05").assert_all();
}

/// What a card forwards, no worker sees; a connection is told of with it all the same.
#[test]
fn what_a_card_forwards_is_told_too() {
    let Some(mut lab) = Lab::new() else { return };
    if !FlowCollector::is_possible() {
        return;
    }
    lab.start_gateway_with(&["--modelled-card"]);
    let collector = FlowCollector::ipfix(&lab.inside, 4739);
    let mut document = with_exporters(two_vpcs(), &json!({ "nfdump": to_port(4739) }));
    for interface in ["blue0", "wan0"] {
        document["interfaces"][interface]["offload"] = json!(true);
    }
    lab.commit(&document);
    let sockets = udp_echoes(
        &lab.blue,
        "10.1.0.10:4000",
        &lab.internet,
        "198.51.100.1:53",
        1000,
        400,
    );
    let share = |lab: &Lab| lab.status()["offload"]["share_of_bytes"].as_f64();
    until("the card is asked what it has done", || {
        (share(&lab) > Some(90.0)).then_some(())
    });
    // Its rules are taken out of the card, which says the last of them.
    clear(&lab);
    let records = until_for(WRITTEN, "the connection is over", || {
        let records = collector.records();
        let mut events = events(&records).into_keys();
        events
            .any(|event| event.contains("BIB delete 17"))
            .then_some(records)
    });
    drop(sockets);
    let udp: Vec<_> = records.iter().filter(|r| r["proto"] == 17).collect();
    for direction in ["in", "out"] {
        let counted = ["packets", "bytes"]
            .map(|counter| sum(udp.iter().copied(), &format!("{direction}_{counter}")));
        assert_eq!(counted, [400, 400 * 1028], "{direction}");
    }
}
