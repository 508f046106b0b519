//! Look-ups in the state of a revision, without reading all of it.

use rewire_schema::state::{Overlay, Rows, StateError};
use rewire_schema::{Changeset, Row, RowKey, Table, Value};
use rusqlite::{Connection, Transaction};

use crate::error::Error;
use crate::history::way_back;
use crate::rows;
use crate::store::Store;

/// The state of one revision, as it is asked for. What others commit meanwhile is not seen.
pub struct Reader<'a> {
    snapshot: Transaction<'a>,
    /// What leads from the running state to the revision's.
    way_back: Changeset,
}

impl Store {
    /// The state of a revision, to look into. Cost: the changesets since that revision, not the configuration; each
    /// look-up costs the rows that it gives.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`], [`Error::Journal`], [`Error::Fold`], [`Error::Sqlite`].
    pub fn reader(&self, revision: u64) -> Result<Reader<'_>, Error> {
        let snapshot = self.snapshot()?;
        let way_back = way_back(&snapshot, revision)?;
        Ok(Reader { snapshot, way_back })
    }
}

/// The running state; inside a transaction, with what that has done so far.
pub(crate) struct Running<'a>(pub(crate) &'a Connection);

impl Rows for Running<'_> {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        rows::find(self.0, key).map_err(state_error)
    }
    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        rows::below(self.0, table, key_prefix).map_err(state_error)
    }
    fn some_below(
        &self,
        table: Table,
        key_prefix: &[Value],
        most: usize,
    ) -> Result<Vec<Row>, StateError> {
        rows::some_below(self.0, table, key_prefix, most).map_err(state_error)
    }
    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        rows::by(self.0, table, columns, values).map_err(state_error)
    }
    fn most(&self, table: Table) -> Result<usize, StateError> {
        rows::count(self.0, table).map_err(state_error)
    }
}

fn state_error(error: Error) -> StateError {
    StateError(Box::new(error))
}

impl Rows for Reader<'_> {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        Overlay::new(&Running(&self.snapshot), &self.way_back).find(key)
    }
    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        Overlay::new(&Running(&self.snapshot), &self.way_back).below(table, key_prefix)
    }
    fn some_below(
        &self,
        table: Table,
        key_prefix: &[Value],
        most: usize,
    ) -> Result<Vec<Row>, StateError> {
        Overlay::new(&Running(&self.snapshot), &self.way_back).some_below(table, key_prefix, most)
    }
    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        Overlay::new(&Running(&self.snapshot), &self.way_back).by(table, columns, values)
    }
    fn most(&self, table: Table) -> Result<usize, StateError> {
        Overlay::new(&Running(&self.snapshot), &self.way_back).most(table)
    }
}
