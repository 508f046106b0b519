//! Peerings: two sides, each of which exposes addresses that the other can tell apart.

use super::blocks::Blocks;
use super::facts::Facts;
use super::limits::{MOST_FORWARDED_PORTS, MOST_POOL_ADDRESSES, MOST_STATIC_ADDRESSES};
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::*;
use crate::types::{ExposeNat, Name, Prefix};

/// What one side exposes.
struct Exposed {
    row: ExposeRow,
    path: Path,
    /// The addresses as they are in its VPC.
    own: Blocks,
    /// The addresses as the other side sees them.
    seen: Blocks,
}

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let key = (name.clone(),);
    let Some(peering) = facts.rows.find::<PeeringRow>(&key) else {
        return;
    };
    let sides = facts.rows.below::<PeeringSideRow, _>(key.clone());
    let sides: Vec<Name> = sides.map(|side| side.vpc.clone()).collect();
    if sides.len() != 2 {
        let message = format!("a peering has two sides, found {}", sides.len());
        problems.push(Problem::new(super::path(&*peering).join("sides"), message));
    }
    let mut exposed: Vec<(Name, Vec<Exposed>)> = Vec::new();
    for vpc in sides {
        let rows = facts
            .rows
            .below::<ExposeRow, _>((name.clone(), vpc.clone()));
        let side = rows.map(|row| check_expose(facts, &row, problems));
        let side: Vec<Exposed> = side.collect();
        check_side(&side, problems);
        exposed.push((vpc, side));
    }
    if let [(_, first), (_, second)] = exposed.as_slice() {
        for (seen, own) in [(first, &exposed[1]), (second, &exposed[0])] {
            check_across(seen, own, problems);
        }
    }
}

fn check_expose<L: LookUp>(
    facts: &Facts<'_, L>,
    row: &ExposeRow,
    problems: &mut Problems,
) -> Exposed {
    let key = row.key();
    let path = super::path(row);
    let rows = facts.rows;
    let ips: Vec<Prefix> = rows
        .below::<ExposeIpRow, _>(key.clone())
        .map(|r| r.prefix)
        .collect();
    let not: Vec<Prefix> = rows
        .below::<ExposeNotRow, _>(key.clone())
        .map(|r| r.prefix)
        .collect();
    let seen_as: Vec<Prefix> = rows
        .below::<ExposeAsRow, _>(key.clone())
        .map(|r| r.prefix)
        .collect();
    let as_not: Vec<Prefix> = rows
        .below::<ExposeAsNotRow, _>(key.clone())
        .map(|r| r.prefix)
        .collect();
    for (field, inner, outer) in [("not", &not, &ips), ("as_not", &as_not, &seen_as)] {
        let outside = |p: &&Prefix| !outer.iter().any(|o| o.network().contains(&p.network()));
        // Where there are no `ips`, all others are exposed.
        let any = field == "not" && outer.is_empty();
        for prefix in inner.iter().filter(outside).filter(|_| !any) {
            let of = if field == "not" { "ips" } else { "as" };
            let message = format!("{prefix} is in none of the prefixes of {of}");
            problems.push(Problem::new(path.join(field).join(prefix), message));
        }
    }
    let everything = |prefixes: &[Prefix]| match prefixes {
        [] => not.iter().map(|prefix| whole_family(*prefix)).collect(),
        prefixes => prefixes.iter().copied().collect::<Blocks>(),
    };
    let own = everything(&ips).without(&not.iter().copied().collect());
    let translated: Blocks = seen_as.iter().copied().collect();
    let translated = translated.without(&as_not.iter().copied().collect());
    let exposed = Exposed {
        seen: if seen_as.is_empty() {
            own.clone()
        } else {
            translated.clone()
        },
        own,
        row: row.clone(),
        path,
    };
    if row.is_default {
        for (field, prefixes) in [("ips", &ips), ("not", &not), ("as", &seen_as)] {
            if !prefixes.is_empty() {
                let message =
                    format!("the default has no {field}: it is all that nothing else matches");
                problems.push(Problem::new(exposed.path.join(field), message));
            }
        }
    } else if exposed.own.is_empty() {
        let message = "expected at least one address, nothing is exposed";
        problems.push(Problem::new(exposed.path.clone(), message).help("give it ips"));
    }
    check_nat(facts, &exposed, &translated, !seen_as.is_empty(), problems);
    exposed
}

/// All addresses of the family of a prefix.
fn whole_family(prefix: Prefix) -> Prefix {
    let network = prefix.network();
    network
        .supernet()
        .map_or(prefix, |up| whole_family(Prefix::new(up)))
}

fn check_nat<L: LookUp>(
    facts: &Facts<'_, L>,
    exposed: &Exposed,
    translated: &Blocks,
    has_as: bool,
    problems: &mut Problems,
) {
    let Exposed { row, path, own, .. } = exposed;
    let mut wrong = |field: &str, message: String| {
        problems.push(Problem::new(path.join(field), message));
    };
    match row.nat {
        None if has_as => wrong(
            "as",
            "addresses are exposed as others by nat: it says none".to_owned(),
        ),
        Some(nat) if !has_as && !row.is_default => {
            wrong("nat", format!("nat {nat} needs the field \"as\""));
        }
        Some(ExposeNat::Static) if own.counts() != translated.counts() && !row.is_default => {
            let [own4, own6] = own.counts();
            let [as4, as6] = translated.counts();
            let message = match own6 == as6 {
                true => format!(
                    "static NAT needs as many addresses on both sides: ips have {own4} of IPv4, as has {as4}"
                ),
                false => format!(
                    "static NAT needs as many addresses on both sides: ips have {own6} of IPv6, as has {as6}"
                ),
            };
            wrong("as", message);
        }
        Some(nat) if !row.is_default => {
            let missing = own
                .counts()
                .iter()
                .zip(translated.counts())
                .any(|(o, t)| *o > 0 && t == 0);
            if missing {
                wrong(
                    "as",
                    format!("nat {nat} needs addresses of every family that ips have"),
                );
            }
        }
        _ => {}
    }
    if row.is_default && row.nat.is_some() {
        let message = "the default is exposed as it is, nat says as what else";
        wrong("nat", message.to_owned());
    }
    let total = |blocks: &Blocks| {
        let [v4, v6] = blocks.counts();
        v4.saturating_add(v6)
    };
    let (most_static, size) = (u128::from(MOST_STATIC_ADDRESSES), total(own));
    if row.nat == Some(ExposeNat::Static) && size > most_static {
        let message =
            format!("expected at most {most_static} addresses for static NAT, found {size}");
        wrong("ips", message);
    }
    let shared = total(translated);
    if row.nat == Some(ExposeNat::Masquerade) && shared > MOST_POOL_ADDRESSES {
        let message = format!(
            "expected at most {MOST_POOL_ADDRESSES} addresses to masquerade with, found {shared}"
        );
        wrong("as", message);
    }
    if row.idle_timeout.is_some() && row.nat.is_none() {
        wrong(
            "idle_timeout",
            "only translated connections have one here".to_owned(),
        );
    }
    let ports: Vec<ExposePortRow> = facts
        .rows
        .below::<ExposePortRow, _>(row.key())
        .map(|port| port.into_owned())
        .collect();
    let forwards = row.nat == Some(ExposeNat::PortForward);
    if ports.is_empty() && forwards {
        wrong(
            "nat",
            "nat port_forward needs the field \"ports\"".to_owned(),
        );
    } else if !ports.is_empty() && !forwards {
        wrong(
            "ports",
            "ports are forwarded by nat port_forward alone".to_owned(),
        );
    }
    if forwards && !row.is_default && own.counts() != translated.counts() {
        let message = format!(
            "a port forward needs as many addresses on both sides: ips have {}, as has {}",
            total(own),
            total(translated)
        );
        wrong("as", message);
    }
    let entries = ports.iter().map(|entry| {
        let protocols = entry.protocol.each().len() as u128;
        u128::from(entry.port.count()) * protocols
    });
    let entries = entries.sum::<u128>().saturating_mul(total(own));
    if forwards && entries > u128::from(MOST_FORWARDED_PORTS) {
        let message = format!(
            "expected at most {MOST_FORWARDED_PORTS} ports, each counted for every address and protocol, found {entries}"
        );
        wrong("ports", message);
    }
    for (index, entry) in ports.iter().enumerate() {
        let seen = entry.as_port.as_ref().unwrap_or(&entry.port);
        if seen.count() != entry.port.count() {
            let message = format!(
                "expected as many ports as port has ({}), found {}",
                entry.port.count(),
                seen.count()
            );
            problems.push(Problem::new(super::path(entry).join("as"), message));
        }
        let taken = ports[..index].iter().any(|other| {
            let protocols = entry.protocol.each().iter();
            other.as_port.as_ref().unwrap_or(&other.port).overlaps(seen)
                && protocols
                    .copied()
                    .any(|p| other.protocol.each().contains(&p))
        });
        if taken {
            let message = format!("{} port {seen} is forwarded already", entry.protocol);
            problems.push(Problem::new(super::path(entry), message));
        }
    }
}

/// What one side exposes is apart, but that ports of masqueraded addresses may be forwarded.
fn check_side(side: &[Exposed], problems: &mut Problems) {
    let shares = |a: &Exposed, b: &Exposed| {
        use ExposeNat::{Masquerade, PortForward};
        matches!(
            (a.row.nat, b.row.nat),
            (Some(Masquerade), Some(PortForward))
                | (Some(PortForward), Some(Masquerade | PortForward))
        )
    };
    let mut default: Option<&Exposed> = None;
    for (index, exposed) in side.iter().enumerate() {
        if exposed.row.is_default {
            if let Some(first) = default {
                let message = format!("\"{}\" is the default already", first.row.name);
                problems.push(Problem::new(exposed.path.join("default"), message));
            }
            default = default.or(Some(exposed));
        }
        let others = side[..index].iter().filter(|other| !shares(other, exposed));
        for other in others {
            if let Some(address) = exposed.seen.shared(&other.seen) {
                let message = format!("\"{}\" exposes {address} already", other.row.name);
                problems.push(Problem::new(exposed.path.clone(), message));
                break;
            }
        }
    }
}

/// What one side shows must not be what the other side's VPC has itself.
fn check_across(seen: &[Exposed], (vpc, own): &(Name, Vec<Exposed>), problems: &mut Problems) {
    for exposed in seen {
        let mut meeting = own.iter().filter_map(|other| {
            let address = exposed.seen.shared(&other.own)?;
            Some((other, address))
        });
        if let Some((other, address)) = meeting.next() {
            let message = format!(
                "{address} is an address of VPC \"{vpc}\" itself, which exposes it in \"{}\"",
                other.row.name
            );
            let problem = Problem::new(exposed.path.clone(), message);
            problems.push(problem.help("expose one of the two as other addresses"));
        }
    }
}
