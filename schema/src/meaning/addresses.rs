//! Which addresses a host can have.

use std::net::IpAddr;

use ipnet::IpNet;

/// Why no host can have this address anywhere, if so (RFC 1122, section 3.2.1.3; RFC 4291, section 2.5).
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if matches!(address, IpAddr::V4(v4) if v4.is_broadcast()) {
        Some("the broadcast address")
    } else {
        None
    }
}

/// Why no host in this subnet can have this address, if so. Subnets of one or two addresses have hosts on all of them
/// (RFC 3021, RFC 6164); IPv6 has no broadcast, but the first address of a subnet belongs to all its routers (RFC 4291,
/// section 2.6.1).
pub(super) fn unusable_in(subnet: &IpNet, address: IpAddr) -> Option<&'static str> {
    if subnet.prefix_len() + 1 >= subnet.max_prefix_len() {
        return None;
    }
    match subnet {
        IpNet::V4(v4) if address == IpAddr::V4(v4.broadcast()) => Some("the broadcast address"),
        IpNet::V4(_) if address == subnet.network() => Some("the network address"),
        IpNet::V6(_) if address == subnet.network() => Some("the anycast address of the routers"),
        _ => None,
    }
}

/// IPv6 link-local addresses (RFC 4291, section 2.5.6) are on every link; the same ones on several links are no clash.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// "IPv4" or "IPv6".
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// What is wrong with `address` as that of another host on the link of an interface with these addresses, if anything.
pub(super) fn on_link(own: &[IpNet], address: IpAddr) -> Result<(), String> {
    if let Some(why) = unusable(address) {
        return Err(format!("{address} is {why}"));
    }
    if own.iter().any(|network| network.addr() == address) {
        return Err(format!("{address} is the interface's own address"));
    }
    if is_link_local(address) {
        return Ok(());
    }
    let Some(network) = own.iter().find(|network| network.contains(&address)) else {
        let subnets: Vec<String> = own.iter().map(|n| n.trunc().to_string()).collect();
        return Err(match subnets.as_slice() {
            [] => format!("{address} is in no subnet of the interface: it has no address"),
            subnets => format!(
                "{address} is in no subnet of the interface ({})",
                subnets.join(", ")
            ),
        });
    };
    match unusable_in(network, address) {
        Some(why) => Err(format!("{address} is {why} of {}", network.trunc())),
        None => Ok(()),
    }
}
