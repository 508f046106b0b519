//! Route tables to measure with: a real one where the shared data is there, a generated one where it is not.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::random::Random;
use crate::Failure;

/// One family's prefix: an address whose bits behind the length are 0, its length in bits.
pub(crate) type Prefix<A> = (A, u8);

/// An update: whether the prefix is announced or withdrawn.
pub(crate) type Update<A> = (bool, Prefix<A>);

/// A route table: each prefix once, with the number of its next hop, from 1 on.
pub(crate) struct RouteTable<A> {
    pub(crate) routes: Vec<(Prefix<A>, u32)>,
    /// Where it is from, for people.
    pub(crate) about: String,
}

/// What a table needs to know of a family.
pub(crate) trait Family: rewire_tables::Address + std::str::FromStr {
    /// `v4` or `v6`.
    const NAME: &'static str;
    /// The numbers of prefixes by length that a generated table has.
    const LENGTHS: &'static [(u8, usize)];
    /// The addresses that a generated table's prefixes are in: the first bits, and how many.
    const SPACE: (u128, u8);
}

impl Family for Ipv4Addr {
    const NAME: &'static str = "v4";
    const LENGTHS: &'static [(u8, usize)] = &[
        (8, 16),
        (9, 14),
        (10, 39),
        (11, 95),
        (12, 297),
        (13, 584),
        (14, 1201),
        (15, 2129),
        (16, 13_635),
        (17, 8347),
        (18, 13_387),
        (19, 25_516),
        (20, 45_627),
        (21, 52_463),
        (22, 113_741),
        (23, 107_869),
        (24, 657_365),
    ];
    const SPACE: (u128, u8) = (0, 0);
}

impl Family for Ipv6Addr {
    const NAME: &'static str = "v6";
    const LENGTHS: &'static [(u8, usize)] = &[
        (20, 20),
        (24, 60),
        (28, 250),
        (29, 5435),
        (30, 827),
        (32, 26_740),
        (33, 5407),
        (34, 5197),
        (36, 12_500),
        (38, 4500),
        (40, 24_800),
        (42, 4400),
        (44, 24_860),
        (45, 4511),
        (46, 5640),
        (47, 8925),
        (48, 111_866),
    ];
    const SPACE: (u128, u8) = (0b001, 3);
}

fn folder() -> PathBuf {
    let data = std::env::var_os("REWIRE_DATA").map_or("../shared/data".into(), PathBuf::from);
    data.join("routes")
}

/// The lines of a compressed file of the shared data; none where it is not there.
fn lines(name: &str) -> Result<Option<Vec<String>>, Failure> {
    let path = folder().join(name);
    if !path.exists() {
        return Ok(None);
    }
    let mut zstd = Command::new("zstd")
        .args(["-dc"])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("zstd, which reads {}: {error}", path.display()))?;
    let text = zstd.stdout.take().ok_or("zstd has no output")?;
    let lines = BufReader::new(text).lines().collect::<Result<_, _>>()?;
    zstd.wait()?;
    Ok(Some(lines))
}

fn prefix<A: Family>(text: &str) -> Result<Prefix<A>, Failure> {
    let failed = || format!("\"{text}\" is no prefix");
    let (network, length) = text.split_once('/').ok_or_else(failed)?;
    let network: A = network.parse().map_err(|_| failed())?;
    let length = length.parse()?;
    Ok((network.masked(length), length))
}

impl<A: Family> RouteTable<A> {
    /// The RIS table of the shared data, whose origin AS stands for the next hop, or else a generated one.
    pub(crate) fn load() -> Result<RouteTable<A>, Failure> {
        let name = format!("ris-20260511-as3333-{}.txt.zst", A::NAME);
        let Some(lines) = lines(&name)? else {
            return Ok(Self::generated());
        };
        let mut hops = std::collections::HashMap::new();
        let mut routes = Vec::with_capacity(lines.len());
        for line in &lines {
            let (network, origin) = line.split_once(' ').ok_or("a line without origin")?;
            let next = hops.len() as u32 + 1;
            let hop = *hops.entry(origin.to_owned()).or_insert(next);
            routes.push((prefix(network)?, hop));
        }
        let about = format!(
            "{name}: {} routes to {} origins, each a next hop of its own",
            routes.len(),
            hops.len()
        );
        Ok(RouteTable { routes, about })
    }

    /// A table with the lengths of a real one. Longer prefixes lie near one another, as allocations do.
    fn generated() -> RouteTable<A> {
        let mut random = Random::new(1);
        let mut routes = std::collections::BTreeMap::new();
        let (space, space_length) = A::SPACE;
        let mut blocks = Vec::new();
        for (length, count) in A::LENGTHS {
            let mut left = *count;
            while left > 0 {
                let mut number = (u128::from(random.next()) << 64) | u128::from(random.next());
                number &= u128::MAX >> (128 - A::BITS);
                if space_length > 0 {
                    number &= u128::MAX >> (128 - A::BITS + space_length);
                    number |= space << (A::BITS - space_length);
                }
                // Two of three lie in a block that holds others already.
                if !blocks.is_empty() && random.below(3) > 0 {
                    let (block, bits): Prefix<A> = blocks[random.below(blocks.len())];
                    let behind = u128::MAX >> (128 - A::BITS) >> bits;
                    number = block.to_number() | number & behind;
                }
                let network = A::from_number(number).masked(*length);
                if routes
                    .insert((network, *length), 1 + random.below(60_000) as u32)
                    .is_none()
                {
                    left -= 1;
                    if *length < A::LENGTHS[A::LENGTHS.len() - 1].0 && random.below(4) == 0 {
                        blocks.push((network, *length));
                    }
                }
            }
        }
        let about = format!("{} generated routes to 60,000 next hops", routes.len());
        RouteTable {
            routes: routes.into_iter().collect(),
            about,
        }
    }
}

/// The RIS updates of a day in order: whether the prefix is announced, and the prefix. None where the shared data is not there.
pub(crate) fn day<A: Family>() -> Result<Option<Vec<Update<A>>>, Failure> {
    let name = format!("ris-20260511-as3333-updates-{}.txt.zst", A::NAME);
    let Some(lines) = lines(&name)? else {
        return Ok(None);
    };
    let updates = lines.iter().map(|line| {
        let (what, network) = line.split_once(' ').ok_or("a line without prefix")?;
        Ok((what == "A", prefix(network)?))
    });
    updates.collect::<Result<_, Failure>>().map(Some)
}
