//! What a configuration must be beyond its shape: what SQL and the JSON Schema cannot say, and what they can only say
//! without naming both sides.
//!
//! Each rule is a function in one of the modules below, about one [subject](subject): an interface, a route with its next
//! hops, the ranges of a VPC's pools. [`check`] asks about every subject of a configuration. [`check_change`] asks about
//! those that a change can have turned wrong, which one place says ([`dependencies`]), and costs what the change touches.
//!
//! What is deactivated is not there for the rules, and may be as wrong as it likes, but for references that lead nowhere.
//! A rule that a dangling reference keeps from being asked is left out: that reference is a problem already.

mod access;
mod addresses;
mod blocks;
mod change;
mod dependencies;
mod external;
mod facts;
mod intents;
mod interfaces;
mod limits;
mod links;
mod look_up;
mod masquerade;
mod nat64;
mod packets;
mod peerings;
mod pools;
mod references;
mod routes;
mod services;
mod sources;
mod subject;
mod translations;
mod words;

use std::fmt;

pub use blocks::Blocks;
pub use change::{check_change, check_change_and};
pub use facts::LOOK_UPS;
pub use limits::{
    LONGEST_NPTV6_PREFIX, MOST_ACLS, MOST_FORWARDED_PORTS, MOST_INTERFACES, MOST_LOOKUPS,
    MOST_PEERINGS, MOST_POOL_ADDRESSES, MOST_STATIC_ADDRESSES, MOST_VPCS,
};
pub(crate) use references::unknown;
pub use words::{How, dangling};

use crate::document::Path;
use crate::model::{Configuration, Row, TableRow};
use facts::Facts;
use look_up::Whole;

/// One thing that keeps a configuration from meaning anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field or object that is wrong.
    pub path: Path,
    /// What is wrong with it, in words; both sides are named.
    pub message: String,
    /// What to do about it, when that can be told.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without help.
    pub fn new(path: Path, message: impl Into<String>) -> Self {
        Problem {
            path,
            message: message.into(),
            help: None,
        }
    }
    /// The problem with what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Every problem of a configuration, ordered by path; none if it is good. Cost: the configuration, times a logarithm.
pub fn check(configuration: &Configuration) -> Vec<Problem> {
    let effective = configuration.effective();
    let mut problems = Vec::new();
    references::check(configuration, &effective, &mut problems);
    let rows = Whole::new(&effective);
    let facts = Facts::new(&rows);
    subject::every(&effective, &mut |subject| {
        subject.check(&facts, &mut problems);
    });
    ordered(problems)
}

/// Problems by path; those of one place in the order of the rules.
fn ordered(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

/// Where the object of a row stands.
fn path<R: TableRow>(row: &R) -> Path {
    let row: Row = row.clone().into();
    row.path()
}

/// The problems that a rule gathers.
type Problems = Vec<Problem>;

#[cfg(test)]
mod tests;
