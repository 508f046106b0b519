//! What a configuration must be beyond its shape: what SQL and the JSON Schema cannot say, and what they can only say
//! without naming both sides.
//!
//! Each rule is a function in one of the modules below; [`check`] runs all of them and gathers what they find. A rule
//! that a dangling reference keeps from being asked is left out: that reference is a problem already.

mod addresses;
mod interfaces;
mod nat;
mod references;
mod routes;

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
pub(crate) use references::unknown;

use crate::document::Path;
use crate::model::Configuration;
use crate::types::Name;

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
    let facts = Facts::new(configuration);
    let mut problems = Vec::new();
    references::check(configuration, &mut problems);
    interfaces::check(&facts, &mut problems);
    routes::check(&facts, &mut problems);
    nat::check(&facts, &mut problems);
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

/// What several rules ask for.
struct Facts<'a> {
    configuration: &'a Configuration,
    /// The addresses of each interface with their subnets, in the order of the rows.
    addresses: BTreeMap<&'a Name, Vec<IpNet>>,
}

impl<'a> Facts<'a> {
    fn new(configuration: &'a Configuration) -> Self {
        let mut addresses: BTreeMap<&Name, Vec<IpNet>> = BTreeMap::new();
        for row in configuration.interface_address.values() {
            let subnet = row.address.subnet();
            // The prefix length of a subnet fits the family of its address.
            if let Ok(network) = IpNet::new(row.address.address(), subnet.prefix_len()) {
                addresses.entry(&row.interface).or_default().push(network);
            }
        }
        Facts {
            configuration,
            addresses,
        }
    }

    /// The addresses of an interface with their subnets; none where there is no such interface.
    fn addresses_of(&self, interface: &Name) -> &[IpNet] {
        self.addresses.get(interface).map_or(&[], Vec::as_slice)
    }

    /// The VPC of an interface.
    fn vpc_of(&self, interface: &Name) -> Option<&'a Name> {
        let key = (interface.clone(),);
        self.configuration.interface.get(&key).map(|i| &i.vpc)
    }
}

#[cfg(test)]
mod tests;
