//! Connections that the fast path begins at once, where what it has foreseen does not hold, or holds for their neighbors in the burst alone: they
//! become what the nodes make of them, and have the external address that the policy says.

mod support;

use std::net::Ipv4Addr;

use rewire_dataplane::GatewayConfig;
use rewire_dataplane::graph::Node;
use serde_json::{Value, json};
use support::traffic::connections;
use support::*;

const HOSTS: [Ipv4Addr; 2] = [HOST, Ipv4Addr::new(10, 1, 0, 11)];
const EXTERNAL: [Ipv4Addr; 2] = [
    Ipv4Addr::new(203, 0, 113, 50),
    Ipv4Addr::new(203, 0, 113, 51),
];

/// Two hosts behind masquerades: each rule a name, the place of its external address, and what else it says.
fn document(rules: &[(&str, usize, Value)], forwarded: Option<u16>) -> Value {
    let mut document = two_vpcs();
    let pool = |address: Ipv4Addr| json!({ "vpc": "internet", "ranges": [format!("{address}")] });
    let rules = rules.iter().map(|(name, place, more)| {
        let mut rule = json!({ "vpc": "blue", "interface": "wan", "pool": format!("pool{place}") });
        for (key, value) in more.as_object().expect("an object") {
            rule[key] = value.clone();
        }
        ((*name).to_owned(), rule)
    });
    document["nat"] = json!({
        "pools": { "pool0": pool(EXTERNAL[0]), "pool1": pool(EXTERNAL[1]) },
        "masquerade": rules.collect::<serde_json::Map<_, _>>(),
    });
    if let Some(port) = forwarded {
        document["nat"]["port_forward"] = json!({ "web": {
            "protocol": "udp",
            "external_vpc": "internet", "external_address": EXTERNAL[0], "external_port": port,
            "internal_vpc": "blue", "internal_address": "10.1.0.20", "internal_port": 80,
        } });
    }
    document
}

fn sources(hosts: &[Ipv4Addr]) -> Value {
    json!({ "sources": hosts.iter().map(|host| format!("{host}/32")).collect::<Vec<_>>() })
}

/// A gateway with the fast path, and one without.
struct Both {
    labs: [Lab; 2],
    packets: u64,
}

impl Both {
    fn new(document: &Value) -> Both {
        let labs = [true, false].map(|fast_path| {
            let config = GatewayConfig {
                fast_path,
                ..GatewayConfig::default()
            };
            Lab::with(document.clone(), config)
        });
        Both { labs, packets: 0 }
    }

    fn commit(&mut self, document: &Value) {
        for lab in &mut self.labs {
            lab.commit(document.clone());
        }
    }

    /// What the sources become of first packets in one burst, each a host's place and its port: the place of the address, and the port.
    fn burst(&mut self, senders: &[(usize, u16)]) -> Vec<(usize, u16)> {
        let frames = senders
            .iter()
            .map(|(host, port)| ("blue0", udp((HOSTS[*host], *port), (SITE, 53), 4).frame()));
        let frames: Vec<_> = frames.collect();
        let [quick, long] = &mut self.labs;
        let sent = quick.burst(frames.clone());
        assert_eq!(sent, long.burst(frames));
        self.packets += senders.len() as u64;
        let taken = self.labs.each_ref().map(|lab| {
            let nodes = lab.gateway.totals().nodes;
            nodes[Node::FastPath as usize].packets
        });
        assert_eq!(taken, [self.packets, 0]);
        let ends = sent.iter().map(|sent| {
            let there = Ip::of(&sent.frame);
            let place = EXTERNAL.iter().position(|own| *own == there.source);
            (place.expect("a pool's address"), there.ports().0)
        });
        ends.collect()
    }
}

/// Two hosts take turns in one burst, and each has its rule's address: also once the rules have changed, so that what a host had is not its rule's any
/// more, although it is that of the one before.
#[test]
fn each_has_the_address_of_its_own_rule() {
    let apart = [
        ("a", 0, sources(&HOSTS[..1])),
        ("b", 1, sources(&HOSTS[1..])),
    ];
    let together = [("all", 0, sources(&HOSTS))];
    let mut both = Both::new(&document(&apart, None));
    // What hosts have is foreseen of those that are known.
    both.burst(&[(0, 4000), (1, 4001)]);
    for (rules, port, expected) in [
        (None, 4010, [0, 1, 0, 1, 0, 1]),
        (Some(&together[..]), 4100, [0; 6]),
        (Some(&apart[..]), 4200, [0, 1, 0, 1, 0, 1]),
    ] {
        if let Some(rules) = rules {
            both.commit(&document(rules, None));
        }
        let senders: Vec<_> = (0..6).map(|n| (usize::from(n % 2), port + n)).collect();
        let places: Vec<_> = both.burst(&senders).iter().map(|end| end.0).collect();
        assert_eq!(places, expected, "from port {port} on");
    }
}

/// A rule that is for some ports alone comes before one for all.
#[test]
fn a_condition_is_asked_of_each_packet() {
    let some =
        json!({ "sources": ["10.1.0.10/32"], "protocol": "udp", "source_port": "4100-4101" });
    let rules = [
        ("a-some", 1, some),
        ("b-all", 0, json!({ "sources": ["10.1.0.0/24"] })),
    ];
    let mut both = Both::new(&document(&rules, None));
    assert_eq!(both.burst(&[(0, 4000)]), [(0, 4000)]);
    let ends = both.burst(&[(0, 4099), (0, 4100), (0, 4101), (0, 4102)]);
    assert_eq!(ends, [(0, 4099), (1, 4100), (1, 4101), (0, 4102)]);
}

/// A port that is forwarded is nobody's own, and not the next one of who cannot have its own, either.
#[test]
fn a_port_that_is_forwarded_is_not_given_out() {
    let rules = [("all", 0, sources(&HOSTS))];
    let next_of = |forwarded| {
        let mut both = Both::new(&document(&rules, forwarded));
        // What the second host wants besides is the first one's.
        assert_eq!(both.burst(&[(0, 4000), (1, 4001)]), [(0, 4000), (0, 4001)]);
        both.burst(&[(1, 4000)])[0].1
    };
    let next = next_of(None);
    assert_ne!(next, 4000);
    assert_eq!(next_of(Some(next)), next + 1);

    let mut both = Both::new(&document(&rules, Some(4300)));
    both.burst(&[(0, 4000)]);
    let [(0, other), (0, 4301)] = both.burst(&[(0, 4300), (0, 4301)])[..] else {
        panic!("on the first address");
    };
    assert_ne!(other, 4300);
}

/// A packet that is led elsewhere, and leaves by the masquerade's interface for there.
#[test]
fn what_is_led_elsewhere_goes_there() {
    let mut document = document(&[("all", 0, sources(&HOSTS))], None);
    document["nat"]["port_forward"] = json!({ "site": {
        "protocol": "udp",
        "external_vpc": "blue", "external_address": "10.1.0.100", "external_port": 8080,
        "internal_vpc": "internet", "internal_address": SITE, "internal_port": 53,
    } });
    let mut both = Both::new(&document);
    both.burst(&[(0, 4000)]);
    let led = udp((HOST, 4001), (Ipv4Addr::new(10, 1, 0, 100), 8080), 4).frame();
    let [quick, long] = both
        .labs
        .each_mut()
        .map(|lab| lab.burst([("blue0", led.clone())]));
    assert_eq!(quick, long);
    let there = Ip::of(&quick[0].frame);
    assert_eq!((there.source, there.destination), (EXTERNAL[0], SITE));
    assert_eq!(there.ports(), (4001, 53));
    let nodes = both.labs[0].gateway.totals().nodes;
    assert_eq!(nodes[Node::FastPath as usize].packets, 2);
    let [quick, long] = both.labs.each_ref().map(connections);
    assert_eq!(quick, long);
}
