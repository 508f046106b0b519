use std::str::FromStr;

use rewire_configdb::Store;
use rewire_schema::edit::{self, Edits, Target};
use rewire_schema::{source, to_document};
use rewire_schema::state::{Overlay, Rows};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::completion;
use crate::confirming;
use crate::connections;
use crate::context::Context;
use crate::difference;
use crate::edit::Editing;
use crate::failure::{Code, Failure};
use crate::history;
use crate::metrics;
use crate::nat;
use crate::routes;
use crate::rules;
use crate::selection::Selection;
use crate::terminal::clean;
use crate::view::{self, Revision, State};

/// Print a configuration or a part of it, or what one revision changed
///
/// A configuration that is printed whole can be loaded again; as commands (--format set), it is made by them. A state is
/// candidate, candidate:NAME, running, a revision's number, -N for the Nth before the last one, or a tag. `rewire show
/// revision N` prints who committed a revision, when, what for, and what it changed.
///
/// `rewire show routes [VPC] [PREFIX|ADDRESS]` asks the running gateway which routes it has: whose each is, how far it stands
/// behind others, where it leads, and which of them packets follow (*). With a prefix, those that lie in it; with an address,
/// those that match it.
///
/// `rewire show acls [ACL]` asks the running gateway what the rules of ACLs have counted: the packets that each has stopped, and
/// those that it has let pass, of the connections that it let in both ways.
///
/// `rewire show nat [NAME]` asks the running gateway which ports of external addresses masquerades have in use, by pool or interface
/// and protocol, and how often none was left; with a name, of each address.
///
/// `rewire show metrics [NAME]` asks the running gateway for its metrics, the same that Prometheus scrapes: those with this in their
/// name.
///
/// `rewire show connections` asks the running gateway which connections it tracks, and how they are translated; with --top, who
/// opens them.
///
/// `rewire show probes` tries the probes of the last revision: over the live tables of the running gateway, with its neighbors and
/// learned routes, or without one on the virtual dataplane.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// Which state; or the word revision, and then which one; or the word routes, acls, nat, metrics, connections or probes
    #[arg(value_name = "STATE", default_value = "running", allow_negative_numbers = true, add = completion::states())]
    what: What,
    /// Only what this path leads to: vpcs.blue.routes, or vpcs blue routes
    #[arg(value_name = "PATH", allow_negative_numbers = true, add = completion::paths())]
    path: Vec<String>,
    /// How to write a configuration
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    #[command(flatten)]
    connections: connections::Wanted,
}

/// What to show.
#[derive(Clone)]
enum What {
    State(State),
    Revision,
    Routes,
    Acls,
    Nat,
    Metrics,
    Connections,
    Probes,
}

impl FromStr for What {
    type Err = <State as FromStr>::Err;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "revision" => Ok(What::Revision),
            "routes" => Ok(What::Routes),
            "acls" => Ok(What::Acls),
            "nat" => Ok(What::Nat),
            "metrics" => Ok(What::Metrics),
            "connections" => Ok(What::Connections),
            "probes" => Ok(What::Probes),
            state => state.parse().map(What::State),
        }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
    /// Commands that `rewire load set` takes
    Set,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        if self.connections.is_any() && !matches!(self.what, What::Connections) {
            let message = "these options are for connections: show connections [OPTIONS]";
            return Err(Failure::new(Code::WrongArguments, message));
        }
        match (self.what, self.path.as_slice()) {
            (What::State(state), path) => part(context, &context.open()?, &state, path, self.format),
            (What::Routes, path) => routes::show(context, path),
            (What::Acls, path) => rules::show(context, path),
            (What::Nat, path) => nat::show(context, path),
            (What::Probes, path) => confirming::show(context, path),
            (What::Metrics, path) => metrics::show(context, path),
            (What::Connections, []) => connections::show(context, &self.connections),
            (What::Connections, [word, ..]) => {
                let message = format!("\"{}\" is too much: options say which connections", clean(word));
                Err(Failure::new(Code::WrongArguments, message))
            }
            (What::Revision, []) => entry(context, &context.open()?, &Revision::Running),
            (What::Revision, [revision]) => {
                let wrong = |why: &str| Failure::new(Code::WrongArguments, format!("\"{}\": {why}", clean(revision)));
                entry(context, &context.open()?, &revision.parse().map_err(wrong)?)
            }
            (What::Revision, _) => {
                let message = "one revision at a time: show revision N";
                Err(Failure::new(Code::WrongArguments, message))
            }
        }
    }
}

/// What a path leads to in a state, or all of it.
fn part(
    context: &Context,
    store: &Store,
    state: &State,
    path: &[String],
    format: Format,
) -> Result<Answer, Failure> {
    let target = Target::resolve(path)?;
    let (base, edits) = match state {
        State::Revision(revision) => (revision.number(store)?, Edits::default()),
        State::Candidate(name) => {
            let name = name.as_ref().map_or_else(|| context.candidate(), ToString::to_string);
            view::candidate(&name, store)?;
            let editing = Editing::named(name, store)?;
            (editing.base, editing.edits)
        }
    };
    for incomplete in edits.incomplete() {
        context.note(&format!("note: {incomplete}"));
    }
    let is_whole = path.is_empty() && edits.drafts.is_empty();
    let document = if is_whole {
        // All of it is read in one go.
        let configuration = state.configuration(context, store)?;
        if let (Format::Set, false) = (format, context.json) {
            return Ok(context.shown(|_| edit::to_set_commands(&configuration), || Value::Null));
        }
        Some(to_document(&configuration))
    } else {
        let reader = store.reader(base)?;
        if let (Format::Set, false) = (format, context.json) {
            let text = commands(&reader, &edits, &target)?;
            return Ok(context.shown(|_| text, || Value::Null));
        }
        edit::document_at(&reader, &edits, &target)?
    };
    let document = match (document, path) {
        (Some(document), _) => document,
        (None, []) => json!({}),
        (None, _) => {
            let message = format!("there is no {} in {state}", target.path());
            return Err(Failure::new(Code::NoSuchName, message));
        }
    };
    let cannot = |why: String| Failure::new(Code::Failed, format!("cannot write the document: {why}"));
    if context.json {
        let state = state.to_json(context, store)?;
        return Ok(context.shown(|_| String::new(), || json!({ "state": state, "document": document })));
    }
    let text = match format {
        Format::Yaml | Format::Set => source::to_yaml(&document).map_err(|e| e.to_string()),
        Format::Json => source::to_json(&document).map_err(|e| e.to_string()),
    };
    let text = text.map_err(cannot)?;
    Ok(context.shown(|_| format!("{}\n", text.trim_end()), || Value::Null))
}

/// The commands that make what the target leads to. What is not complete comes last.
fn commands(rows: &dyn Rows, edits: &Edits, target: &Target) -> Result<String, Failure> {
    let drafts = Edits {
        drafts: edits.drafts.clone(),
        ..Edits::default()
    };
    let mut text = edit::set_commands(&Overlay::new(rows, &edits.changeset), target)?;
    if target.words().is_empty() {
        text.push_str(&drafts.to_set_commands());
    }
    Ok(text)
}

fn entry(context: &Context, store: &Store, revision: &Revision) -> Result<Answer, Failure> {
    let entry = store.entry(revision.number(store)?)?;
    let changeset = view::changeset(&entry)?;
    let tags = store.tags()?.into_iter().filter(|tag| tag.revision == entry.revision);
    let tags: Vec<String> = tags.map(|tag| tag.name).collect();
    let all = Selection::EVERYTHING;
    Ok(context.shown(
        |colour| history::heading(&entry, &tags, colour) + &difference::render(&changeset, &all, colour),
        || {
            let mut result = history::entry_to_json(&entry, &tags);
            result["changes"] = difference::to_json(&changeset, &all);
            result
        },
    ))
}
