//! Moving an object to another key, with all below it and everything that names it.

use std::collections::BTreeMap;

use crate::edit::edits::Draft;
use crate::edit::error::EditError;
use crate::edit::workspace::Workspace;
use crate::model::{RowKey, Table};
use crate::state::StateError;
use crate::table::{Reference, TableDefinition};
use crate::value::Value;

/// Gives the object with the key `from` the key `to`. What stands below it moves along, and what names any of these names
/// it as it is now. Cost: the rows that change, through indices. `word` is what an error is about.
///
/// # Errors
///
/// Where something stands already where a row has to go.
pub(crate) fn move_object(
    workspace: &mut Workspace<'_>,
    table: Table,
    from: &[Value],
    to: &[Value],
    word: usize,
) -> Result<(), EditError> {
    let mut moves = Moves {
        workspace,
        objects: BTreeMap::new(),
        pending: vec![(table, from.to_vec(), to.to_vec())],
    };
    while let Some((table, from, to)) = moves.pending.pop() {
        moves.object(table, &from, &to)?;
    }
    let objects = moves.objects;
    for key in objects.keys() {
        workspace.remove(key)?;
    }
    for (before, object) in objects {
        if workspace.exists(object.key())? && *object.key() != before {
            let path = object.path();
            return Err(EditError::Exists { word, path });
        }
        workspace.put(object)?;
    }
    Ok(())
}

struct Moves<'a, 'b> {
    workspace: &'a Workspace<'b>,
    /// What changes, by the key that it had.
    objects: BTreeMap<RowKey, Draft>,
    /// Objects that still have to move: table, old key, new key.
    pending: Vec<(Table, Vec<Value>, Vec<Value>)>,
}

impl Moves<'_, '_> {
    fn object(&mut self, table: Table, from: &[Value], to: &[Value]) -> Result<(), EditError> {
        for below in Table::ALL {
            if *below != table && !is_below(below.definition(), table.definition()) {
                continue;
            }
            for key in self.workspace.keys_below(*below, from)? {
                let Some(object) = self.changed(&key)? else {
                    continue;
                };
                let mut values = object.key().values();
                for (index, (from, to)) in from.iter().zip(to).enumerate() {
                    if from != to {
                        values[index] = to.clone();
                    }
                }
                let moved = RowKey::from_values(*below, &values)?;
                if *object.key() != moved {
                    self.objects.insert(key.clone(), object.renamed(moved));
                    self.references(*below, &key.values(), &values)?;
                }
            }
        }
        Ok(())
    }

    /// The object that had this key, as it is after the changes so far.
    fn changed(&self, key: &RowKey) -> Result<Option<Draft>, StateError> {
        match self.objects.get(key) {
            Some(object) => Ok(Some(object.clone())),
            None => self.workspace.object(key),
        }
    }

    /// Lets all that names the object with the key `from` name the one with the key `to`.
    fn references(&mut self, table: Table, from: &[Value], to: &[Value]) -> Result<(), EditError> {
        let target = table.definition();
        for referring in Table::ALL {
            let definition = referring.definition();
            let naming = definition.references.iter();
            for reference in naming.filter(|r| r.table == target.name) {
                if is_part(definition, target, reference) {
                    continue;
                }
                for key in self.naming(*referring, reference, from)? {
                    self.rename_in(&key, reference, from, to)?;
                }
            }
        }
        Ok(())
    }

    /// The keys of the objects whose reference has these values.
    fn naming(
        &self,
        table: Table,
        reference: &Reference,
        values: &[Value],
    ) -> Result<Vec<RowKey>, EditError> {
        let rows = self.workspace.rows_by(table, reference.columns, values)?;
        let mut keys: Vec<RowKey> = rows.iter().map(|row| row.row_key()).collect();
        for key in self.workspace.drafts() {
            if key.table() != table {
                continue;
            }
            let Some(draft) = self.workspace.object(&key)? else {
                continue;
            };
            let own = key.values();
            let value = |name: &&str| {
                let column = table.definition().position(name)?;
                own.get(column).or_else(|| draft.get(column))
            };
            if reference
                .columns
                .iter()
                .map(value)
                .eq(values.iter().map(Some))
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    fn rename_in(
        &mut self,
        key: &RowKey,
        reference: &Reference,
        from: &[Value],
        to: &[Value],
    ) -> Result<(), EditError> {
        let Some(mut object) = self.changed(key)? else {
            return Ok(());
        };
        let definition = key.table().definition();
        let own = key.values();
        let mut moved = own.clone();
        let mut set = false;
        for ((name, from), to) in reference.columns.iter().zip(from).zip(to) {
            let Some(column) = definition.position(name).filter(|_| from != to) else {
                continue;
            };
            match moved.get_mut(column) {
                Some(value) => *value = to.clone(),
                None => {
                    object.set(column, to.clone());
                    set = true;
                }
            }
        }
        if set {
            self.objects.insert(key.clone(), object);
        }
        if moved != own {
            self.pending.push((key.table(), own, moved));
        }
        Ok(())
    }
}

/// Whether the objects of one table stand below those of another.
pub(crate) fn is_below(table: &TableDefinition, above: &TableDefinition) -> bool {
    let rest = table.place.strip_prefix(above.place);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a reference only says what an object is part of: it moves along anyway.
fn is_part(table: &TableDefinition, target: &TableDefinition, reference: &Reference) -> bool {
    let mut columns = reference.columns.iter().zip(table.columns);
    is_below(table, target) && columns.all(|(name, column)| *name == column.name && column.key)
}
