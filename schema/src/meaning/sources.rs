//! Route sources and exporters: the gateway's own ends of what it speaks with others.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::facts::Facts;
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::model::{ExporterRow, RouteSourceRow, RouteSourceVpcRow};
use crate::types::{ExporterType, Name};

/// Where everybody listens: an address and a port are one listener's, and a port on all addresses, too.
pub(super) fn check_listeners<L: LookUp>(facts: &Facts<'_, L>, problems: &mut Problems) {
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    let sources = facts.rows.all::<RouteSourceRow>().map(|row| {
        let what = format!("route source \"{}\"", row.name);
        (row.listen, super::path(&*row).join("listen"), what)
    });
    let exporters = facts.rows.all::<ExporterRow>();
    let scraped = exporters.filter(|row| row.exporter_type == ExporterType::Prometheus);
    let scraped = scraped.map(|row| {
        let what = format!("exporter \"{}\"", row.name);
        (row.address, super::path(&*row).join("address"), what)
    });
    for (address, path, what) in sources.chain(scraped) {
        let ip = address.ip();
        if address.port() == 0 {
            let message = format!("expected a port from 1 to 65535, found {address}");
            problems.push(Problem::new(path.clone(), message));
        } else if ip.is_multicast() {
            let message = format!("nobody listens on {ip}: it is a multicast address");
            problems.push(Problem::new(path.clone(), message));
        }
        let clashes = |(other, _): &&(SocketAddr, String)| {
            let (a, b) = (other.ip(), ip);
            other.port() == address.port()
                && (a == b || a.is_unspecified() || b.is_unspecified())
                && a.is_ipv4() == b.is_ipv4()
        };
        if let Some((other, owner)) = taken.iter().find(clashes) {
            let message = format!("{owner} listens on {other} already");
            problems.push(Problem::new(path, message));
        }
        taken.push((address, what));
    }
}

/// A table of a routing daemon is one VPC.
pub(super) fn check_route_source<L: LookUp>(
    facts: &Facts<'_, L>,
    name: &Name,
    problems: &mut Problems,
) {
    let mut tables: HashMap<u32, Name> = HashMap::new();
    for row in facts.rows.below::<RouteSourceVpcRow, _>((name.clone(),)) {
        let first = tables
            .entry(row.table_id)
            .or_insert_with(|| row.vpc.clone());
        if *first != row.vpc {
            let message = format!("table {} goes into VPC \"{first}\" already", row.table_id);
            problems.push(Problem::new(super::path(&*row).join("table"), message));
        }
    }
}

pub(super) fn check_exporter<L: LookUp>(
    facts: &Facts<'_, L>,
    name: &Name,
    problems: &mut Problems,
) {
    let Some(row) = facts.rows.find::<ExporterRow>(&(name.clone(),)) else {
        return;
    };
    let path = || super::path(&*row);
    let kind = row.exporter_type;
    if row.sampling.is_some() && kind != ExporterType::Sflow {
        let message = format!("an exporter of type {kind} takes no samples");
        let problem = Problem::new(path().join("sampling"), message);
        problems.push(problem.help("leave sampling out"));
    }
    match row.interval {
        Some(_) if kind == ExporterType::Prometheus => {
            let message = "scrapes come when they come";
            let problem = Problem::new(path().join("interval"), message);
            problems.push(problem.help("leave interval out"));
        }
        Some(interval) if interval.as_millis() == 0 => {
            let message = "expected some time between two reports, found none";
            problems.push(Problem::new(path().join("interval"), message));
        }
        _ => {}
    }
    let ip = row.address.ip();
    if kind != ExporterType::Prometheus && (ip.is_unspecified() || row.address.port() == 0) {
        let message = format!("nothing can be sent to {}", row.address);
        problems.push(Problem::new(path().join("address"), message));
    }
}
