//! IPv4 datagrams in fragments between kernels, through NAT. The gateway's ports are tap interfaces that are moved to the hosts:
//! under af_packet ports, the kernel would put fragments together before the gateway sees them.

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, Namespace, udp_echo, until};

/// The demo's world with other cables, for blue and the internet.
fn lab() -> Option<Lab> {
    let mut lab = Lab::new()?;
    lab.start_gateway();
    let mut document = two_vpcs();
    document["interfaces"]["blue0"]["port"] = "tap:tap-blue".into();
    document["interfaces"]["wan0"]["port"] = "tap:tap-wan".into();
    lab.commit(&document);
    plug(&lab, "tap-blue", &lab.blue, "10.1.0.10/24");
    lab.blue.ip("route add default via 10.1.0.1");
    plug(&lab, "tap-wan", &lab.internet, "203.0.113.2/24");
    Some(lab)
}

/// Gives a tap interface of the gateway's to a host, in place of its cable.
fn plug(lab: &Lab, tap: &str, host: &Namespace, address: &str) {
    host.ip("address flush dev eth0");
    host.ip("link set eth0 down");
    lab.inside
        .ip(&format!("link set {tap} netns {}", host.name()));
    host.ip(&format!("address add {address} dev {tap}"));
    host.ip(&format!("link set {tap} up"));
}

#[test]
fn masqueraded_both_ways() {
    let Some(lab) = lab() else { return };
    lab.blue
        .ping("203.0.113.2", "-c 5 -i 0.1 -s 4000")
        .assert_all();
    udp_echo(
        &lab.blue,
        "10.1.0.10:4000",
        &lab.internet,
        "203.0.113.2:53",
        8000,
    );
    // Five pings of three fragments and a datagram of six, either way: they came as fragments.
    let fragments = || {
        lab.metrics()
            .labelled("rewire_node_packets_total", "node", "virtual_reassembly")
    };
    until("all of them are counted", || {
        (fragments() > f64::from(2 * (5 * 3 + 6)) - 0.5).then_some(())
    });
}
