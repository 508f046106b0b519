//! Ports that are not there, come late, or go.

use rewire_tests::documents::{remove, two_vpcs};
use rewire_tests::{Lab, until};
use serde_json::Value;

/// The interface's part of the gateway's status.
fn interface(lab: &Lab, name: &str) -> Value {
    let status = lab.status();
    let interfaces = status["interfaces"].as_array().expect("a list");
    interfaces
        .iter()
        .find(|interface| interface["name"] == name)
        .expect("it is configured")
        .clone()
}

#[test]
fn a_port_that_cannot_be_opened_is_shown_and_the_others_work() {
    let Some(mut lab) = Lab::new() else { return };
    lab.inside.ip("link set rw-red name not-yet");
    lab.start_gateway();
    let said = lab.commit(&two_vpcs());
    assert!(said.contains("revision 1 live"), "{said}");
    let red = interface(&lab, "red0");
    assert_eq!(red["open"], false);
    let problem = red["problem"].as_str().expect("it says why");
    assert!(problem.contains("rw-red"), "{problem}");
    let text = lab.rewire(&["status"]).good();
    assert!(text.contains(problem), "people are told, too:\n{text}");
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
    assert_eq!(interface(&lab, "blue0")["open"], true);

    // It is tried again, without a commit.
    lab.inside.ip("link set not-yet down");
    lab.inside.ip("link set not-yet name rw-red up");
    until("the port is open", || {
        (interface(&lab, "red0")["open"] == true).then_some(())
    });
    lab.red.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
}

#[test]
fn commits_open_and_close_ports_under_traffic_of_others() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut without_red = two_vpcs();
    remove(&mut without_red["vpcs"], "red");
    remove(&mut without_red["interfaces"], "red0");
    remove(&mut without_red["nat"]["masquerade"], "red-out");
    let ping = lab.blue.keep_pinging("198.51.100.1");
    for _ in 0..2 {
        ping.wait_for(5);
        lab.commit(&without_red);
        assert_eq!(lab.status()["interfaces"].as_array().map(Vec::len), Some(2));
        let silence = lab.red.ping("10.2.0.1", "-c 1 -W 1");
        assert!(silence.answered.is_empty(), "{}", silence.output);
        lab.commit(&two_vpcs());
        lab.red.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
    }
    ping.wait_for(5);
    ping.stop().assert_all();
}

#[test]
fn an_interface_may_change_its_mac_and_address() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.blue.ping("10.1.0.1", "-c 1").assert_all();
    let mut document = two_vpcs();
    let blue = &mut document["interfaces"]["blue0"];
    blue["mac"] = "02:00:00:00:09:09".into();
    blue["addresses"] = vec!["10.1.0.254/24"].into();
    lab.commit(&document);
    lab.blue.ping("10.1.0.254", "-c 2 -i 0.1").assert_all();
    let gone = lab.blue.ping("10.1.0.1", "-c 1 -W 1");
    assert!(gone.answered.is_empty(), "{}", gone.output);
}
