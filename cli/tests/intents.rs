//! Intents gate every commit: what breaks one is refused, with a packet that shows it.

mod session;

use session::{Session, assert_transcript};

const NETWORK: &str = "
interfaces:
  lan: {vpc: blue, port: 'null:lan', mac: '02:00:00:00:00:01', addresses: [10.1.0.1/24]}
  srv: {vpc: red, port: 'null:srv', mac: '02:00:00:00:00:02', addresses: [10.2.0.1/24]}
intents:
  apart: {from: blue, to: red, reach: never, destination: 10.2.0.128/25}
  web: {from: blue, to: red, reach: always, source: 10.1.0.0/24, destination: 10.2.0.80, protocol: tcp, destination_port: 80}
";

#[test]
fn a_commit_that_breaks_an_intent_is_refused_with_a_packet_that_shows_it() {
    let mut s = Session::new();
    s.quietly(&["init"]);
    let leak = |prefix: &str| {
        format!(
            "vpcs: {{blue: {{routes: {{{prefix}: {{type: vpc, to_vpc: red}}}}}}, red: {{}}}}\n{NETWORK}"
        )
    };
    s.write("good.yaml", &leak("10.2.0.0/25"));
    s.quietly(&["commit", "--load", "good.yaml", "-m", "good"]);
    s.write("wide.yaml", &leak("10.2.0.0/24"));
    s.rewire(&["check", "wide.yaml"]);
    s.rewire(&["commit", "--load", "wide.yaml", "-m", "too wide"]);
    s.rewire(&["set", "vpcs.blue.routes.10.2.0.64/26.type", "blackhole"]);
    s.rewire(&["check"]);
    s.rewire(&["check", "--full"]);
    s.rewire(&["commit", "-m", "too narrow"]);
    s.rewire(&["discard"]);
    // What has nothing to do with who gets where proves nothing anew, and what is deactivated binds nobody.
    s.rewire(&[
        "set",
        "interfaces.lan.neighbors.10.1.0.9.mac",
        "02:00:00:00:00:09",
    ]);
    s.rewire(&["commit", "-m", "a neighbor"]);
    s.rewire(&["deactivate", "intents.web"]);
    s.rewire(&["set", "vpcs.blue.routes.10.2.0.64/26.type", "blackhole"]);
    s.rewire(&["commit", "-m", "no web any more"]);
    s.rewire(&["log", "-n", "1"]);
    assert_transcript!(s);
}
