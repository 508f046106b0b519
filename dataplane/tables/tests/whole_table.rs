//! A real route table of either family, and a day of its updates, against a map for each prefix length.
//!
//! The table lies beside the project: `REWIRE_DATA`, or `shared/data` beside the repository. Without it the test says so and
//! checks nothing. Every sixteenth prefix is taken, or with `REWIRE_WHOLE_TABLE` all of them.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rewire_tables::{Address, Lpm, ValueNumber};

fn lines(name: &str) -> Option<impl Iterator<Item = String> + use<>> {
    let data = std::env::var_os("REWIRE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = data.join("routes").join(name);
    if !path.exists() {
        eprintln!("skipped: no {} (set REWIRE_DATA)", path.display());
        return None;
    }
    let zstd = Command::new("zstd")
        .arg("-dc")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn();
    let text = zstd.expect("zstd, which reads the table").stdout;
    let lines = BufReader::new(text.expect("its output")).lines();
    Some(lines.map(|line| line.expect("text")))
}

fn prefix<A: Address + std::str::FromStr>(text: &str) -> (A, u8) {
    let (network, length) = text.split_once('/').expect("a prefix");
    let network = network.parse().ok().expect("an address");
    (network, length.parse().expect("a length"))
}

/// Whether this test takes the prefix.
fn taken<A: Address>((network, length): (A, u8)) -> bool {
    let number = network.to_number() >> (A::BITS - length);
    std::env::var_os("REWIRE_WHOLE_TABLE").is_some() || (number & 15) == 5
}

struct Both<A> {
    lpm: Lpm<A, u32>,
    /// By length, longest last.
    oracle: BTreeMap<u8, HashMap<A, u32>>,
}

impl<A: Address> Both<A> {
    fn set(&mut self, (network, length): (A, u8), value: Option<u32>) {
        let map = self.oracle.entry(length).or_default();
        match value {
            Some(value) => {
                let old = map.insert(network, value);
                assert_eq!(self.lpm.insert(network, length, &value), old.is_some());
            }
            None => {
                let old = map.remove(&network);
                assert_eq!(self.lpm.remove(network, length), old.is_some());
            }
        }
    }

    /// The first and the last address of each prefix, those beside it, and one within.
    fn compare(&self) {
        let mut addresses = Vec::new();
        for (length, map) in &self.oracle {
            for network in map.keys() {
                let first = network.to_number();
                let behind = (u128::MAX >> (128 - A::BITS)).checked_shr(u32::from(*length));
                let last = first | behind.unwrap_or(0);
                let within = first + (last - first) / 3;
                let beside = [first.wrapping_sub(1), last.wrapping_add(1)];
                let numbers = [first, last, within].into_iter().chain(beside);
                addresses.extend(numbers.map(A::from_number));
            }
        }
        let keys: Vec<A::Key> = addresses.iter().map(|address| address.key()).collect();
        let mut numbers = vec![ValueNumber::default(); keys.len()];
        self.lpm.lookup_batch(&keys, &mut numbers);
        for (address, number) in addresses.into_iter().zip(numbers) {
            let lengths = self.oracle.iter().rev();
            let mut found = lengths.filter_map(|(length, map)| map.get(&address.masked(*length)));
            let expected = found.next();
            assert_eq!(self.lpm.value(number), expected, "{address}");
            assert_eq!(self.lpm.lookup(address), expected, "{address}");
        }
        let count: usize = self.oracle.values().map(HashMap::len).sum();
        assert_eq!(self.lpm.len(), count);
        assert_eq!(self.lpm.iter().count(), count);
    }
}

fn a_table_and_its_updates<A: Address + std::str::FromStr>(family: &str) {
    let Some(table) = lines(&format!("ris-20260511-as3333-{family}.txt.zst")) else {
        return;
    };
    let mut both: Both<A> = Both {
        lpm: Lpm::default(),
        oracle: BTreeMap::new(),
    };
    for line in table {
        let (network, origin) = line.split_once(' ').expect("an origin");
        let prefix = prefix(network);
        if taken(prefix) {
            both.set(prefix, Some(origin.parse().expect("a number")));
        }
    }
    eprintln!("{} prefixes in {} bytes", both.lpm.len(), both.lpm.memory());
    both.compare();
    let updates = lines(&format!("ris-20260511-as3333-updates-{family}.txt.zst"));
    for (number, line) in updates.expect("a day").enumerate() {
        let (what, network) = line.split_once(' ').expect("a prefix");
        let prefix = prefix(network);
        if taken(prefix) {
            both.set(prefix, (what == "A").then_some(number as u32 % 1000));
        }
    }
    eprintln!("{} prefixes in {} bytes", both.lpm.len(), both.lpm.memory());
    both.compare();
    // A copy, as of one half from the other, says the same.
    both.lpm = both.lpm.clone();
    both.compare();
}

#[test]
fn ipv4() {
    a_table_and_its_updates::<Ipv4Addr>("v4");
}

#[test]
fn ipv6() {
    a_table_and_its_updates::<Ipv6Addr>("v6");
}
