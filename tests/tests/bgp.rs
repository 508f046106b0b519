//! Learned routes, from a real routing daemon: FRRouting beside the gateway speaks BGP with one in the internet, and the
//! gateway forwards by what it learns.

use std::time::Duration;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Frr, Lab, Namespace, assert_alike, recorded, until_for};
use serde_json::{Value, json};

/// The daemons' own timers: bgpd listens a while before it chooses, zebra tries every 3 s to connect.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blue has no default route: the way to the internet's networks is learned.
fn document() -> Value {
    let mut document = two_vpcs();
    let routes = document["vpcs"]["blue"]["routes"].as_object_mut();
    routes.expect("blue has routes").remove("0.0.0.0/0");
    // The next hop of what is learned is on a link of the VPC that learns it.
    document["interfaces"]["wan0"]["vpc"] = json!("blue");
    document["interfaces"]["red0"]["vpc"] = json!("red");
    document["vpcs"]["red"]["routes"] = json!({});
    document["nat"] = json!({});
    document["route_sources"] = json!({
        "frr": { "listen": "127.0.0.1:2620", "vpcs": { "blue": { "table": 254 } } }
    });
    document
}

/// The daemon beside the gateway, with an address of its own on the gateway's link and the configuration of docs/bgp.md, word for
/// word.
fn beside(lab: &Lab) -> Frr<'_> {
    lab.inside.ip("address add 203.0.113.3/24 dev rw-wan");
    let page = include_str!("../../docs/bgp.md");
    let (_, rest) = page
        .split_once("`/etc/frr/frr.conf`")
        .expect("the page has it");
    let block = rest.lines().skip_while(|line| !line.starts_with("    "));
    let block: Vec<&str> = block.map_while(|line| line.strip_prefix("    ")).collect();
    assert_eq!(block.len(), 10, "BGP in ten lines: {block:#?}");
    let (zebra, bgpd) = block.into_iter().partition(|line| line.starts_with("fpm"));
    Frr::start(&lab.inside, zebra, bgpd)
}

fn internet(host: &Namespace) -> Frr<'_> {
    let bgpd = [
        "router bgp 65002",
        "no bgp ebgp-requires-policy",
        "no bgp network import-check",
        "neighbor 203.0.113.3 remote-as 65001",
        "neighbor 203.0.113.3 timers connect 1",
        "address-family ipv4 unicast",
        "network 198.51.100.0/24",
    ];
    Frr::start(host, Vec::new(), bgpd.into())
}

fn routes(lab: &Lab) -> Vec<Value> {
    let text = lab.rewire(&["show", "routes", "blue", "--json"]).good();
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let routes = answer["result"]["routes"].as_array();
    let learned = routes.expect("routes").iter();
    learned
        .filter(|route| route["owner"] == "learned")
        .cloned()
        .collect()
}

/// Whether the one learned route is there, and said anew or not.
fn wait_for_route(lab: &Lab, is_stale: bool) {
    until_for(PATIENCE, "the route is learned", || {
        let routes = routes(lab);
        let is_it = |route: &Value| {
            route["prefix"] == "198.51.100.0/24"
                && route["selected"] == true
                && route["stale"] == is_stale
        };
        routes.iter().any(is_it).then_some(())
    });
}

fn lab() -> Option<Lab> {
    if !Frr::is_installed() {
        return None;
    }
    Lab::with(&document())
}

#[test]
fn what_bgp_announces_is_forwarded_and_what_it_withdraws_is_not() {
    let Some(lab) = lab() else { return };
    // The way back is learned, too, by the other end.
    lab.internet.ip("route del 10.1.0.0/24");
    let far = internet(&lab.internet);
    let _near = beside(&lab);
    wait_for_route(&lab, false);
    until_for(PATIENCE, "the way back is learned", || {
        let ping = lab.blue.ping("198.51.100.1", "-c 1 -W 1");
        (!ping.answered.is_empty()).then_some(())
    });
    lab.blue.ping("198.51.100.1", "-c 3 -i 0.1").assert_all();
    let shown = lab
        .rewire(&["show", "routes", "blue", "198.51.100.1"])
        .good();
    let line = shown.lines().find(|line| line.contains("frr bgp"));
    let words: Vec<&str> = line.expect("it is shown").split_whitespace().collect();
    let expected = [
        "*",
        "blue",
        "198.51.100.0/24",
        "frr",
        "bgp",
        "20",
        "203.0.113.2",
        "by",
        "wan0",
    ];
    assert_eq!(words[..9], expected);

    let explained = lab
        .rewire(&["explain", "route", "blue", "198.51.100.1"])
        .good();
    let line = "learned route 198.51.100.0/24 of blue: from frr by bgp, distance 20, for ";
    assert!(explained.contains(line), "{explained}");
    assert!(
        explained.contains("to 203.0.113.2 by wan0; packets follow it\n"),
        "{explained}"
    );

    // A static route of a lower distance goes before it, and a later one behind it: the commit says which.
    let mut document = document();
    document["vpcs"]["blue"]["routes"]["198.51.100.0/24"] = json!({ "type": "unreachable" });
    lab.commit(&document);
    lab.blue
        .ping("198.51.100.1", "-c 2 -i 0.1 -W 1")
        .assert_refused("10.1.0.1", "Unreachable");
    document["vpcs"]["blue"]["routes"]["198.51.100.0/24"]["distance"] = json!(30);
    lab.commit(&document);
    lab.blue.ping("198.51.100.1", "-c 3 -i 0.1").assert_all();
    lab.commit(&self::document());

    far.configure(&[
        "router bgp 65002",
        "address-family ipv4 unicast",
        "no network 198.51.100.0/24",
    ]);
    until_for(PATIENCE, "the route is withdrawn", || {
        routes(&lab).is_empty().then_some(())
    });
    lab.blue
        .ping("198.51.100.1", "-c 2 -i 0.1 -W 1")
        .assert_refused("10.1.0.1", "Unreachable");

    let status = lab.status();
    let source = &status["route_sources"][0];
    assert_eq!(
        (&source["connected"], &source["routes"]),
        (&json!(true), &json!(0))
    );
    let metrics = lab.metrics();
    let messages = metrics.labelled("rewire_route_source_messages_total", "source", "frr");
    assert_eq!(Some(messages), source["messages"].as_f64());
}

#[test]
fn a_daemon_that_is_killed_and_comes_back_costs_no_packet() {
    let Some(lab) = lab() else { return };
    let _far = internet(&lab.internet);
    let mut near = beside(&lab);
    wait_for_route(&lab, false);
    let ping = lab.blue.keep_pinging("198.51.100.1");
    ping.wait_for(10);
    near.kill();
    wait_for_route(&lab, true);
    ping.wait_for(10);
    // Neither does a commit meanwhile.
    let mut other = document();
    other["vpcs"]["blue"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    lab.commit(&other);
    ping.wait_for(10);
    near.start_again();
    wait_for_route(&lab, false);
    ping.wait_for(10);
    ping.stop().assert_all();
    let sessions = &lab.status()["route_sources"][0]["sessions"];
    assert_eq!(sessions, &json!(2));
}

/// A source that is no longer configured takes its routes along, at once.
#[test]
fn a_source_that_goes_takes_its_routes_along() {
    let Some(lab) = lab() else { return };
    let _far = internet(&lab.internet);
    let _near = beside(&lab);
    wait_for_route(&lab, false);
    let mut document = document();
    document["route_sources"] = json!({});
    lab.commit(&document);
    assert_eq!(routes(&lab), Vec::<Value>::new());
    // It comes back with all that its daemon knows: the daemon tries again by itself.
    lab.commit(&self::document());
    wait_for_route(&lab, false);
    lab.blue.ping("198.51.100.1", "-c 3 -i 0.1").assert_all();
}

/// What was learned before a recording, what is withdrawn in the middle, and what comes again: between commits that change the
/// configuration's route of the same prefix.
#[test]
fn a_recording_replays_what_was_learned_when_it_was() {
    if !Frr::is_installed() {
        return;
    }
    let Some(mut lab) = Lab::new() else { return };
    lab.start_gateway_with(&["--workers", "1"]);
    lab.commit(&document());
    let far = internet(&lab.internet);
    let _near = beside(&lab);
    wait_for_route(&lab, false);
    lab.blue.ping("198.51.100.1", "-c 1 -W 2");
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("recording");

    let recording = lab.record(&folder);
    let goes = || {
        lab.blue
            .ping("198.51.100.1", "-c 3 -i 0.1 -W 2")
            .assert_all()
    };
    let is_refused = || {
        let ping = lab.blue.ping("198.51.100.1", "-c 1 -W 1");
        ping.assert_refused("10.1.0.1", "Unreachable");
    };
    goes();
    let mut document = document();
    document["vpcs"]["blue"]["routes"]["198.51.100.0/24"] = json!({ "type": "unreachable" });
    lab.commit(&document);
    is_refused();
    document["vpcs"]["blue"]["routes"]["198.51.100.0/24"]["distance"] = json!(30);
    lab.commit(&document);
    goes();
    let network = |word: &str| {
        let line = format!("{word} 198.51.100.0/24");
        far.configure(&["router bgp 65002", "address-family ipv4 unicast", &line]);
    };
    network("no network");
    until_for(PATIENCE, "the route is withdrawn", || {
        routes(&lab).is_empty().then_some(())
    });
    is_refused();
    network("network");
    wait_for_route(&lab, false);
    goes();
    let said = recorded(recording);
    assert!(
        said.contains(" from routing daemons, 1 learned route in the end"),
        "{said}"
    );

    let report = lab.replayed(&folder);
    assert_alike(&report, 20);
    let heard = std::fs::read_to_string(folder.join("routes.jsonl")).expect("it is there");
    let heard: Vec<Value> = heard
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let recording = &report["bundle"]["recording"];
    assert_eq!(recording["heard_routes"], heard.len());
    assert!(
        heard[0]["at_ns"].as_u64() <= recording["from_ns"].as_u64(),
        "{}",
        heard[0]
    );
    let withdrawn = heard.iter().any(|line| {
        line["update"]["remove_route"]["prefix"] == "198.51.100.0/24" && line["revision"] == 3
    });
    assert!(withdrawn, "{heard:#?}");
    assert_eq!(report, lab.replayed(&folder), "to the byte");
}
