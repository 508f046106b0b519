//! Crates with a longest prefix match, each through the interface that it offers.

use std::net::{Ipv4Addr, Ipv6Addr};

use ip_network_table_deps_treebitmap::IpLookupTable;
use iptrie::{Ipv4Prefix, Ipv4RTrieMap, Ipv6Prefix, Ipv6RTrieMap};
use poptrie::Poptrie;
use prefix_trie::PrefixMap;

use super::peers::{Crate, Peer};
use super::routes::Prefix;

/// The crates' tables of these routes.
macro_rules! crates {
    ($name:ident, $address:ty, $number:ty, $map:ident, $iptrie:ty) => {
        pub(crate) fn $name(
            routes: &[(Prefix<$address>, u32)],
            addresses: &[$address],
        ) -> Vec<Box<dyn Peer>> {
            let mut treebitmap = IpLookupTable::new();
            let mut prefix_map = PrefixMap::new();
            for ((network, length), hop) in routes {
                treebitmap.insert(*network, u32::from(*length), *hop);
                prefix_map.insert((network.to_bits(), *length), *hop);
            }
            let poptrie: Poptrie<($number, u8), u32> = routes
                .iter()
                .map(|((network, length), hop)| ((network.to_bits(), *length), *hop))
                .collect();
            let iptrie: $map<u32> = routes
                .iter()
                .filter_map(|((network, length), hop)| {
                    Some((<$iptrie>::new(*network, *length).ok()?, *hop))
                })
                .collect();
            let iptrie = iptrie.compress();
            let numbers: Vec<$number> = addresses.iter().map(|a| a.to_bits()).collect();
            vec![
                Box::new(Crate::new("treebitmap", addresses.to_vec(), move |address| {
                    treebitmap.longest_match(address).map_or(0, |(_, _, hop)| *hop)
                })),
                Box::new(Crate::new("prefix-trie", numbers.clone(), move |number| {
                    let full = <$number>::BITS as u8;
                    prefix_map.get_lpm(&(number, full)).map_or(0, |(_, hop)| *hop)
                })),
                Box::new(Crate::new("poptrie", numbers, move |number| {
                    poptrie.lookup(number).map_or(0, |hop| *hop)
                })),
                Box::new(Crate::new("iptrie", addresses.to_vec(), move |address: $address| {
                    *iptrie.lookup(&address).1
                })),
            ]
        }
    };
}

crates!(tables4, Ipv4Addr, u32, Ipv4RTrieMap, Ipv4Prefix);
crates!(tables6, Ipv6Addr, u128, Ipv6RTrieMap, Ipv6Prefix);
