use rewire_schema::state::StateError;
use rewire_schema::{Row, RowKey, Rows, Table, Value};

use crate::commit::StateReader;
use crate::error::Error;

/// The state of a commit that is being checked, as [`Rows`]: what rules about a configuration look into.
#[derive(Clone, Copy)]
pub struct Looking<'a>(pub &'a dyn StateReader);

fn failed(error: Error) -> StateError {
    StateError(Box::new(error))
}

impl Rows for Looking<'_> {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.0.row(key).map_err(failed)
    }
    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        self.0.below(table, key_prefix).map_err(failed)
    }
    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        self.0.by(table, columns, values).map_err(failed)
    }
}
