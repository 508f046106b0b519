//! `rewire show acls` on the gateway's side: what the rules of ACLs have counted.

use serde::{Deserialize, Serialize};

use super::Daemon;

/// The most rules of one answer.
pub(crate) const MOST_RULES: usize = 20_000;

/// Which rules are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only those of this ACL.
    #[serde(default)]
    pub(crate) acl: Option<String>,
    /// At most so many.
    #[serde(default)]
    pub(crate) most: Option<usize>,
}

/// The version of [`Rules`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// Rules in the order of their ACLs' names and their sequence numbers; the default stands behind the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) version: u32,
    /// The revision that is live.
    pub(crate) revision: u64,
    /// The rules that there are, shown or not.
    pub(crate) count: usize,
    pub(crate) rules: Vec<Rule>,
}

/// What one rule has counted since it is there, or since the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) acl: String,
    /// Its sequence number; none for the default.
    pub(crate) rule: Option<u32>,
    pub(crate) packets: u64,
    /// Of IP packets, their headers included.
    pub(crate) bytes: u64,
}

impl Daemon {
    /// What rules have counted, or why there is no answer.
    pub(crate) fn rules(&self, query: &Query) -> Result<Rules, String> {
        let table = self.rule_counts.as_ref().ok_or("the gateway is stopping")?;
        let counted = table.counted(query.acl.clone());
        let counted = counted.map_err(|error| error.to_string())?;
        let most = query.most.unwrap_or(MOST_RULES).min(MOST_RULES);
        let rules = counted.iter().take(most).map(|counted| Rule {
            acl: counted.acl.to_string(),
            rule: counted.rule,
            packets: counted.traffic.packets,
            bytes: counted.traffic.bytes,
        });
        Ok(Rules {
            version: VERSION,
            revision: self.shared.revision(),
            count: counted.len(),
            rules: rules.collect(),
        })
    }
}
