//! What is checked, by name.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $check:ident = $name:literal, $about:literal;)+) => {
        /// One kind of check.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Check { $($(#[doc = $doc])+ $check),+ }

        impl Check {
            /// All of them.
            pub const ALL: &[Check] = &[$(Check::$check),+];

            /// The name, on the command line and in reports.
            pub fn name(self) -> &'static str {
                match self { $(Check::$check => $name),+ }
            }

            /// What it says, in one line.
            pub fn about(self) -> &'static str {
                match self { $(Check::$check => $about),+ }
            }
        }
    };
}

checks! {
    /// Law 4.
    Tables = "tables", "the tables that changes lead to are those that the whole state compiles to";
    /// Law 3.
    State = "state", "the state after each revision has the digest that the journal says";
    /// The configuration's own intents.
    Intents = "intents", "every intent is proven, of every revision that has any";
    /// The packets that are stored with the configuration.
    Probes = "probes", "what is wanted becomes of every probe, under every revision that has any";
    /// What was expected to leave.
    Outputs = "outputs", "what leaves is, frame by frame, what was expected";
    /// Law 10.
    Accounting = "accounting", "every packet is accounted for, after every burst";
    /// Law 6, and what every frame that leaves must be.
    Invariants = "invariants", "frames leave whole, by interfaces that are up, and no two connections have one tuple";
    /// Law 6.
    Connections = "connections", "connections that a revision still allows go on as they are, and those that it forbids pass nothing";
    /// A budget.
    Time = "time", "no revision takes longer than its budget, nor the whole replay longer than its own";
    /// A budget.
    Memory = "memory", "the tables, and the whole process, take no more memory than their budget";
}

impl Check {
    /// Whether only a fault of this program can make it fail.
    pub fn is_of_ours(self) -> bool {
        matches!(
            self,
            Check::Tables | Check::Accounting | Check::Invariants | Check::Connections
        )
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no check \"{0}\": they are {names}", names = names())]
pub struct NoSuchCheck(String);

fn names() -> String {
    let names: Vec<&str> = Check::ALL.iter().map(|check| check.name()).collect();
    names.join(", ")
}

impl FromStr for Check {
    type Err = NoSuchCheck;
    fn from_str(text: &str) -> Result<Check, NoSuchCheck> {
        let mut all = Check::ALL.iter().copied();
        let found = all.find(|check| check.name() == text);
        found.ok_or_else(|| NoSuchCheck(text.to_owned()))
    }
}

/// The checks that are made.
pub type Checks = BTreeSet<Check>;

/// All checks; those that compare with something are made where there is something to compare with.
pub fn all() -> Checks {
    Check::ALL.iter().copied().collect()
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which one.
    pub check: Check,
    /// Under which revision.
    pub revision: u64,
    /// When, on the gateway's clock, in nanoseconds.
    pub time_ns: u64,
    /// The frames that had come in by then.
    pub packets: u64,
    /// What is wrong, in one line.
    pub message: String,
    /// More about it, line by line.
    pub details: Vec<String>,
}
