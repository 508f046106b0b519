//! Places in a configuration as people type them: words that lead along the [outline](crate::outline).
//!
//! `vpcs blue routes 10.0.0.0/8 next_hops 0 via` and `vpcs.blue.routes.10.0.0.0/8.next_hops[0].via` (as errors and diffs
//! write it) are the same place.

use crate::document::Path;
use crate::edit::error::EditError;
use crate::model::{RowKey, Table};
use crate::outline::{Collection, Field, Object, Part, outline};
use crate::table::ColumnDefinition;
use crate::value::{FieldError, Value, or};

/// The longest word that is read as a path with dots, in bytes.
const LONGEST_DOTTED: usize = 512;

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Node {
    /// The document, a section or an object.
    Object(&'static Object),
    /// All objects of a map, list or set.
    Collection(&'static Collection, Order),
    /// A field with a value: the object that has it, and the number of its column.
    Field(&'static Object, usize),
}

/// How the objects of a collection are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the text of a key.
    Map,
    /// By their place, from 0.
    List,
    /// By themselves.
    Set,
}

/// One value of the key of the objects on the way, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyWord {
    pub(crate) part: KeyPart,
    /// The word that said it.
    pub(crate) word: usize,
    /// How many steps the path had with it.
    pub(crate) depth: usize,
}

/// What a word says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPart {
    /// The value.
    Value(Value),
    /// The end of a list: `+`.
    End,
    /// A new entry of a list before this one: `+0`.
    Before(Value),
}

/// A place that a path leads to. Whether anything is there is another question.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) keys: Vec<KeyWord>,
    steps: Vec<String>,
    /// What each step leads to.
    nodes: Vec<Node>,
    /// The last word.
    pub(crate) word: usize,
}

impl Target {
    /// The document itself.
    pub fn root() -> Target {
        Target {
            keys: Vec::new(),
            steps: Vec::new(),
            nodes: Vec::new(),
            word: 0,
        }
    }

    /// What stands here.
    pub fn node(&self) -> Node {
        let last = self.nodes.last().copied();
        last.unwrap_or_else(|| Node::Object(outline()))
    }

    /// The collection that the object here is one of.
    pub(crate) fn collection(&self) -> Option<(&'static Collection, Order)> {
        let above = self.nodes.len().checked_sub(2)?;
        match self.nodes[above] {
            Node::Collection(collection, order) => Some((collection, order)),
            _ => None,
        }
    }

    /// The object whose key ends with this word.
    pub(crate) fn object_at(&self, key: &KeyWord) -> Option<&'static Object> {
        match self.nodes.get(key.depth.checked_sub(1)?)? {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Goes one step back.
    pub(crate) fn leave(&mut self) {
        self.nodes.pop();
        self.steps.pop();
        if self
            .keys
            .last()
            .is_some_and(|key| key.depth > self.steps.len())
        {
            self.keys.pop();
        }
    }

    /// Where all of these words lead.
    ///
    /// # Errors
    ///
    /// At the first word that cannot stand where it does.
    pub fn resolve<W: AsRef<str>>(words: &[W]) -> Result<Target, EditError> {
        let mut target = Target::root();
        for (index, word) in words.iter().enumerate() {
            target.enter(word.as_ref(), index)?;
        }
        Ok(target)
    }

    /// The place as a path.
    pub fn path(&self) -> Path {
        Path::new(&self.steps)
    }

    /// The words that lead here.
    pub fn words(&self) -> &[String] {
        &self.steps
    }

    /// The table and the key of the object here, or of the one that has the field; none for a section, for a
    /// collection, and for an entry of a list that is not there yet.
    pub fn row_key(&self) -> Option<RowKey> {
        let (Node::Object(object) | Node::Field(object, _)) = self.node() else {
            return None;
        };
        RowKey::from_values(object.table?, &self.key_values()?).ok()
    }

    /// The values of the keys on the way; none where one is not known yet.
    pub(crate) fn key_values(&self) -> Option<Vec<Value>> {
        let values = self.keys.iter().map(|key| match &key.part {
            KeyPart::Value(value) => Some(value.clone()),
            KeyPart::End | KeyPart::Before(_) => None,
        });
        values.collect()
    }

    /// The path down to the object whose key ends with this word.
    pub(crate) fn path_to(&self, key: &KeyWord) -> Path {
        Path::new(&self.steps[..key.depth])
    }

    /// Goes one word further.
    pub(crate) fn enter(&mut self, word: &str, index: usize) -> Result<(), EditError> {
        self.word = index;
        if let Some(steps) = dotted(self.node(), word) {
            return steps.iter().try_for_each(|step| self.step(step, index));
        }
        self.step(word, index).map_err(|error| {
            // Nothing was entered.
            self.as_far_as(word, index).unwrap_or(error)
        })
    }

    /// What is wrong with a word with dots, said where a good beginning of it leads: the one after which a field is nearly
    /// named, or the one with the most steps.
    fn as_far_as(&self, word: &str, index: usize) -> Option<EditError> {
        let ends = word.match_indices('.').map(|(at, _)| at);
        let mut furthest: Option<(usize, EditError)> = None;
        for end in ends.take_while(|end| *end <= LONGEST_DOTTED) {
            let mut steps = Vec::new();
            if end == 0 || !read(self.node(), &word[..end], &mut steps) {
                continue;
            }
            let mut target = self.clone();
            steps
                .iter()
                .try_for_each(|step| target.step(step, index))
                .ok()?;
            let rest = &word[end + 1..];
            let first = rest.split(['.', '[']).next().unwrap_or_default();
            let (next, is_near) = match target.node() {
                Node::Object(object) => {
                    let names = object.fields.iter().map(|field| field.name);
                    (first, crate::suggestion::nearest(first, names).is_some())
                }
                Node::Collection(..) | Node::Field(..) => (rest, false),
            };
            let Err(error) = target.step(next, index) else {
                continue;
            };
            if is_near {
                return Some(error);
            }
            if furthest
                .as_ref()
                .is_none_or(|(count, _)| *count < steps.len())
            {
                furthest = Some((steps.len(), error));
            }
        }
        furthest.map(|(_, error)| error)
    }

    fn step(&mut self, word: &str, index: usize) -> Result<(), EditError> {
        let mut step = word.to_owned();
        let node = match self.node() {
            Node::Object(object) => {
                let Some(field) = object.field(word) else {
                    return Err(self.no_such_field(object, word, index));
                };
                below(object, field)
            }
            Node::Collection(collection, order) => {
                let part = key(collection, order, word).map_err(|error| EditError::Value {
                    word: index,
                    at: self.path(),
                    error,
                })?;
                if let KeyPart::Value(value) = &part {
                    // A key can be written in several ways, and has one path.
                    step = value.to_string();
                }
                self.keys.push(KeyWord {
                    part,
                    word: index,
                    depth: self.steps.len() + 1,
                });
                Node::Object(&collection.object)
            }
            Node::Field(..) => {
                return Err(EditError::TooMany {
                    word: index,
                    at: self.path(),
                    found: word.to_owned(),
                });
            }
        };
        self.nodes.push(node);
        self.steps.push(step);
        Ok(())
    }

    fn no_such_field(&self, object: &Object, found: &str, word: usize) -> EditError {
        let names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
        let help = crate::suggestion::did_you_mean(found, names.iter().copied())
            .unwrap_or_else(|| format!("expected {}", or(&names)));
        EditError::NoSuchField {
            word,
            at: self.path(),
            found: found.to_owned(),
            help,
        }
    }

    /// The table of the object here, or of the one that has the field.
    pub(crate) fn table(&self) -> Option<Table> {
        match self.node() {
            Node::Object(object) | Node::Field(object, _) => object.table,
            Node::Collection(..) => None,
        }
    }

    /// The column of the field here.
    pub(crate) fn column(&self) -> Option<&'static ColumnDefinition> {
        match self.node() {
            Node::Field(object, column) => Some(&object.table?.definition().columns[column]),
            _ => None,
        }
    }

    /// Every table whose rows stand at this place or below it, parents first.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        match self.node() {
            Node::Object(object) | Node::Field(object, _) => gather(object, &mut tables),
            Node::Collection(collection, _) => gather(&collection.object, &mut tables),
        }
        tables
    }
}

/// The tables of an object and of all below it, parents before children.
pub(crate) fn gather(object: &Object, tables: &mut Vec<Table>) {
    tables.extend(object.table);
    for field in &object.fields {
        match &field.part {
            Part::Value(_) => {}
            Part::Object(inner) => gather(inner, tables),
            Part::Map(c) | Part::List(c) | Part::Set(c) => gather(&c.object, tables),
        }
    }
}

fn below(object: &'static Object, field: &'static Field) -> Node {
    match &field.part {
        Part::Value(column) => Node::Field(object, *column),
        Part::Object(inner) => Node::Object(inner),
        Part::Map(collection) => Node::Collection(collection, Order::Map),
        Part::List(collection) => Node::Collection(collection, Order::List),
        Part::Set(collection) => Node::Collection(collection, Order::Set),
    }
}

fn key(collection: &Collection, order: Order, word: &str) -> Result<KeyPart, FieldError> {
    if order != Order::List {
        return collection.key_column().parse(word).map(KeyPart::Value);
    }
    let column = collection.key_column();
    let index = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => column.parse(digits).ok(),
        false => None,
    };
    let part = match word.strip_prefix('+') {
        Some("") => Some(KeyPart::End),
        Some(before) => index(before).map(KeyPart::Before),
        None => index(word).map(KeyPart::Value),
    };
    part.ok_or_else(|| {
        let found: String = word.chars().take(80).collect();
        FieldError::new(format!(
            "expected an index from 0, + for the end, or +N for a new entry before N, found \"{found}\""
        ))
    })
}

/// The steps of a word with dots and brackets. None where it is one step by itself, or no path from here. Keys may have
/// dots, too: of several ways to read them, the one with the shortest keys counts.
fn dotted(node: Node, word: &str) -> Option<Vec<String>> {
    if word.len() > LONGEST_DOTTED || !word.contains(['.', '[']) {
        return None;
    }
    if let Node::Collection(collection, order) = node
        && key(collection, order, word).is_ok()
    {
        return None;
    }
    let mut steps = Vec::new();
    read(node, word, &mut steps).then_some(steps)
}

/// Reads `rest` from a node on; gives whether all of it is a path.
fn read(node: Node, rest: &str, steps: &mut Vec<String>) -> bool {
    match node {
        _ if rest.is_empty() => true,
        Node::Field(..) => false,
        Node::Object(object) => {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let Some(field) = object.field(&rest[..end]) else {
                return false;
            };
            // The outline lives as long as the program.
            let node = below(object, field);
            steps.push(field.name.to_owned());
            let rest = &rest[end..];
            let inner = match (node, rest.strip_prefix('.')) {
                (_, Some("")) => false,
                (_, Some(inner)) => read(node, inner, steps),
                (Node::Collection(..), None) => read(node, rest, steps),
                (_, None) => rest.is_empty(),
            };
            if !inner {
                steps.pop();
            }
            inner
        }
        Node::Collection(collection, order) => {
            let mut attempt = |text: &str, rest: &str| {
                let good = key(collection, order, text).is_ok();
                steps.push(text.to_owned());
                let inner = match rest.strip_prefix('.') {
                    _ if !good => false,
                    Some("") => false,
                    Some(inner) => read(Node::Object(&collection.object), inner, steps),
                    None => rest.is_empty(),
                };
                if !inner {
                    steps.pop();
                }
                inner
            };
            if let Some(inner) = rest.strip_prefix('[') {
                let Some((text, rest)) = inner.split_once(']') else {
                    return false;
                };
                return attempt(text, rest);
            }
            let ends = rest.match_indices('.').map(|(at, _)| at);
            let mut ends = ends.chain([rest.len()]);
            ends.any(|end| attempt(&rest[..end], &rest[end..]))
        }
    }
}
