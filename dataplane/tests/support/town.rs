//! A gateway with workers on threads, and everybody around it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::clock::{Clock, MonotonicClock};
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{Gateway, GatewayConfig, Totals};
use rewire_packet::arp::{ArpRepr, ArpView};
use rewire_packet::ethernet::EthernetView;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{EtherType, MacAddress};
use rewire_schema::{Changeset, Configuration, from_document};

use super::*;

pub const SYN: TcpFlags = TcpFlags::SYN;
pub const ACK: TcpFlags = TcpFlags::ACK;
pub const PORTS: [&str; 5] = ["blue0", "red0", "green0", "green1", "wan"];
pub const GREEN_MAC: [MacAddress; 2] = [
    MacAddress([2, 0, 0, 0, 0, 4]),
    MacAddress([2, 0, 0, 0, 0, 5]),
];

/// Two VPCs behind one address, of which one has few ports to leave by; and a third that only routes.
pub fn document() -> serde_json::Value {
    let mut document = two_vpcs();
    document["vpcs"]["green"] = json!({});
    for (n, name) in ["green0", "green1"].into_iter().enumerate() {
        document["interfaces"][name] = json!({
            "vpc": "green", "port": format!("null:{name}"), "mac": GREEN_MAC[n].to_string(),
            "addresses": [format!("10.{}.0.1/24", 3 + n)],
        });
    }
    document["nat"]["masquerade"]["red-out"]["ports"] = json!("5000-5099");
    document
}

pub fn configuration(document: serde_json::Value) -> Configuration {
    from_document(&document).expect("a document")
}

/// The gateway, and everybody around it: each address has a MAC address, and answers for it.
pub struct Town {
    pub gateway: Gateway,
    compiler: Compiler,
    revision: u64,
    ports: BTreeMap<&'static str, MemoryPort>,
}

impl Town {
    pub fn new(workers: u16) -> Town {
        Town::with(GatewayConfig {
            workers,
            ..GatewayConfig::default()
        })
    }

    pub fn with(config: GatewayConfig) -> Town {
        Town::on(MemoryDriver::default(), config)
    }

    pub fn on(driver: MemoryDriver, config: GatewayConfig) -> Town {
        Town::by(Arc::new(MonotonicClock::default()), driver, config)
    }

    /// With another clock than that of the wall.
    pub fn by(clock: Arc<dyn Clock>, driver: MemoryDriver, config: GatewayConfig) -> Town {
        let ports = PORTS.map(|name| (name, driver.port(name))).into();
        let config = small(config);
        let gateway = Gateway::start_by(config, driver, clock).expect("threads");
        let (compiler, compiled) = Compiler::compile(configuration(document()), 1).unwrap();
        gateway.apply(1, compiled.into_parts()).expect("live");
        Town {
            gateway,
            compiler,
            revision: 1,
            ports,
        }
    }

    pub fn commit(&mut self, document: serde_json::Value) {
        self.revision += 1;
        let next = configuration(document);
        let changeset = Changeset::between(self.compiler.configuration(), &next);
        let compiled = self.compiler.apply(self.revision, &changeset).unwrap();
        self.gateway
            .apply(self.revision, compiled.into_parts())
            .expect("live");
    }

    /// Sends a frame to the gateway. A full link is waited for.
    pub fn send(&self, port: &str, frame: Build) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.ports[port].send(frame.frame()) {
            assert!(Instant::now() < deadline, "the link of {port} stays full");
            std::thread::yield_now();
        }
    }

    /// What left the gateway by a port just now, but for questions, which are answered.
    pub fn look(&self, port: &str) -> Option<Vec<u8>> {
        let frame = self.ports[port].receive()?;
        let ethernet = EthernetView::new_checked(frame.as_slice()).expect("Ethernet");
        if ethernet.ether_type() != EtherType::ARP {
            return Some(frame);
        }
        let asked = ArpRepr::parse(&ArpView::new_checked(ethernet.payload()).expect("ARP"));
        let own = asked.target_protocol.octets();
        let answer = ArpRepr {
            operation: ARP_REPLY,
            sender_hardware: MacAddress([6, 0, own[0], own[1], own[2], own[3]]),
            sender_protocol: asked.target_protocol,
            target_hardware: asked.sender_hardware,
            target_protocol: asked.sender_protocol,
        };
        self.ports[port].send(arp_frame(asked.sender_hardware, &answer));
        None
    }

    /// Waits for a packet.
    pub fn receive(&self, port: &str) -> Ip {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(frame) = self.look(port) {
                return Ip::of(&frame);
            }
            assert!(
                Instant::now() < deadline,
                "nothing came by {port}: {:?}",
                self.gateway.shared().totals()
            );
            std::thread::yield_now();
        }
    }

    /// What becomes of a packet.
    pub fn through(&self, from: &str, frame: Build, to: &str) -> Ip {
        self.send(from, frame);
        self.receive(to)
    }

    /// Ends it; every packet is accounted for.
    pub fn stop(self) -> Totals {
        let shared = self.gateway.shared();
        self.gateway.stop();
        let totals = shared.totals();
        assert!(totals.balanced(), "{totals:?}");
        assert_eq!(totals.unexplained_node(), None, "{totals:?}");
        totals
    }
}

pub fn mac_of(port: &str) -> MacAddress {
    match port {
        "blue0" => BLUE_MAC,
        "red0" => RED_MAC,
        "green0" => GREEN_MAC[0],
        "green1" => GREEN_MAC[1],
        _ => WAN_MAC,
    }
}

/// A packet from a host behind this port.
pub fn at(port: &str, mut packet: Build) -> Build {
    packet.link_destination = mac_of(port);
    packet
}

pub fn site(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, n)
}

/// What answers a packet that left the gateway.
pub fn answer(ip: &Ip) -> Build {
    let (source, destination) = ip.endpoints();
    let (from, to) = ip.ports();
    match ip.transport {
        L4::Tcp(..) => tcp((destination, to), (source, from), SYN | ACK),
        _ => udp((destination, to), (source, from), 8),
    }
}
