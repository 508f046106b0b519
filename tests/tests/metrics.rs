//! What is counted adds up, and what is dropped has a name.

use rewire_tests::documents::{dead_end, two_vpcs};
use rewire_tests::{Lab, Metrics, tcp_pair, until};

/// The account that every packet is on: where it came from, less where it went. A packet that is being handled as the
/// counters are read is on neither side yet.
fn unaccounted(metrics: &Metrics) -> f64 {
    let came = metrics.sum("rewire_received_packets_total")
        + metrics.sum("rewire_generated_packets_total");
    let went = [
        "transmitted_packets_total",
        "dropped_packets_total",
        "consumed_packets_total",
        "held_packets",
    ];
    came - went
        .map(|name| metrics.sum(&format!("rewire_{name}")))
        .iter()
        .sum::<f64>()
}

#[test]
fn every_packet_is_accounted_for_and_every_drop_named() {
    let mut document = two_vpcs();
    dead_end(&mut document, "red", "blackhole");
    let Some(lab) = Lab::with(&document) else {
        return;
    };
    lab.blue.ping("198.51.100.1", "-c 5 -i 0.05").assert_all();
    lab.red
        .ping("198.51.100.1", "-c 4 -i 0.05 -W 1")
        .assert_lost();
    lab.blue
        .ping("10.2.0.10", "-c 2 -i 0.05 -W 1")
        .assert_refused("10.1.0.1", "Unreachable");
    lab.blue
        .ping("198.51.100.1", "-c 1 -W 1 -t 1")
        .assert_refused("10.1.0.1", "Time to live exceeded");
    let mut tcp = tcp_pair(
        &lab.blue,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    tcp.talk(200_000);
    drop(tcp);

    let metrics = until("the account is balanced", || {
        let metrics = lab.metrics();
        (unaccounted(&metrics) == 0.0).then_some(metrics)
    });
    let dropped = |reason| metrics.labelled("rewire_dropped_packets_total", "reason", reason);
    assert_eq!(dropped("route_blackhole"), 4.0);
    assert_eq!(dropped("route_unreachable"), 2.0);
    assert_eq!(dropped("ttl_expired"), 1.0);
    assert_eq!(dropped("ip_bad_checksum"), 0.0);
    assert_eq!(metrics.sum("rewire_revision"), 1.0);
    assert_eq!(metrics.sum("rewire_port_open"), 3.0);
    assert_eq!(metrics.sum("rewire_alarm"), 0.0);
    let live = metrics.labelled("rewire_commit_step_seconds_count", "step", "live");
    assert_eq!(live, 1.0, "revision 1 went live while the gateway ran");

    let status = lab.status();
    let red = |interface: &serde_json::Value| interface["name"] == "red0";
    let interfaces = status["interfaces"].as_array().expect("a list");
    let counters = &interfaces.iter().find(|i| red(i)).expect("red's")["counters"];
    assert!(
        counters["dropped_packets"].as_u64() >= Some(4),
        "{counters}"
    );
}
