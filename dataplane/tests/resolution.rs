//! After a change of policy every connection is what the new policy makes of it, whether its packets come or not (law 6).

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use rewire_conntrack::{Admission, Connections, Flow, FlowKey};
use rewire_dataplane::{Change, GatewayConfig, Resolved};
use rewire_packet::tcp::TcpFlags;
use rewire_tables::{Address, Route, TableOperation};
use support::*;

/// A policy of which every part can be another.
#[derive(Clone, Debug)]
struct Policy {
    /// Where the port forward leads; nowhere if it is not there.
    forward: Option<u16>,
    /// The external port of a second forward, of UDP: perhaps one that a connection is translated to.
    second: Option<u16>,
    /// The address that blue is hidden behind, if it is.
    masquerade: Option<u8>,
    mail: bool,
    route: &'static str,
    /// What an ACL denies: a protocol and the first of the source ports. Of every packet, or of the first ones.
    deny: Option<(&'static str, u16, bool)>,
}

fn policy() -> impl Strategy<Value = Policy> {
    let often = prop::bool::weighted(0.7);
    (
        prop::option::weighted(0.7, prop_oneof![3 => Just(80_u16), 1 => Just(81)]),
        prop::option::weighted(0.3, 4000..4006_u16),
        prop::option::weighted(0.8, prop_oneof![4 => Just(1_u8), 1 => Just(64)]),
        often,
        prop_oneof![4 => Just("wan"), 1 => Just("blackhole"), 1 => Just("red")],
        prop::option::weighted(
            0.4,
            (
                prop_oneof![Just("udp"), Just("tcp")],
                4000..4006_u16,
                any::<bool>(),
            ),
        ),
    )
        .prop_map(|(forward, second, masquerade, mail, route, deny)| Policy {
            forward,
            second,
            masquerade,
            mail,
            route,
            deny,
        })
}

impl Policy {
    fn document(&self) -> serde_json::Value {
        let mut document = two_vpcs();
        let forwards = document["nat"]["port_forward"].as_object_mut().unwrap();
        match self.forward {
            Some(port) => {
                for name in ["web", "web6"] {
                    forwards[name]["internal_port"] = json!(port);
                }
            }
            None => forwards.clear(),
        }
        if let Some(port) = self.second {
            forwards.insert("second".to_owned(), json!({
                "protocol": "udp",
                "external_vpc": "internet", "external_address": "203.0.113.1", "external_port": port,
                "internal_vpc": "blue", "internal_address": "10.1.0.77", "internal_port": 9,
            }));
        }
        match self.masquerade {
            None => document["nat"]["masquerade"] = json!({}),
            Some(1) => {}
            Some(host) => {
                let ranges = json!([format!("203.0.113.{host}"), format!("2001:db8:f::{host:x}")]);
                document["nat"]["pools"]["public"] = json!({ "vpc": "internet", "ranges": ranges });
                document["nat"]["masquerade"]["blue-out"]["pool"] = json!("public");
            }
        }
        if !self.mail {
            document["nat"]["static"] = json!({});
        }
        let routes = &mut document["vpcs"]["blue"]["routes"];
        match self.route {
            "blackhole" => routes["198.51.100.0/25"] = json!({ "type": "blackhole" }),
            "red" => routes["198.51.100.0/25"] = json!({ "next_hops": [{ "interface": "red0" }] }),
            _ => {}
        }
        if let Some((protocol, port, each)) = self.deny {
            document["acls"] = json!({ "guard": { "default": "allow", "rules": { "10": {
                "action": "deny", "scope": if each { "packet" } else { "flow" },
                "protocol": protocol, "source_port": format!("{port}-4010"),
            } } } });
            document["interfaces"]["blue0"]["acl_in"] = json!("guard");
        }
        document
    }

    /// Whether this external endpoint is a forward's.
    fn forwards(&self, protocol: u8, address: u128, port: u16) -> bool {
        let second = self.second == Some(port) && protocol == 17;
        let web = self.forward.is_some() && port == 8080 && protocol == 6;
        address == u128::from(u32::from(WAN)) && (second || web)
    }
}

/// The first packets of connections, one each, of hosts inside and outside.
fn opening() -> Vec<(&'static str, Vec<u8>)> {
    let mut frames = Vec::new();
    let server = Ipv4Addr::new(10, 1, 0, 20);
    let mail = Ipv4Addr::new(203, 0, 113, 9);
    for port in 4000..4006 {
        frames.push(("blue0", udp((HOST, port), (SITE, 53), 0).frame()));
        frames.push((
            "blue0",
            tcp((HOST, port), (SITE, 54), TcpFlags::SYN).frame(),
        ));
        frames.push(("blue0", echo(HOST, SITE, port).frame()));
        frames.push(("blue0", udp((server, port), (SITE, 55), 0).frame()));
        frames.push(("wan", tcp((SITE, port), (WAN, 8080), TcpFlags::SYN).frame()));
        frames.push(("wan", udp((SITE, port), (mail, 25), 0).frame()));
        frames.push((
            "blue0",
            v6::udp((v6::HOST, port), (v6::SITE, 53), 0).frame(),
        ));
        frames.push((
            "wan",
            v6::tcp((v6::SITE, port), (v6::WAN, 8080), TcpFlags::SYN).frame(),
        ));
    }
    frames
}

/// What a policy decides about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decided<A> {
    reply: FlowKey<A>,
    route_vpc: u16,
    is_mapped: bool,
    admission: Admission,
}

type Key = String;

fn flows<A: Address + Debug>(connections: &Connections<A>) -> BTreeMap<Key, Decided<A>> {
    let decided = |flow: Flow<A>| Decided {
        reply: flow.reply,
        route_vpc: flow.route_vpc.0,
        is_mapped: flow.is_mapped,
        admission: flow.admission,
    };
    let flows = connections.iter();
    flows
        .map(|(_, flow)| (format!("{:?}", flow.original), decided(flow)))
        .collect()
}

/// Whether a connection may stay as it is, where a gateway that begins with this policy makes it so: another port of the same
/// address is as good, if no forward has this one.
fn may_stay<A: Address>(policy: &Policy, old: &Decided<A>, fresh: Option<&Decided<A>>) -> bool {
    let Some(fresh) = fresh else { return false };
    let (address, port) = (old.reply.destination, old.reply.destination_port);
    let is_taken = policy.forwards(old.reply.protocol, address.to_number(), port);
    let mut translated = fresh.clone();
    if fresh.is_mapped && old.is_mapped {
        if is_taken || fresh.reply.destination != address {
            return false;
        }
        translated.reply.destination_port = port;
        if old.reply.protocol == 1 {
            // An identifier is both ports.
            translated.reply.source_port = port;
        }
    }
    translated == *old
}

fn check<A: Address + Debug>(
    policy: &Policy,
    [before, fresh, swept, asked]: [&Connections<A>; 4],
) -> (u64, u64) {
    let [before, fresh, swept, asked] = [before, fresh, swept, asked].map(flows);
    let (mut kept, mut ended) = (0, 0);
    for (key, old) in before {
        // How it was let in is noted anew; all else must be as it was.
        let admission = fresh
            .get(&key)
            .map_or(old.admission, |fresh| fresh.admission);
        let expected = Decided { admission, ..old };
        if may_stay(policy, &expected, fresh.get(&key)) {
            kept += 1;
            assert_eq!(swept.get(&key), Some(&expected), "{key}");
            assert_eq!(asked.get(&key), Some(&expected), "{key}");
        } else {
            ended += 1;
            assert_eq!(swept.get(&key), None, "{key}");
        }
    }
    assert_eq!(swept.len() as u64, kept);
    (kept, ended)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_connection_is_what_the_new_policy_makes_of_it(old in policy(), new in policy()) {
        // Another revision of the same policy resolves nothing.
        prop_assume!(old.document() != new.document());
        let [mut before, mut fresh, mut swept, mut asked] = [&old, &new, &old, &old]
            .map(|policy| Lab::with(policy.document(), GatewayConfig::default()));
        for lab in [&mut before, &mut fresh, &mut swept, &mut asked] {
            lab.burst(opening());
        }
        for lab in [&mut swept, &mut asked] {
            lab.commit(new.document());
        }
        // The packets of all connections, before the sweep has begun.
        asked.burst(opening());
        let mut steps = 0;
        while swept.resolved().left > 0 || steps == 0 {
            swept.burst([]);
            steps += 1;
            prop_assert!(steps < 10, "a few steps are enough for a few connections");
        }
        let labs = [&before, &fresh, &swept, &asked].map(|lab| lab.gateway.graph());
        let four = check(&new, labs.map(|graph| graph.connections4()));
        let six = check(&new, labs.map(|graph| graph.connections6()));
        let expected = Resolved { kept: four.0 + six.0, ended: four.1 + six.1, left: 0, ..Resolved::default() };
        prop_assert_eq!(swept.resolved(), expected);
        asked.burst([]);
        prop_assert_eq!(asked.resolved(), expected);
    }
}

fn many(number: u16) -> Vec<(&'static str, Vec<u8>)> {
    let datagram = |port| ("blue0", udp((HOST, 2000 + port), (SITE, 53), 0).frame());
    (0..number).map(datagram).collect()
}

fn without_forwards() -> serde_json::Value {
    let mut document = two_vpcs();
    document["nat"]["port_forward"] = json!({});
    document
}

#[test]
fn the_sweep_does_a_little_in_each_burst_and_counts_each_connection_once() {
    let mut lab = Lab::new(two_vpcs());
    lab.burst(many(300));
    lab.commit(without_forwards());
    assert_eq!(lab.resolved().left, 300, "it has not begun");
    // The last ones are asked for by their packets.
    let last = || many(300).split_off(290);
    lab.burst(last());
    let resolved = lab.resolved();
    assert!((10..20).contains(&resolved.kept), "{resolved:?}");
    assert!((280..300).contains(&resolved.left), "{resolved:?}");
    let mut steps = 0;
    while lab.resolved().left > 0 {
        lab.burst(last());
        steps += 1;
        assert!(steps < 300);
    }
    assert!(steps > 50, "{steps}: no burst waits long for it");
    let expected = Resolved {
        kept: 300,
        ended: 0,
        left: 0,
        ..Resolved::default()
    };
    assert_eq!(lab.resolved(), expected);
    assert_eq!(lab.gateway.totals().connections_kept, 300);
}

#[test]
fn changes_that_do_not_end_keep_it_from_nothing() {
    let mut lab = Lab::new(two_vpcs());
    lab.burst(many(300));
    let blue = lab
        .gateway
        .graph()
        .connections4()
        .iter()
        .next()
        .unwrap()
        .1
        .original
        .vpc;
    lab.commit(without_forwards());
    let packet = || many(1);
    let mut steps = 0;
    while lab.resolved().left > 0 || steps == 0 {
        // A route comes in from a daemon, and with it a generation.
        lab.gateway.apply(Change {
            operations: vec![TableOperation::SetRoute {
                vpc: blue,
                prefix: "172.16.0.0/12".parse().unwrap(),
                route: Route::Blackhole,
            }],
            ..Change::default()
        });
        lab.burst(packet());
        steps += 1;
        assert!(steps < 200, "{:?}", lab.resolved());
    }
    // One has had all of the packets, and is resolved under each generation: it is counted once.
    let resolved = lab.resolved();
    assert_eq!((resolved.kept, resolved.ended), (300, 0));
    assert!(lab.gateway.totals().connections_kept > 300);
}

#[test]
fn connections_end_although_none_of_their_packets_comes() {
    let mut lab = Lab::new(two_vpcs());
    lab.burst(many(40));
    let mut document = two_vpcs();
    document["vpcs"]["blue"]["routes"]["0.0.0.0/0"] = json!({ "type": "blackhole" });
    lab.commit(document);
    lab.burst([]);
    let expected = Resolved {
        kept: 0,
        ended: 40,
        left: 0,
        ..Resolved::default()
    };
    assert_eq!(lab.resolved(), expected);
    assert_eq!(
        (
            lab.gateway.totals().connections,
            lab.gateway.totals().mappings
        ),
        (0, 0)
    );
    // A commit that says the same in other words has nothing to say about connections.
    lab.burst(many(1));
    let mut described = two_vpcs();
    described["vpcs"]["blue"]["description"] = json!("the first");
    lab.commit(two_vpcs());
    lab.burst(many(40));
    let kept = lab.gateway.totals().connections_kept;
    lab.commit(described);
    lab.burst([]);
    assert_eq!(lab.gateway.totals().connections_kept, kept);
}
