//! What can stand next in a command: from the model, and from what is there.

use crate::edit::command::{VERBS, Walk};
use crate::edit::edits::{Draft, Edits};
use crate::edit::error::EditError;
use crate::edit::path::{KeyPart, Node, Order, Target};
use crate::edit::workspace::Workspace;
use crate::model::{RowKey, Table};
use crate::outline::{Collection, Object, Part};
use crate::state::Rows;
use crate::table::ColumnDefinition;
use crate::value::{Kind, Value};

/// The most names of objects that are offered at once.
const MOST_NAMES: usize = 1000;

/// What can stand next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The words that can, in the order of the model or of their keys.
    pub candidates: Vec<Candidate>,
    /// What can stand there that is no fixed word: how it is written in short, and what it is.
    pub hints: Vec<Candidate>,
    /// Whether the command is whole without another word.
    pub complete: bool,
}

/// Something that can stand in a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub text: String,
    /// What it is, on one line.
    pub help: String,
}

impl Candidate {
    fn new(text: impl Into<String>, help: impl Into<String>) -> Self {
        Candidate {
            text: text.into(),
            help: help.into(),
        }
    }
}

/// What can stand after the words of a command, of which the last is not finished yet (`partial`; it may be empty), below
/// the place that `context` leads to. Cost: the objects of the collection that is to be named.
///
/// # Errors
///
/// Where the words before lead nowhere, or the state cannot be read.
pub fn complete<W: AsRef<str>, C: AsRef<str>>(
    rows: &dyn Rows,
    edits: &Edits,
    context: &[C],
    words: &[W],
    partial: &str,
) -> Result<Completion, EditError> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let mut above = Target::root();
    for word in context {
        above.enter(word.as_ref(), 0)?;
    }
    let mut completer = Completer {
        workspace: Workspace::new(rows, edits),
        partial,
        completion: Completion::default(),
    };
    match words.split_first() {
        None => VERBS
            .iter()
            .for_each(|(name, _, help)| completer.offer(name, help)),
        Some((&"set", words)) => completer.set(words, above)?,
        Some((&"rename" | &"copy", words)) => completer.rename(words, above)?,
        Some((&"annotate", words)) => {
            completer.path(words, above, Fields::Given)?;
            if std::mem::take(&mut completer.completion.complete) {
                completer.hint("\"TEXT\"", "A note for people; \"\" takes it away.");
            }
        }
        Some((&"deactivate", words)) => completer.path(words, above, Fields::Optional)?,
        Some((&"activate", words)) => completer.path(words, above, Fields::Deactivated)?,
        Some((_, words)) => completer.path(words, above, Fields::All)?,
    }
    Ok(completer.completion)
}

/// Which fields of an object a path may end with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    None,
    /// Those that are given.
    All,
    /// Those that are given and no marks.
    Given,
    /// Of those, the ones that an object can be without.
    Optional,
    /// Those that are deactivated.
    Deactivated,
}

impl Fields {
    fn takes(self, object: &Draft, column: usize) -> bool {
        let definition = &object.key().table().definition().columns[column];
        let given = object.get(column).is_some();
        let can_be_marked = given && !definition.is_mark();
        match self {
            Fields::None => false,
            Fields::All => given,
            Fields::Given => can_be_marked,
            Fields::Optional => can_be_marked && !definition.required(),
            Fields::Deactivated => can_be_marked && object.mark(column).deactivated,
        }
    }
}

struct Completer<'a> {
    workspace: Workspace<'a>,
    partial: &'a str,
    completion: Completion,
}

impl Completer<'_> {
    fn offer(&mut self, text: &str, help: &str) {
        let known = |candidate: &Candidate| candidate.text == text;
        if text.starts_with(self.partial) && !self.completion.candidates.iter().any(known) {
            self.completion.candidates.push(Candidate::new(text, help));
        }
    }

    fn hint(&mut self, text: impl Into<String>, help: impl Into<String>) {
        self.completion.hints.push(Candidate::new(text, help));
    }

    /// After a path to something that is there: to an object, or also to a field of one.
    fn path(
        &mut self,
        words: &[&str],
        mut target: Target,
        fields: Fields,
    ) -> Result<(), EditError> {
        for (word, index) in words.iter().zip(1..) {
            target.enter(word, index)?;
        }
        let whole = match target.node() {
            Node::Object(object) => fields == Fields::All || object.table.is_some(),
            Node::Collection(..) => fields == Fields::All,
            Node::Field(..) => fields != Fields::None,
        };
        self.completion.complete = whole && !target.words().is_empty();
        match target.node() {
            Node::Object(object) => {
                let given = |there: Option<&Draft>, part: &Part| match part {
                    Part::Value(column) => there.is_some_and(|there| fields.takes(there, *column)),
                    _ => true,
                };
                self.fields(object, &target, given)?;
            }
            Node::Collection(collection, order) => self.keys(collection, order, &target)?,
            Node::Field(..) => {}
        }
        Ok(())
    }

    fn rename(&mut self, words: &[&str], above: Target) -> Result<(), EditError> {
        let mut parts = words.splitn(2, |word| *word == "to");
        let path = parts.next().unwrap_or_default();
        let Some(rest) = parts.next() else {
            self.path(path, above, Fields::None)?;
            if std::mem::take(&mut self.completion.complete) {
                self.offer("to", "The new name follows.");
            }
            return Ok(());
        };
        let mut target = above;
        for (word, index) in path.iter().zip(1..) {
            target.enter(word, index)?;
        }
        self.completion.complete = !rest.is_empty();
        if let (true, Some((collection, _))) = (rest.is_empty(), target.collection()) {
            self.takes(collection.key_column(), "The new name.");
        }
        Ok(())
    }

    fn set(&mut self, words: &[&str], above: Target) -> Result<(), EditError> {
        let walk = Walk::along(words, above)?;
        let target = walk.target;
        match target.node() {
            Node::Field(..) => self.value(&target)?,
            Node::Object(object) => {
                self.completion.complete = object.table.is_some() && !words.is_empty();
                // A flag takes a word, and needs none.
                let last = words.last().and_then(|word| object.field(word));
                let column = last.and_then(|field| object.column(field));
                if column.is_some_and(|column| matches!(column.kind, Kind::Flag)) {
                    self.flag();
                }
                let is_set = |_: Option<&Draft>, part: &Part| match (part, object.table) {
                    (Part::Value(column), Some(table)) => {
                        !matches!(table.definition().columns[*column].kind, Kind::FieldMarks)
                    }
                    _ => true,
                };
                self.fields(object, &target, is_set)?;
                if let Some((collection, Order::Set)) = target.collection() {
                    let mut set = target.clone();
                    set.leave();
                    self.keys(collection, Order::Set, &set)?;
                }
            }
            Node::Collection(collection, order) => {
                self.keys(collection, order, &target)?;
                if order == Order::List {
                    self.offer("+", "A new entry at the end.");
                    self.hint("+N", "A new entry before the one of this index.");
                } else {
                    self.names(collection.key_column())?;
                    let doc = collection.object.doc.clone();
                    self.takes(collection.key_column(), &doc);
                }
            }
        }
        Ok(())
    }

    fn fields(
        &mut self,
        object: &'static Object,
        target: &Target,
        wanted: impl Fn(Option<&Draft>, &Part) -> bool,
    ) -> Result<(), EditError> {
        let there = match target.row_key() {
            Some(key) => self.workspace.object(&key)?,
            None => None,
        };
        for field in &object.fields {
            if !wanted(there.as_ref(), &field.part) {
                continue;
            }
            let column = object.column(field);
            let given = match (&there, &field.part) {
                (Some(there), Part::Value(column)) => there.get(*column),
                _ => None,
            };
            let help = match (column, given) {
                (Some(column), Some(value)) => {
                    format!("{} (now {})", field.doc, show(column, value))
                }
                (Some(column), None) if column.required() => format!("{} (required)", field.doc),
                _ => field.doc.clone(),
            };
            self.offer(field.name, &help);
        }
        Ok(())
    }

    /// The objects that a collection has, with what they are.
    fn keys(
        &mut self,
        collection: &Collection,
        order: Order,
        target: &Target,
    ) -> Result<(), EditError> {
        let known = |key: &super::path::KeyWord| match &key.part {
            KeyPart::Value(value) => Some(value.clone()),
            _ => None,
        };
        let above: Vec<Value> = target.keys.iter().filter_map(known).collect();
        if above.len() < target.keys.len() {
            return Ok(());
        }
        let keys = self
            .workspace
            .some_keys_below(collection.table, &above, MOST_NAMES)?;
        for key in keys.iter().take(MOST_NAMES) {
            let Some(last) = key.values().pop() else {
                continue;
            };
            let help = self.summary(key)?;
            let help = match (help.is_empty(), order) {
                (true, Order::List) => format!("An entry: {}", collection.object.doc),
                (true, _) => collection.object.doc.clone(),
                (false, _) => help,
            };
            self.offer(&last.to_string(), &help);
        }
        Ok(())
    }

    /// What an object is in short: its description, or its first fields.
    fn summary(&self, key: &RowKey) -> Result<String, EditError> {
        let Some(object) = self.workspace.object(key)? else {
            return Ok(String::new());
        };
        let definition = key.table().definition();
        let described = definition.position("description");
        if let Some(value) = described.and_then(|column| object.get(column)) {
            return Ok(value.to_string());
        }
        let fields = object.given().take(3);
        let fields: Vec<String> = fields
            .map(|(column, value)| {
                let column = &definition.columns[column];
                format!("{} {}", column.field, show(column, value))
            })
            .collect();
        Ok(fields.join(", "))
    }

    /// The names of the objects that a column can name.
    fn names(&mut self, column: &ColumnDefinition) -> Result<(), EditError> {
        let Some(table) = column.target.and_then(Table::named) else {
            return Ok(());
        };
        let noun = table.definition().noun();
        for key in self
            .workspace
            .some_keys_below(table, &[], MOST_NAMES)?
            .iter()
        {
            let summary = self.summary(key)?;
            let help = match summary.is_empty() {
                true => noun.clone(),
                false => format!("{noun}: {summary}"),
            };
            if let [name] = key.values().as_slice() {
                self.offer(&name.to_string(), &help);
            }
        }
        Ok(())
    }

    fn flag(&mut self) {
        self.offer("true", "Yes.");
        self.offer("false", "No: as if it were not said.");
    }

    fn value(&mut self, target: &Target) -> Result<(), EditError> {
        let Some(column) = target.column() else {
            return Ok(());
        };
        match column.kind {
            Kind::Words(words) => {
                for (word, meaning) in words {
                    self.offer(word, meaning.trim());
                }
            }
            Kind::Flag => self.flag(),
            _ => self.names(column)?,
        }
        let mut help = column.description();
        if let Some(default) = column.absent().filter(|value| *value != Value::Null) {
            help = format!("{help} Without it: {}.", show(column, &default));
        }
        let now = match (target.row_key(), target.node()) {
            (Some(key), Node::Field(_, number)) => {
                let object: Option<Draft> = self.workspace.object(&key)?;
                object.and_then(|object| object.get(number).cloned())
            }
            _ => None,
        };
        if let Some(now) = now {
            help = format!("{help} Now: {}.", show(column, &now));
        }
        self.takes(column, &help);
        Ok(())
    }

    /// Says how what a column takes is written.
    fn takes(&mut self, column: &ColumnDefinition, help: &str) {
        let (text, more) = match column.kind {
            Kind::Line { longest } => (
                "\"TEXT\"".to_owned(),
                format!("One line of at most {longest} characters."),
            ),
            Kind::Text(format) => (format!("<{}>", format.name), format.description.to_owned()),
            Kind::List(format) => (format!("<{}>", format.name), format.description.to_owned()),
            Kind::Integer { .. } => {
                let (least, most) = column.bounds().unwrap_or_default();
                (format!("<{least}..{most}>"), "A whole number.".to_owned())
            }
            Kind::Words(_) => (format!("<{}>", column.field), String::new()),
            Kind::Flag => ("<true|false>".to_owned(), String::new()),
            // Set by verbs of their own.
            Kind::FieldMarks => return,
        };
        let help = format!("{help} {more}");
        self.hint(text, help.trim());
    }
}

fn show(column: &ColumnDefinition, value: &Value) -> String {
    match (column.kind, value) {
        (Kind::Flag, Value::Null) => "false".to_owned(),
        (Kind::Flag, _) => "true".to_owned(),
        (_, value) => value.to_string(),
    }
}
