//! How large the tables are.

use rewire_dataplane::VpcSizes;

use super::{counter, gauge};
use crate::daemon::metrics::Moment;
use crate::daemon::metrics::definition::{Metric, Sample, Unit, one, sample};

/// A sample for each VPC and address family.
fn each_vpc(moment: &Moment<'_>, value: fn(&VpcSizes) -> [usize; 2]) -> Vec<Sample> {
    let vpcs = moment.sizes().vpcs.iter();
    let samples = vpcs.flat_map(|vpc| {
        let families = ["ipv4", "ipv6"].into_iter().zip(value(vpc));
        families.map(move |(family, number)| sample([&vpc.vpc, family], number))
    });
    samples.collect()
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_vpc_routes",
        Unit::One,
        "Routes of a VPC, of the configuration and learned.",
        |m| each_vpc(m, |vpc| vpc.routes),
    )
    .by(&["vpc", "family"]),
    gauge(
        "rewire_vpc_route_memory_bytes",
        Unit::Bytes,
        "The memory that a VPC's routes take, in each of the two halves of the tables.",
        |m| each_vpc(m, |vpc| vpc.memory),
    )
    .by(&["vpc", "family"]),
    gauge("rewire_acl_rules", Unit::One, "Rules of an ACL.", |m| {
        let acls = m.sizes().acls.iter();
        acls.map(|acl| sample([&acl.acl], acl.rules)).collect()
    })
    .by(&["acl"]),
    gauge(
        "rewire_acl_memory_bytes",
        Unit::Bytes,
        "The memory that an ACL's rules take once they are compiled.",
        |m| {
            let acls = m.sizes().acls.iter();
            acls.map(|acl| sample([&acl.acl], acl.memory)).collect()
        },
    )
    .by(&["acl"]),
    gauge(
        "rewire_static_neighbors",
        Unit::One,
        "Neighbors that the configuration names.",
        |m| one(m.sizes().static_neighbors),
    ),
    gauge(
        "rewire_learned_neighbors",
        Unit::One,
        "Neighbors that were learned.",
        |m| one(m.daemon.shared.learned_neighbors()),
    ),
    counter(
        "rewire_learned_lost",
        Unit::One,
        "Neighbors that could not be told to the manager.",
        |m| one(m.totals.learned_lost),
    ),
    gauge(
        "rewire_generation",
        Unit::One,
        "The generation of the tables that was published last.",
        |m| one(m.daemon.shared.generation()),
    ),
    counter(
        "rewire_publications",
        Unit::One,
        "Publications of the tables: for a commit, or for what was learned.",
        |m| one(m.daemon.shared.publications()),
    ),
    counter(
        "rewire_publish_late",
        Unit::One,
        "Publications that a worker kept waiting beyond their deadline.",
        |m| one(m.daemon.shared.late()),
    ),
    gauge(
        "rewire_stuck",
        Unit::One,
        "1 while a worker keeps the tables from being published.",
        |m| one(m.daemon.shared.stuck()),
    ),
];
