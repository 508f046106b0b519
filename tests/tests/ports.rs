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

/// A link that is down and up again between two looks is not missed: neither those of whoever asks, nor the gateway's own.
#[test]
fn changes_of_a_link_are_counted() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let changes = || {
        let metrics = lab.metrics();
        metrics.labelled("rewire_interface_link_changes_total", "interface", "wan0")
    };
    let is_up = |wanted: bool| {
        until("the link is seen", || {
            (interface(&lab, "wan0")["link"] == wanted).then_some(())
        });
    };
    is_up(true);
    // A cable that was just laid may have come up a moment after the port was open.
    let before = changes();
    let mut watch = lab.start(&["watch", "events", "--interval", "2s", "--csv"]);
    until("it watches", || {
        let lines = watch.lines();
        lines
            .iter()
            .any(|line| line.contains("watching"))
            .then_some(())
    });
    lab.internet.ip("link set eth0 down");
    is_up(false);
    assert!(lab.rewire(&["status"]).good().contains("no link"));
    lab.internet.ip("link set eth0 up");
    is_up(true);
    assert_eq!(changes() - before, 2.0);
    // Two of one, or one of each kind, where a look came in between.
    until("both are told of", || {
        assert!(watch.is_running(), "{:?}", watch.lines());
        let lines = watch.lines();
        let links = lines
            .iter()
            .filter(|line| line.contains(",link_") && line.contains(",wan0,"));
        let fields: Vec<Vec<&str>> = links.map(|line| line.split(',').collect()).collect();
        let told: u64 = fields
            .iter()
            .filter_map(|fields| fields[9].parse::<u64>().ok())
            .sum();
        (told == 2).then(|| assert_eq!(fields.last().map(|fields| fields[1]), Some("link_up")))
    });
    // Within some milliseconds, several times.
    let before = changes();
    let flap = "for n in 1 2 3 4 5; do ip link set eth0 down; ip link set eth0 up; done";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", flap]);
    let flapped = lab.internet.run(|| shell.status());
    assert!(flapped.expect("a shell").success());
    until("all are counted", || {
        (changes() - before >= 10.0).then_some(())
    });
    is_up(true);
    assert_eq!(changes() - before, 10.0);
}
