mod learned;

use std::collections::BTreeMap;
use std::net::IpAddr;

use rewire_compiler::{Compiler, Explanation, Question};
use rewire_configdb::{LogEntry, LogQuery, Store};
use rewire_schema::types::{Name, Prefix};
use rewire_schema::{Row, RowKey};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::history::first_line;
use crate::when;
use crate::number::whole_number;

/// Say why the gateway's tables hold what they hold: the rows that an entry comes from, and who last changed each
///
/// What is asked about is compiled from the running configuration; no gateway need run. Where one runs, it is asked for
/// the routes that it has learned: from whom, since when, and whether packets follow them.
#[derive(clap::Args)]
pub(crate) struct Explain {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The route that decides about an address, with those that lead to it from one VPC into the next; or what the table
    /// holds for exactly one prefix
    Route {
        /// The VPC that packets come from
        vpc: Name,
        /// An address, or a prefix
        #[arg(value_name = "ADDRESS|PREFIX", value_parser = destination)]
        destination: Destination,
    },
    /// An interface, and the neighbors that are set by hand there
    Interface {
        /// Its name
        name: Name,
    },
    /// An ACL with its rules, or one of them
    Acl {
        /// Its name
        name: Name,
        /// The rule's sequence number
        #[arg(value_parser = whole_number::<u32>)]
        sequence: Option<u32>,
    },
    /// Rules of NAT and pools of this name
    Nat {
        /// The name of a masquerade, a port forward, a static translation or a pool
        name: Name,
    },
    /// A peering: who may cross it, and how what is exposed is translated
    Peering {
        /// Its name
        name: Name,
    },
}

#[derive(Clone, Debug)]
enum Destination {
    Address(IpAddr),
    Prefix(Prefix),
}

fn destination(text: &str) -> Result<Destination, String> {
    if let Ok(address) = text.parse() {
        return Ok(Destination::Address(address));
    }
    match text.parse() {
        Ok(prefix) => Ok(Destination::Prefix(prefix)),
        Err(error) => Err(format!("expected an address or a prefix: {error}")),
    }
}

impl What {
    fn question(self) -> Question {
        match self {
            What::Route { vpc, destination: Destination::Address(address) } => Question::Address(vpc, address),
            What::Route { vpc, destination: Destination::Prefix(prefix) } => Question::Prefix(vpc, prefix),
            What::Interface { name } => Question::Interface(name),
            What::Acl { name, sequence } => Question::Acl(name, sequence),
            What::Nat { name } => Question::Nat(name),
            What::Peering { name } => Question::Peering(name),
        }
    }
}

/// What was asked about, where there is no such thing.
fn nothing(question: &Question) -> String {
    match question {
        Question::Address(vpc, address) => format!("VPC \"{vpc}\" has no route to {address}"),
        Question::Prefix(vpc, prefix) => format!("the table of VPC \"{vpc}\" holds nothing for {prefix}"),
        Question::Interface(name) => format!("there is no interface \"{name}\" in effect"),
        Question::Acl(name, None) => format!("there is no ACL \"{name}\" in effect"),
        Question::Acl(name, Some(sequence)) => {
            format!("there is no rule {sequence} of an ACL \"{name}\" in effect")
        }
        Question::Nat(name) => format!("there is no rule of NAT and no pool \"{name}\" in effect"),
        Question::Peering(name) => format!("there is no peering \"{name}\" in effect"),
    }
}

/// The revision that last changed a row; none where that was pruned.
type Changed = BTreeMap<RowKey, Option<u64>>;

impl Explain {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open()?;
        let (head, configuration) = store.head_and_configuration()?;
        let compiled = Compiler::compile(configuration, head);
        let (compiler, _) = compiled.map_err(|errors| Failure::new(Code::Damaged, errors.to_string()))?;
        let question = self.what.question();
        if let Question::Address(vpc, _) | Question::Prefix(vpc, _) = &question
            && compiler.vpc_index(vpc).is_none()
        {
            let message = format!("there is no VPC \"{vpc}\" in effect");
            return Err(Failure::new(Code::NoSuchName, message));
        }
        let explained = compiler.explain(&question);
        let learned = learned::ask(context, &question);
        if explained.is_empty() && learned.is_empty() {
            return Err(Failure::new(Code::NoSuchName, nothing(&question)));
        }
        let changed = changed(&store, &explained)?;
        let revisions = revisions(&store, &changed)?;
        Ok(context.shown(
            |_| text(&explained, &changed, &revisions) + &learned.text(),
            || {
                let mut value = to_json(head, &explained, &changed, &revisions);
                if let Some(learned) = learned.to_json() {
                    value["learned"] = learned;
                }
                value
            },
        ))
    }
}

fn changed(store: &Store, explained: &[Explanation]) -> Result<Changed, Failure> {
    let rows = explained.iter().flat_map(|found| &found.rows);
    let mut keys: Vec<RowKey> = rows.map(Row::row_key).collect();
    keys.sort_unstable();
    keys.dedup();
    let blamed = store.blame(&keys)?.into_iter().map(|blame| {
        let fields = blame.fields.iter().map(|(_, revision)| *revision);
        let last = fields.chain([blame.created]).max().flatten();
        (blame.key, last)
    });
    Ok(blamed.collect())
}

fn revisions(store: &Store, changed: &Changed) -> Result<BTreeMap<u64, LogEntry>, Failure> {
    let mut entries = BTreeMap::new();
    for revision in changed.values().flatten() {
        if !entries.contains_key(revision) {
            let query = LogQuery { before: Some(revision + 1), ..LogQuery::last(1) };
            entries.extend(store.log(query)?.into_iter().map(|entry| (entry.revision, entry)));
        }
    }
    Ok(entries)
}

fn text(explained: &[Explanation], changed: &Changed, revisions: &BTreeMap<u64, LogEntry>) -> String {
    let mut text = String::new();
    for found in explained {
        for entry in &found.entries {
            text.push_str(&format!("{entry}\n"));
        }
        if found.entries.is_empty() {
            text.push_str("nothing in the tables\n");
        }
        let rows: Vec<Vec<Cell>> = found.rows.iter().map(|row| {
            let mut cells = vec![Cell::word(&format!("  {}", row.path()))];
            let revision = changed.get(&row.row_key()).copied().flatten();
            match revision.and_then(|revision| revisions.get(&revision)) {
                Some(entry) => cells.extend([
                    Cell::word(&entry.revision.to_string()),
                    Cell::word(&entry.author),
                    Cell::word(&when::local(entry.committed_at)),
                    Cell::word(&first_line(&entry.message)),
                ]),
                None => cells.push(Cell::word("pruned")),
            }
            cells
        }).collect();
        for line in columns(&rows) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

fn to_json(
    head: u64,
    explained: &[Explanation],
    changed: &Changed,
    revisions: &BTreeMap<u64, LogEntry>,
) -> Value {
    let explained = explained.iter().map(|found| {
        let rows = found.rows.iter().map(|row| {
            let revision = changed.get(&row.row_key()).copied().flatten();
            let entry = revision.and_then(|revision| revisions.get(&revision));
            json!({
                "path": row.path().steps(),
                "revision": revision,
                "author": entry.map(|entry| &entry.author),
                "time": entry.map(|entry| when::utc(entry.committed_at)),
                "message": entry.map(|entry| &entry.message),
            })
        });
        json!({ "entries": found.entries, "rows": rows.collect::<Value>() })
    });
    json!({ "revision": head, "explained": explained.collect::<Value>() })
}
