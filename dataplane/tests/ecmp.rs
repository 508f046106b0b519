//! Several next hops: flows spread by weights, a flow's packets stay together, and a commit that changes one next hop
//! moves the flows of no other.

mod support;

use std::collections::BTreeMap;

use rewire_packet::MacAddress;
use support::*;

const FLOWS: u16 = 1000;

/// Blue's way out is by these routers on the link of `wan`, each with its weight.
fn document(routers: &[(u8, u16)]) -> serde_json::Value {
    let mut document = two_vpcs();
    let mut hops = Vec::new();
    for (router, weight) in routers {
        let address = format!("203.0.113.{router}");
        document["interfaces"]["wan"]["neighbors"][&address] =
            json!({ "mac": mac(*router).to_string() });
        hops.push(json!({ "interface": "wan", "via": address, "weight": weight }));
    }
    document["vpcs"]["blue"]["routes"]["0.0.0.0/0"] = json!({ "next_hops": hops });
    document
}

fn mac(router: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 7, router])
}

/// Which router each of the flows takes. Neighboring hosts and ports, as real flows have.
fn routers(lab: &mut Lab) -> BTreeMap<u16, u8> {
    let flow = |number: u16| {
        let [_, low] = number.to_be_bytes();
        let source = std::net::Ipv4Addr::new(10, 1, 0, 10 + low % 16);
        let out = lab.through(
            "blue0",
            udp((source, 4000 + number / 16), (SITE, 53), 8).frame(),
            "wan",
        );
        assert_eq!(out.link.1.0[..5], mac(0).0[..5]);
        (number, out.link.1.0[5])
    };
    (0..FLOWS).map(flow).collect()
}

fn count(routers: &BTreeMap<u16, u8>, router: u8) -> usize {
    routers.values().filter(|other| **other == router).count()
}

#[test]
fn weights_are_shares_and_only_the_flows_of_what_changes_move() {
    let mut lab = Lab::new(document(&[(11, 1), (12, 3), (13, 4)]));
    let first = routers(&mut lab);
    // Seven standard deviations around 1/8, 3/8 and 1/2 of the flows.
    for (router, share) in [(11, 52..198), (12, 268..482), (13, 390..610)] {
        assert!(
            share.contains(&count(&first, router)),
            "{router}: {}",
            count(&first, router)
        );
    }
    // The next packets of each flow go where the first went.
    assert_eq!(routers(&mut lab), first);

    // One router goes: its flows spread over the others, which keep theirs.
    lab.commit(document(&[(11, 1), (13, 4)]));
    let without = routers(&mut lab);
    for (flow, router) in &first {
        assert!(*router == 12 || without[flow] == *router, "flow {flow}");
    }
    assert_eq!(count(&without, 12), 0);
    assert!(count(&without, 11) > count(&first, 11));

    // It comes back: just as it was, whatever happened in between.
    lab.commit(document(&[(13, 4), (12, 3), (11, 1)]));
    assert_eq!(routers(&mut lab), first);

    // More weight takes flows over, and gives none away.
    lab.commit(document(&[(11, 8), (12, 3), (13, 4)]));
    let heavier = routers(&mut lab);
    for (flow, router) in &first {
        assert!(
            heavier[flow] == 11 || heavier[flow] == *router,
            "flow {flow}"
        );
    }
    assert!(count(&heavier, 11) > 400, "{}", count(&heavier, 11));
}
