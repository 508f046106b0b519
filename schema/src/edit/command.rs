//! What people can ask to be edited, read from words.

use crate::edit::error::EditError;
use crate::edit::path::{KeyWord, Node, Order, Target};
use crate::model::Table;
use crate::table::ColumnDefinition;
use crate::types::Line;
use crate::value::{FieldError, Kind, Value};

/// The verbs: the name of each, what follows it, and what it does.
pub const VERBS: &[(&str, &str, &str)] = &[
    (
        "set",
        "PATH [FIELD VALUE ...]",
        "Gives fields values, and makes the objects on the way where they are not there.",
    ),
    (
        "delete",
        "PATH",
        "Deletes an object with all below it, a whole section, or sets a field back to its default.",
    ),
    (
        "rename",
        "PATH to NAME",
        "Renames an object, with all below it and everywhere it is named.",
    ),
    (
        "copy",
        "PATH to NAME",
        "Copies an object with all below it.",
    ),
    (
        "deactivate",
        "PATH [FIELD]",
        "Keeps an object, but ignores it with all below it; or keeps a field, as if it were not given.",
    ),
    (
        "activate",
        "PATH [FIELD]",
        "Lets an object or a field that was deactivated count again.",
    ),
    (
        "annotate",
        "PATH [FIELD] TEXT",
        "Notes something about an object or a field, for people; an empty text takes the note away.",
    ),
];

/// One edit.
#[derive(Clone, Debug)]
pub enum Command {
    /// Gives objects fields, and makes them where they are not there.
    Set(Settings),
    /// Deletes what is at the place and below it; a field goes back to its default.
    Delete(Target),
    /// Gives an object another name.
    Rename(Renaming),
    /// Makes another object like one.
    Copy(Renaming),
    /// Deactivates an object or a field, or activates it again.
    Deactivate(Target, bool),
    /// Notes something about an object or a field; takes the note away where there is none.
    Annotate(Target, Option<Line>),
}

/// The objects that a `set` leads through, outermost first, and what it gives each.
#[derive(Clone, Debug)]
pub struct Settings(pub(crate) Vec<Setting>);

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) table: Table,
    /// The object's own part of the key; none where there is one such object below its parent.
    pub(crate) key: Option<(KeyWord, Order)>,
    /// How many values of the key before it are as those of the object before.
    pub(crate) keep: usize,
    /// The values by the number of their column.
    pub(crate) values: Vec<(usize, Value)>,
    pub(crate) target: Target,
}

/// An object and the key that it, or its copy, is to have.
#[derive(Clone, Debug)]
pub struct Renaming {
    pub(crate) target: Target,
    pub(crate) name: Value,
    /// The word that says it.
    pub(crate) word: usize,
}

impl Command {
    /// Reads a command from its words.
    ///
    /// # Errors
    ///
    /// At the first word that cannot stand where it does, or where one is missing.
    pub fn parse<W: AsRef<str>>(words: &[W]) -> Result<Command, EditError> {
        Command::parse_below(words, &[] as &[&str])
    }

    /// Reads a command whose path begins below the place that `context` leads to. Errors count the words of the command
    /// alone; one in the context counts as the verb.
    ///
    /// # Errors
    ///
    /// As [`Command::parse`].
    pub fn parse_below<W: AsRef<str>, C: AsRef<str>>(
        words: &[W],
        context: &[C],
    ) -> Result<Command, EditError> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let Some((verb, rest)) = words.split_first() else {
            return Err(missing(&Target::root(), 0, "a command", None));
        };
        let mut above = Target::root();
        for word in context {
            above.enter(word.as_ref(), 0)?;
        }
        let end = words.len();
        let walk = |words: &[&str]| {
            let mut target = above.clone();
            for (index, word) in words.iter().enumerate() {
                target.enter(word, index + 1)?;
            }
            Ok::<Target, EditError>(target)
        };
        match *verb {
            "set" => Settings::parse(rest, above).map(Command::Set),
            "delete" if rest.is_empty() => Err(missing(&above, end, "what to delete", None)),
            "delete" => walk(rest).map(Command::Delete),
            "deactivate" => {
                let target = markable(walk(rest)?, end)?;
                if target.column().is_some_and(ColumnDefinition::required) {
                    let (word, path) = (target.word, target.path());
                    return Err(EditError::Required { word, path });
                }
                Ok(Command::Deactivate(target, true))
            }
            "activate" => markable(walk(rest)?, end).map(|t| Command::Deactivate(t, false)),
            "rename" | "copy" => {
                let [path @ .., "to", name] = rest else {
                    let help = Some(format!("{verb} PATH to NAME"));
                    // As far as the path can be read, what is wrong with it is the better thing to say.
                    let path = rest.split(|word| *word == "to").next().unwrap_or_default();
                    return Err(missing(&walk(path)?, end, "\"to NAME\"", help));
                };
                let target = object(walk(path)?, end - 2)?;
                let renaming = Renaming::new(target, name, end - 1)?;
                Ok(match *verb {
                    "rename" => Command::Rename(renaming),
                    _ => Command::Copy(renaming),
                })
            }
            "annotate" => {
                let [path @ .., text] = rest else {
                    let help = Some("annotate PATH \"text\"; \"\" takes the note away".to_owned());
                    return Err(missing(&above, end, "a path", help));
                };
                let target = markable(walk(path)?, end - 1)?;
                if text.is_empty() {
                    return Ok(Command::Annotate(target, None));
                }
                match text.parse() {
                    Ok(note) => Ok(Command::Annotate(target, Some(note))),
                    Err(message) => Err(EditError::Value {
                        word: end - 1,
                        at: target.path().join(ColumnDefinition::ANNOTATION.field),
                        error: FieldError::new(message as String),
                    }),
                }
            }
            other => {
                let verbs = VERBS.iter().map(|(name, _, _)| *name);
                Err(EditError::NoSuchVerb {
                    word: 0,
                    found: other.chars().take(80).collect(),
                    help: crate::suggestion::did_you_mean(other, verbs),
                })
            }
        }
    }
}

fn missing(at: &Target, word: usize, expected: &str, help: Option<String>) -> EditError {
    EditError::Missing {
        word,
        at: at.path(),
        expected: expected.to_owned(),
        help,
    }
}

/// The names of the fields that can stand at an object, as help.
fn fields_of(object: &crate::outline::Object) -> Option<String> {
    let names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
    Some(format!("expected {}", crate::value::or(&names)))
}

/// What a collection needs next.
fn needs_key(target: &Target, end: usize) -> EditError {
    let what = match target.node() {
        Node::Collection(_, Order::List) => "an index, or + for a new entry at the end,".to_owned(),
        Node::Collection(collection, _) => {
            let noun = collection.table.definition().noun();
            match collection.key_column().kind {
                Kind::Text(format) if format.name == "name" => format!("the name of the {noun}"),
                _ => format!("the {} of the {noun}", collection.key_column().field),
            }
        }
        _ => "a field".to_owned(),
    };
    missing(target, end, &what, None)
}

/// The target, where it is an object with a row, or a field of one that is no mark itself.
fn markable(target: Target, end: usize) -> Result<Target, EditError> {
    match target.column() {
        None => object(target, end),
        Some(column) if !column.is_mark() => Ok(target),
        Some(_) => Err(EditError::Unfit {
            word: target.word,
            path: target.path(),
            expected: "an object or a field, found a mark of one",
        }),
    }
}

/// The target, where it is an object with a row.
fn object(target: Target, end: usize) -> Result<Target, EditError> {
    match target.node() {
        Node::Object(object) if object.table.is_some() => Ok(target),
        Node::Object(object) => Err(missing(&target, end, "a field", fields_of(object))),
        Node::Collection(..) => Err(needs_key(&target, end)),
        Node::Field(..) => Err(EditError::Unfit {
            word: target.word,
            path: target.path(),
            expected: "an object, found a field of one",
        }),
    }
}

impl Renaming {
    fn new(target: Target, name: &str, word: usize) -> Result<Self, EditError> {
        let collection = match target.collection() {
            Some((collection, Order::Map | Order::Set)) => collection,
            _ => {
                return Err(EditError::Unfit {
                    word: target.word,
                    path: target.path(),
                    expected: "an object with a name, found one without",
                });
            }
        };
        match collection.key_column().parse(name) {
            Ok(name) => Ok(Renaming { target, name, word }),
            Err(error) => Err(EditError::Value {
                word,
                at: target.path(),
                error,
            }),
        }
    }
}

impl Settings {
    fn parse(words: &[&str], above: Target) -> Result<Self, EditError> {
        let end = words.len() + 1;
        let walk = Walk::along(words, above)?;
        let target = walk.target;
        match target.node() {
            Node::Object(object) if object.table.is_none() => {
                Err(missing(&target, end, "a field", fields_of(object)))
            }
            Node::Object(_) => Ok(walk.settings),
            Node::Collection(..) => Err(needs_key(&target, end)),
            Node::Field(..) => {
                let field = target.column().map_or("the field", |column| column.field);
                Err(missing(
                    &target,
                    end,
                    &format!("the value of {field}"),
                    None,
                ))
            }
        }
    }

    /// Notes the objects that the steps of the path after the first `before` ones lead to.
    fn note_from(&mut self, target: &Target, before: usize) {
        let mut targets = vec![target.clone()];
        let mut above = target.clone();
        while above.words().len() > before + 1 {
            above.leave();
            targets.push(above.clone());
        }
        targets.iter().rev().for_each(|target| self.note(target));
    }

    fn note(&mut self, target: &Target) {
        let Node::Object(object) = target.node() else {
            return;
        };
        let Some(table) = object.table else { return };
        let key = target
            .collection()
            .and_then(|(_, order)| Some((target.keys.last()?.clone(), order)));
        self.0.push(Setting {
            table,
            keep: target.keys.len() - usize::from(key.is_some()),
            key,
            values: Vec::new(),
            target: target.clone(),
        });
    }

    /// Gives the field that `target` leads to its value.
    fn give(&mut self, target: &Target, column: usize, value: Value) {
        // The object that has the field was noted on the way to it, and nothing below it since.
        let keys = target.keys.len();
        let of_object =
            |s: &&mut Setting| s.target.keys.len() == keys && target.table() == Some(s.table);
        if let Some(setting) = self.0.iter_mut().rev().find(of_object) {
            setting.values.push((column, value));
        }
    }
}

/// The way along the words after `set`: a path, and then fields with values and further paths below what the words
/// before lead to. A set takes several members.
pub(crate) struct Walk {
    pub(crate) settings: Settings,
    /// Where the words lead: to a field where its value is still to come.
    pub(crate) target: Target,
}

impl Walk {
    pub(crate) fn along(words: &[&str], above: Target) -> Result<Self, EditError> {
        let mut target = Target::root();
        let mut settings = Settings(Vec::new());
        for step in above.words() {
            target.enter(step, 0)?;
            settings.note(&target);
        }
        let mut words = words.iter().zip(1..).peekable();
        while let Some((word, index)) = words.next() {
            leave_member(&mut target, word);
            let before = target.words().len();
            target.enter(word, index)?;
            // A word with dots may have led through several objects.
            settings.note_from(&target, before);
            let (Node::Field(_, number), Some(column)) = (target.node(), target.column()) else {
                continue;
            };
            // A flag that is named is set.
            let flag = matches!(column.kind, Kind::Flag);
            let given = words.next_if(|(word, _)| !flag || matches!(**word, "true" | "false"));
            let (text, index) = match given {
                Some((text, index)) => (*text, index),
                None if flag => ("true", index),
                None => break,
            };
            let value = column.parse(text).map_err(|error| EditError::Value {
                word: index,
                at: target.path(),
                error,
            })?;
            settings.give(&target, number, value);
            target.leave();
        }
        Ok(Walk { settings, target })
    }
}

/// After a member of a set, a word that is none of its marks is another member, or a field of what has the set.
fn leave_member(target: &mut Target, word: &str) {
    let (Node::Object(member), Some((collection, Order::Set))) =
        (target.node(), target.collection())
    else {
        return;
    };
    if member.field(word).is_some() {
        return;
    }
    target.leave();
    let mut above = target.clone();
    above.leave();
    if let Node::Object(object) = above.node()
        && object.field(word).is_some()
        && collection.key_column().parse(word).is_err()
    {
        *target = above;
    }
}
