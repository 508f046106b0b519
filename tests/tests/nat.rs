//! What the outside sees of the inside, and the inside of the outside.

use std::net::UdpSocket;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, PATIENCE, tcp_pair};
use serde_json::{Value, json};

#[test]
fn masquerade_shows_one_address_to_the_internet() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    for (host, port) in [
        (&lab.blue, "198.51.100.1:80"),
        (&lab.red, "198.51.100.1:81"),
    ] {
        host.ping("198.51.100.1", "-c 3 -i 0.1").assert_all();
        let mut tcp = tcp_pair(host, port, &lab.internet, port).expect("TCP goes out");
        assert_eq!(
            tcp.server
                .peer_addr()
                .expect("it is connected")
                .ip()
                .to_string(),
            "203.0.113.1"
        );
        tcp.talk(100_000);
    }
}

#[test]
fn ports_in_use_are_shown_and_measured() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut open = Vec::new();
    for port in 80..85 {
        let site = format!("198.51.100.1:{port}");
        open.push(tcp_pair(&lab.blue, &site, &lab.internet, &site).expect("TCP goes out"));
    }
    let shown: Value = serde_json::from_str(&lab.rewire(&["show", "nat", "wan0", "--json"]).good())
        .expect("it is JSON");
    let wan = &shown["result"]["shared"][0];
    assert_eq!(wan["rules"], json!(["blue-out", "red-out"]), "{shown}");
    let tcp = &wan["protocols"][0];
    assert_eq!(
        (&tcp["protocol"], &tcp["ports_in_use"]),
        (&json!("tcp"), &json!(5)),
        "{shown}"
    );
    let each = json!([{ "address": "203.0.113.1", "protocol": "tcp", "ports_in_use": 5 }]);
    assert_eq!(wan["in_use"], each, "{shown}");
    let metrics = lab.metrics();
    assert_eq!(
        metrics.labelled("rewire_nat_ports_in_use", "protocol", "tcp"),
        5.0
    );
    assert_eq!(
        metrics.labelled("rewire_nat_ports", "protocol", "udp"),
        64_512.0
    );
}

#[test]
fn udp_answers_find_back_to_the_one_who_asked() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let site = lab
        .internet
        .run(|| UdpSocket::bind("198.51.100.1:53"))
        .expect("a free port");
    site.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // Both from the same port: the masquerade has to tell them apart.
    let hosts = [
        (&lab.blue, "10.1.0.10:4000", *b"blue"),
        (&lab.red, "10.2.0.10:4000", *b"red_"),
    ];
    let asking = hosts.map(|(host, from, question)| {
        let socket = host.run(|| UdpSocket::bind(from)).expect("a free port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket
            .send_to(&question, "198.51.100.1:53")
            .expect("a route");
        (socket, question)
    });
    let mut buffer = [0; 4];
    let mut questions = Vec::new();
    for _ in &asking {
        let (_, from) = site.recv_from(&mut buffer).expect("both questions come");
        assert_eq!(from.ip().to_string(), "203.0.113.1");
        questions.push((buffer, from));
    }
    assert_ne!(questions[0].1.port(), questions[1].1.port());
    for (question, from) in questions {
        site.send_to(&question, from).expect("a route");
    }
    for (socket, question) in asking {
        let (_, from) = socket.recv_from(&mut buffer).expect("each answer comes");
        assert_eq!(
            (from.to_string().as_str(), buffer),
            ("198.51.100.1:53", question)
        );
    }
}

#[test]
fn a_port_forward_leads_in() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut tcp = tcp_pair(&lab.internet, "203.0.113.1:8080", &lab.blue, "10.1.0.10:80")
        .expect("TCP comes in");
    assert_eq!(
        tcp.server
            .peer_addr()
            .expect("it is connected")
            .ip()
            .to_string(),
        "203.0.113.2"
    );
    tcp.talk(100_000);
}

#[test]
fn a_static_translation_works_both_ways() {
    let mut document = two_vpcs();
    static_translation(&mut document, "203.0.113.40", "10.2.0.10");
    let Some(lab) = Lab::with(&document) else {
        return;
    };
    lab.internet
        .ping("203.0.113.40", "-c 3 -i 0.1")
        .assert_all();
    let mut inward =
        tcp_pair(&lab.internet, "203.0.113.40:80", &lab.red, "10.2.0.10:80").expect("TCP comes in");
    inward.talk(10_000);
    let mut outward = tcp_pair(
        &lab.red,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    assert_eq!(
        outward
            .server
            .peer_addr()
            .expect("it is connected")
            .ip()
            .to_string(),
        "203.0.113.40"
    );
    outward.talk(10_000);
}

fn static_translation(document: &mut Value, external: &str, internal: &str) {
    document["nat"]["static"]["mail"] = json!({
        "external_vpc": "internet", "external_address": external, "internal_vpc": "red", "internal_address": internal,
    });
}
