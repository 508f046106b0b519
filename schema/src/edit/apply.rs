//! What commands do to edits.

use crate::changeset::Changeset;
use crate::document::Path;
use crate::edit::command::{Command, Renaming, Setting, Settings};
use crate::edit::edits::{Draft, Edits, Incomplete};
use crate::edit::error::EditError;
use crate::edit::moving::move_object;
use crate::edit::path::{KeyPart, Node, Order, Target};
use crate::edit::workspace::{Outcome, Workspace};
use crate::model::{RowKey, Table};
use crate::state::Rows;
use crate::table::ColumnDefinition;
use crate::value::{Column as _, Value};

/// The most objects that a misspelled name is compared with.
const MOST_SIBLINGS: usize = 1000;

/// Does a command to edits on a state. Cost: what changes and what it stands below; never the whole state.
///
/// # Errors
///
/// Where the command does not fit. Nothing is changed then.
pub fn apply(rows: &dyn Rows, edits: &mut Edits, command: &Command) -> Result<Outcome, EditError> {
    let mut workspace = Workspace::new(rows, edits);
    match command {
        Command::Set(settings) => set(&mut workspace, settings)?,
        Command::Delete(target) => delete(&mut workspace, target)?,
        Command::Rename(renaming) => rename(&mut workspace, renaming)?,
        Command::Copy(renaming) => copy(&mut workspace, renaming)?,
        Command::Deactivate(target, deactivated) => {
            let part = &ColumnDefinition::DEACTIVATED;
            mark(&mut workspace, target, part, &deactivated.to_value())?;
        }
        Command::Annotate(target, text) => {
            let part = &ColumnDefinition::ANNOTATION;
            mark(&mut workspace, target, part, &text.to_value())?;
        }
    }
    let outcome = workspace.finish();
    edits.take(&outcome)?;
    Ok(outcome)
}

/// Makes rows of the drafts that are complete on this state, because somebody else gave what was missing. Cost: the drafts.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn complete_drafts(rows: &dyn Rows, edits: &mut Edits) -> Result<Outcome, EditError> {
    let mut workspace = Workspace::new(rows, edits);
    for key in edits.drafts.keys() {
        if let Some(object) = workspace.object(key)? {
            workspace.put(object)?;
        }
    }
    let outcome = workspace.finish();
    edits.take(&outcome)?;
    Ok(outcome)
}

impl Outcome {
    /// The rows that changed.
    pub fn changes(&self) -> &Changeset {
        &self.changes
    }

    /// What the command left incomplete.
    pub fn incomplete(&self) -> Vec<Incomplete> {
        let drafts = self.drafts.values().flatten();
        drafts.map(Incomplete::of).collect()
    }

    /// Whether nothing is other than before.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.drafts.is_empty()
    }
}

fn set(workspace: &mut Workspace<'_>, settings: &Settings) -> Result<(), EditError> {
    let mut values: Vec<Value> = Vec::new();
    for setting in &settings.0 {
        values.truncate(setting.keep);
        if let Some((key, order)) = &setting.key {
            let value = match (&key.part, order) {
                (KeyPart::Value(value), Order::Map | Order::Set) => value.clone(),
                (part, _) => entry(workspace, setting, &values, part, key.word)?,
            };
            values.push(value);
        }
        let key = RowKey::from_values(setting.table, &values)?;
        let found = workspace.object(&key)?;
        if found.is_some() && setting.values.is_empty() {
            continue;
        }
        let mut object = found.unwrap_or_else(|| Draft::new(key));
        for (column, value) in &setting.values {
            object.set(*column, value.clone());
        }
        workspace.put(object)?;
    }
    Ok(())
}

/// The index that a word means in the list below these values; makes room where a new entry goes before others.
fn entry(
    workspace: &mut Workspace<'_>,
    setting: &Setting,
    above: &[Value],
    part: &KeyPart,
    word: usize,
) -> Result<Value, EditError> {
    let length = workspace.keys_below(setting.table, above)?.len();
    let end = i64::try_from(length).unwrap_or(i64::MAX);
    let index = match part {
        KeyPart::End => end,
        KeyPart::Value(Value::Integer(index)) | KeyPart::Before(Value::Integer(index)) => *index,
        KeyPart::Value(_) | KeyPart::Before(_) => end,
    };
    if index > end {
        let mut list = setting.target.clone();
        list.leave();
        return Err(EditError::Index {
            word,
            path: list.path(),
            length,
            found: index,
        });
    }
    if matches!(part, KeyPart::Before(_)) {
        for index in (index..end).rev() {
            move_entry(workspace, setting.table, above, index, index + 1, word)?;
        }
    }
    Ok(Value::Integer(index))
}

fn move_entry(
    workspace: &mut Workspace<'_>,
    table: Table,
    above: &[Value],
    from: i64,
    to: i64,
    word: usize,
) -> Result<(), EditError> {
    let key = |index| {
        let mut key = above.to_vec();
        key.push(Value::Integer(index));
        key
    };
    move_object(workspace, table, &key(from), &key(to), word)
}

fn delete(workspace: &mut Workspace<'_>, target: &Target) -> Result<(), EditError> {
    let Some(values) = target.key_values() else {
        return Err(EditError::Unfit {
            word: target.word,
            path: target.path(),
            expected: "the index of an entry that is there",
        });
    };
    if let Node::Field(_, column) = target.node() {
        let mut object = existing(workspace, target)?;
        if object.clear(column) {
            workspace.put(object)?;
        }
        return Ok(());
    }
    let mut any = false;
    for table in target.tables() {
        for key in workspace.keys_below(table, &values)? {
            workspace.remove(&key)?;
            any = true;
        }
    }
    if !any {
        return Err(absent(workspace, target)?);
    }
    if let (Some((collection, Order::List)), [above @ .., Value::Integer(index)]) =
        (target.collection(), values.as_slice())
    {
        let left = workspace.keys_below(collection.table, above)?.len();
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        for index in *index..left {
            move_entry(
                workspace,
                collection.table,
                above,
                index + 1,
                index,
                target.word,
            )?;
        }
    }
    Ok(())
}

fn rename(workspace: &mut Workspace<'_>, renaming: &Renaming) -> Result<(), EditError> {
    let (table, from, to) = keys(workspace, renaming)?;
    move_object(workspace, table, &from, &to, renaming.word)
}

fn copy(workspace: &mut Workspace<'_>, renaming: &Renaming) -> Result<(), EditError> {
    let (_, from, to) = keys(workspace, renaming)?;
    for table in renaming.target.tables() {
        for key in workspace.keys_below(table, &from)? {
            let mut values = key.values();
            values[..to.len()].clone_from_slice(&to);
            let copy = RowKey::from_values(table, &values)?;
            if let Some(object) = workspace.object(&key)? {
                workspace.put(object.renamed(copy))?;
            }
        }
    }
    Ok(())
}

/// The table of the object that is to get another name, its key, and the new one. The object is there, and nothing has
/// the new key.
fn keys(
    workspace: &Workspace<'_>,
    renaming: &Renaming,
) -> Result<(Table, Vec<Value>, Vec<Value>), EditError> {
    let from = existing(workspace, &renaming.target)?;
    let table = from.key().table();
    let from = from.key().values();
    let mut to = from.clone();
    if let Some(last) = to.last_mut() {
        *last = renaming.name.clone();
    }
    let key = RowKey::from_values(table, &to)?;
    if workspace.exists(&key)? {
        return Err(EditError::Exists {
            word: renaming.word,
            path: key.path(),
        });
    }
    Ok((table, from, to))
}

fn mark(
    workspace: &mut Workspace<'_>,
    target: &Target,
    part: &ColumnDefinition,
    value: &Value,
) -> Result<(), EditError> {
    let mut object = existing(workspace, target)?;
    if let Node::Field(_, column) = target.node() {
        let (word, path) = (target.word, target.path());
        if object.get(column).is_none() {
            return Err(EditError::Unset { word, path });
        }
        let mut mark = object.mark(column);
        mark.take(part, value).map_err(|error| EditError::Value {
            word,
            at: path,
            error,
        })?;
        object.set_mark(column, mark);
    } else if let Some(column) = object.key().table().definition().position(part.name) {
        object.set(column, value.clone());
    }
    workspace.put(object)
}

/// The object that a target leads to, or that has the field.
fn existing(workspace: &Workspace<'_>, target: &Target) -> Result<Draft, EditError> {
    if let Some(key) = target.row_key()
        && let Some(object) = workspace.object(&key)?
    {
        return Ok(object);
    }
    Err(absent(workspace, target)?)
}

/// What to say about a place where nothing is: the outermost object that is missing, and the nearest one that is not.
fn absent(workspace: &Workspace<'_>, target: &Target) -> Result<EditError, EditError> {
    let mut above: Vec<Value> = Vec::new();
    for key in &target.keys {
        let KeyPart::Value(value) = &key.part else {
            break;
        };
        let prefix = above.clone();
        above.push(value.clone());
        let Some(table) = target.object_at(key).and_then(|object| object.table) else {
            continue;
        };
        if workspace.exists(&RowKey::from_values(table, &above)?)? {
            continue;
        }
        let siblings = workspace.some_keys_below(table, &prefix, MOST_SIBLINGS)?;
        let last = |key: &RowKey| key.values().pop().map(|value| value.to_string());
        let names: Vec<String> = siblings.iter().filter_map(last).collect();
        let names = names.iter().map(String::as_str);
        return Ok(EditError::Absent {
            word: key.word,
            path: target.path_to(key),
            help: crate::suggestion::did_you_mean(&value.to_string(), names),
        });
    }
    let path: Path = target.path();
    Ok(EditError::Absent {
        word: target.word,
        path,
        help: None,
    })
}
