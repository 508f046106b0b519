//! NAT64 between two kernels: a client that has IPv6 alone, and a server that has IPv4 alone.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use rewire_tests::documents::{push, two_vpcs};
use rewire_tests::{Lab, PATIENCE, tcp_pair};
use serde_json::{Value, json};

/// Stands for 198.51.100.1.
const SITE: &str = "2001:db8:64::198.51.100.1";
/// The external address of all clients.
const EXTERNAL: &str = "203.0.113.64";

fn document() -> Value {
    let mut document = two_vpcs();
    push(
        &mut document["interfaces"]["blue0"]["addresses"],
        "fd00:1::1/64",
    );
    document["vpcs"]["internet"]["routes"]["198.51.100.0/24"] =
        json!({ "next_hops": [{ "interface": "wan0", "via": "203.0.113.2" }] });
    document["nat"]["pools"] = json!({
        "clients": { "vpc": "internet", "ranges": [EXTERNAL] },
    });
    document["nat"]["nat64"] = json!({
        "clients": { "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "clients" },
    });
    document
}

/// Takes IPv4 from the client, and gives it IPv6.
fn lab(document: &Value) -> Option<Lab> {
    let lab = Lab::with(document)?;
    let client = &lab.blue;
    client.set("ipv6/conf/eth0/accept_ra", "0");
    client.set("ipv6/conf/eth0/disable_ipv6", "0");
    client.ip("-4 address flush dev eth0");
    // Good at once: nobody else can have it.
    client.ip("address add fd00:1::10/64 dev eth0 nodad");
    client.ip("-6 route add default via fd00:1::1");
    lab.internet.set("ipv6/conf/all/disable_ipv6", "1");
    Some(lab)
}

#[test]
fn a_client_of_ipv6_reaches_a_server_of_ipv4() {
    let Some(lab) = lab(&document()) else { return };
    lab.blue.ping(SITE, "-c 3 -i 0.1").assert_all();
    let mut tcp = tcp_pair(
        &lab.blue,
        &format!("[{SITE}]:80"),
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    let peer = tcp.server.peer_addr().expect("it is connected");
    assert_eq!(peer.ip().to_string(), EXTERNAL);
    tcp.talk(300_000);
    // Either kernel's checksums, of even and odd lengths.
    for length in [1, 2, 999, 1000] {
        let listener = lab.internet.run(|| UdpSocket::bind("198.51.100.1:53"));
        let listener = listener.expect("the port is free");
        let client = lab.blue.run(|| UdpSocket::bind("[::]:0"));
        let client = client.expect("a port is free");
        let datagram = vec![0x5a; length];
        client
            .send_to(&datagram, format!("[{SITE}]:53"))
            .expect("it can be sent");
        for socket in [&listener, &client] {
            socket
                .set_read_timeout(Some(PATIENCE))
                .expect("a time-out is fine");
        }
        let mut heard = [0; 2000];
        let (received, from) = listener.recv_from(&mut heard).expect("it comes");
        assert_eq!(
            (received, from.ip().to_string().as_str()),
            (length, EXTERNAL)
        );
        listener
            .send_to(&heard[..received], from)
            .expect("it can be answered");
        let (received, from) = client.recv_from(&mut heard).expect("the answer comes");
        assert_eq!(
            (received, from.ip()),
            (length, SITE.parse().expect("an address"))
        );
    }
    let shown = lab.rewire(&["show", "connections"]).good();
    assert!(shown.contains(EXTERNAL), "{shown}");
    assert!(!shown.contains("::ffff:"), "{shown}");
}

#[test]
fn errors_of_either_kernel_reach_the_other() {
    let Some(lab) = lab(&document()) else { return };
    // The gateway is the first hop.
    let expired = lab.blue.ping(SITE, "-c 1 -W 1 -t 1");
    expired.assert_refused("fd00:1::1", "Time exceeded: Hop limit");
    // Nobody listens there: the server's kernel says so, in ICMP.
    let socket = lab.blue.run(|| UdpSocket::bind("[::]:0"));
    let socket = socket.expect("a port is free");
    socket
        .connect(format!("[{SITE}]:9"))
        .expect("a connection is a note");
    socket.set_read_timeout(Some(PATIENCE)).expect("fine");
    socket.send(b"anybody?").expect("it can be sent");
    let heard = socket.recv(&mut [0; 10]).expect_err("nobody is there");
    assert_eq!(heard.kind(), ErrorKind::ConnectionRefused);
    // No such host: the gateway's own word, translated.
    let nobody = lab.blue.ping("2001:db8:64::203.0.113.77", "-c 1 -W 5");
    assert_eq!(nobody.answered, Vec::<usize>::new());
}

/// Either kernel learns what fits: the client of a small link behind the gateway, the server of how much larger IPv6's header is.
#[test]
fn either_end_finds_the_path_mtu() {
    let mut document = document();
    document["interfaces"]["wan0"]["mtu"] = json!(1400);
    let Some(lab) = lab(&document) else { return };
    // 1,448 bytes of IPv6 are 1,428 of IPv4.
    let too_large = lab.blue.ping(SITE, "-c 1 -W 5 -M do -s 1400");
    too_large.assert_refused("fd00:1::1", "Packet too big: mtu=1420");
    // What was told is kept, and what fits passes.
    lab.blue.ping(SITE, "-c 1 -W 5 -M do -s 1372").assert_all();
    let mut tcp = tcp_pair(
        &lab.blue,
        &format!("[{SITE}]:80"),
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    tcp.talk(500_000);
}

/// A static binding: a client that has IPv4 alone reaches a server that has IPv6 alone.
#[test]
fn a_client_of_ipv4_reaches_a_server_of_ipv6_by_a_port_forward() {
    let mut document = document();
    document["nat"]["port_forward"]["six"] = json!({
        "protocol": "tcp_udp", "external_vpc": "internet", "external_address": EXTERNAL, "external_port": 8443,
        "internal_vpc": "blue", "internal_address": "fd00:1::10", "internal_port": 443,
    });
    let Some(lab) = lab(&document) else { return };
    let mut tcp = tcp_pair(
        &lab.internet,
        "203.0.113.64:8443",
        &lab.blue,
        "[fd00:1::10]:443",
    )
    .expect("TCP comes in");
    let peer = tcp.server.peer_addr().expect("it is connected").ip();
    let prefix = "2001:db8:64::".parse::<Ipv6Addr>().expect("an address");
    let IpAddr::V6(peer) = peer else {
        panic!("{peer} is behind the prefix")
    };
    assert_eq!(peer.segments()[..6], prefix.segments()[..6]);
    tcp.talk(300_000);
    // What the server's kernel says of a port where nobody listens reaches the client.
    let socket = lab.internet.run(|| UdpSocket::bind("0.0.0.0:0"));
    let socket = socket.expect("a port is free");
    socket.connect((EXTERNAL, 8443)).expect("it is a note");
    socket.set_read_timeout(Some(PATIENCE)).expect("fine");
    socket.send(b"anybody?").expect("it can be sent");
    let heard = socket.recv(&mut [0; 10]).expect_err("nobody is there");
    assert_eq!(heard.kind(), ErrorKind::ConnectionRefused);
    let traced = lab.rewire(&["show", "connections"]).good();
    assert!(traced.contains("fd00:1::10"), "{traced}");
}

/// Two clients of one NAT64 meet at its external address, as applications do that learned each other's from a server outside.
#[test]
fn clients_reach_each_other_by_their_external_endpoints() {
    let mut document = document();
    document["nat"]["nat64"]["clients"]["filtering"] = json!("endpoint_independent");
    let Some(lab) = lab(&document) else { return };
    lab.blue.ip("address add fd00:1::11/64 dev eth0 nodad");
    let bind = |end: &'static str| {
        let socket = lab.blue.run(|| UdpSocket::bind(end));
        let socket = socket.expect("the port is free");
        socket.set_read_timeout(Some(PATIENCE)).expect("fine");
        socket
    };
    let [one, other] = [bind("[fd00:1::10]:4000"), bind("[fd00:1::11]:5000")];
    let server = lab.internet.run(|| UdpSocket::bind("198.51.100.1:53"));
    let server = server.expect("the port is free");
    server.set_read_timeout(Some(PATIENCE)).expect("fine");
    // What the server sees of the first, it would tell the second.
    one.send_to(b"where am I?", format!("[{SITE}]:53"))
        .expect("it can be sent");
    let mut heard = [0; 100];
    let (_, seen) = server.recv_from(&mut heard).expect("it comes");
    assert_eq!(seen.ip().to_string(), EXTERNAL);
    let there = format!("[2001:db8:64::{}]:{}", seen.ip(), seen.port());
    other.send_to(b"hello", &there).expect("it can be sent");
    let (length, from) = one.recv_from(&mut heard).expect("it comes round");
    assert_eq!(&heard[..length], b"hello");
    assert_ne!(from.ip(), other.local_addr().expect("bound").ip());
    one.send_to(b"hello yourself", from)
        .expect("it can be sent");
    let (length, from) = other.recv_from(&mut heard).expect("it comes back");
    assert_eq!(&heard[..length], b"hello yourself");
    assert_eq!(from, there.parse().expect("an end"));
}
