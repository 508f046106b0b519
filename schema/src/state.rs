//! Look-ups in one state of the configuration, wherever that is: in memory, in a store's transaction, or in one of these
//! under edits that are not committed yet.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::changeset::{Change, Changeset};
use crate::model::{Configuration, Row, RowKey, Table, TableRow};
use crate::types::{AddressRange, Addresses, InterfaceAddress, Name, Prefix};
use crate::value::{Column, Key, Value};

/// A state could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StateError(pub Box<dyn std::error::Error + Send + Sync>);

/// Look-ups in one state. Object-safe.
pub trait Rows {
    /// The row of this key.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read.
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError>;

    /// The rows of a table whose keys begin with these values, in the order of their keys. An empty prefix gives all.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read.
    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError>;

    /// At most so many of the rows that [`Rows::below`] gives, no matter which, in the order of their keys: for suggestions.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read.
    fn some_below(
        &self,
        table: Table,
        key_prefix: &[Value],
        most: usize,
    ) -> Result<Vec<Row>, StateError> {
        let mut rows = self.below(table, key_prefix)?;
        rows.truncate(most);
        Ok(rows)
    }

    /// The rows of a table that have these values in these columns, in the order of their keys.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read.
    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError>;

    /// A table has at most as many rows. Where none are hidden, it is their number.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read.
    fn most(&self, table: Table) -> Result<usize, StateError> {
        Ok(self.below(table, &[])?.len())
    }
}

/// Look-ups by other columns than the key go through all rows of the table.
impl Rows for Configuration {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        Ok(Configuration::find(self, key))
    }

    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        Ok(Configuration::below(self, table, key_prefix))
    }

    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        let rows = self.rows_of(table);
        Ok(rows
            .filter(|row| columns_of(row, columns) == values)
            .collect())
    }

    fn most(&self, table: Table) -> Result<usize, StateError> {
        Ok(self.rows_of(table).count())
    }
}

/// The values of a row in these columns. A column that the table does not have is NULL.
fn columns_of(row: &Row, columns: &[&'static str]) -> Vec<Value> {
    let definition = row.table().definition();
    let mut values = row.values();
    let value = |name: &&str| match definition.position(name) {
        Some(place) => std::mem::replace(&mut values[place], Value::Null),
        None => Value::Null,
    };
    columns.iter().map(value).collect()
}

/// A state with edits on top. A look-up costs that of the state below, and the edits that it meets.
pub struct Overlay<'a> {
    base: &'a dyn Rows,
    edits: &'a Changeset,
    /// The edits by what they leave in these columns, made when it is asked for.
    indices: RefCell<HashMap<(Table, Vec<&'static str>), Index>>,
}

/// The keys of rows by the values of some of their columns.
type Index = HashMap<Vec<Value>, Vec<RowKey>>;

impl<'a> Overlay<'a> {
    /// The state that the edits lead to from `base`. That they fit onto it is not checked; edits that the state below holds
    /// already change nothing, but save asking it.
    pub fn new(base: &'a dyn Rows, edits: &'a Changeset) -> Self {
        Overlay {
            base,
            edits,
            indices: RefCell::default(),
        }
    }

    /// Rows of the state below where no edit touches them, together with rows that the edits leave.
    fn merged(&self, base: Vec<Row>, edited: impl Iterator<Item = Row>) -> Vec<Row> {
        let untouched = base.into_iter().map(|row| (row.row_key(), row));
        let mut rows: BTreeMap<RowKey, Row> = untouched
            .filter(|(key, _)| self.edits.get(key).is_none())
            .collect();
        rows.extend(edited.map(|row| (row.row_key(), row)));
        rows.into_values().collect()
    }
}

impl Rows for Overlay<'_> {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        match self.edits.get(key) {
            Some(change) => Ok(change.after().cloned()),
            None => self.base.find(key),
        }
    }

    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        let base = self.base.below(table, key_prefix)?;
        let edited = self.edits.below(table, key_prefix);
        Ok(self.merged(base, edited.filter_map(|change| change.after().cloned())))
    }

    fn some_below(
        &self,
        table: Table,
        key_prefix: &[Value],
        most: usize,
    ) -> Result<Vec<Row>, StateError> {
        let edited: Vec<&Change> = self.edits.below(table, key_prefix).collect();
        // Each edit takes away one row at most.
        let most_of_base = most.saturating_add(edited.len());
        let base = self.base.some_below(table, key_prefix, most_of_base)?;
        let edited = edited
            .into_iter()
            .filter_map(|change| change.after().cloned());
        let mut rows = self.merged(base, edited);
        rows.truncate(most);
        Ok(rows)
    }

    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        let base = self.base.by(table, columns, values)?;
        let mut indices = self.indices.borrow_mut();
        let index = indices
            .entry((table, columns.to_vec()))
            .or_insert_with(|| index_of(self.edits, table, columns));
        let keys = index.get(values).into_iter().flatten();
        let edited = keys.filter_map(|key| self.edits.get(key)?.after().cloned());
        Ok(self.merged(base, edited))
    }

    fn most(&self, table: Table) -> Result<usize, StateError> {
        let edits = self.edits.below(table, &[]);
        let new = edits.filter(|change| change.before().is_none()).count();
        Ok(self.base.most(table)? + new)
    }
}

fn index_of(edits: &Changeset, table: Table, columns: &[&'static str]) -> Index {
    let mut index = Index::new();
    for row in edits.below(table, &[]).filter_map(|change| change.after()) {
        let keys = index.entry(columns_of(row, columns)).or_default();
        keys.push(row.row_key());
    }
    index
}

/// Every row that names the row of this key, and the parts right below it, whether or not the row itself exists. Ordered
/// by table and key; a row that refers twice is there once. Cost: those rows, through indices.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn referring(rows: &dyn Rows, key: &RowKey) -> Result<Vec<Row>, StateError> {
    let target = key.table().definition().name;
    let values = key.values();
    let mut found = BTreeMap::new();
    for table in Table::ALL {
        let definition = table.definition();
        for reference in definition.references.iter().filter(|r| r.table == target) {
            let part = reference.columns.iter().zip(definition.columns);
            let referring = if part.clone().all(|(name, column)| *name == column.name) {
                rows.below(*table, &values)?
            } else {
                rows.by(*table, reference.columns, &values)?
            };
            found.extend(referring.into_iter().map(|row| (row.row_key(), row)));
        }
    }
    Ok(found.into_values().collect())
}

/// The objects that the object of this key stands in, outermost first. They need not exist. Cost: constant.
pub fn ancestors(key: &RowKey) -> impl Iterator<Item = RowKey> {
    let values = key.values();
    ancestor_tables(key.table())
        .iter()
        .filter_map(move |table| {
            let above = values.get(..table.definition().key_len())?;
            RowKey::from_values(*table, above).ok()
        })
}

/// The tables of the objects that objects of this one stand in, outermost first.
pub(crate) fn ancestor_tables(table: Table) -> &'static [Table] {
    ANCESTORS.get(table as usize).map_or(&[], Vec::as_slice)
}

/// For each table those whose place is a beginning of its own, the shortest first.
static ANCESTORS: std::sync::LazyLock<Vec<Vec<Table>>> = std::sync::LazyLock::new(|| {
    let steps = |table: &Table| table.definition().steps().collect::<Vec<_>>();
    let above = |table: &Table| {
        let own = steps(table);
        let is_above = |other: &&Table| {
            let place = steps(other);
            place.len() < own.len() && own.starts_with(&place)
        };
        let mut tables: Vec<Table> = Table::ALL.iter().filter(is_above).copied().collect();
        tables.sort_by_key(|table| steps(table).len());
        tables
    };
    Table::ALL.iter().map(above).collect()
});

/// A state without the objects that are deactivated and all below them, and without deactivated fields. A look-up costs that
/// of the state, and one for each object that a found row stands in; one for values that fields have where nothing is said
/// costs that for the other values.
pub struct Effective<'a>(pub &'a dyn Rows);

impl Effective<'_> {
    /// Whether an object of this key would be ignored because one that it stands in is deactivated.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read.
    pub fn is_hidden(&self, key: &RowKey) -> Result<bool, StateError> {
        for above in ancestors(key) {
            if let Some(row) = self.0.find(&above)?
                && row.marks().deactivated()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn visible(&self, row: &Row) -> Result<bool, StateError> {
        Ok(!row.marks().deactivated() && !self.is_hidden(&row.row_key())?)
    }

    /// The rows that are in effect, as they are.
    fn all_visible(&self, rows: Vec<Row>) -> Result<Vec<Row>, StateError> {
        let mut visible = Vec::with_capacity(rows.len());
        for row in rows {
            if self.visible(&row)? {
                visible.push(row.in_effect());
            }
        }
        Ok(visible)
    }
}

impl Rows for Effective<'_> {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        match self.0.find(key)? {
            Some(row) if self.visible(&row)? => Ok(Some(row.in_effect())),
            _ => Ok(None),
        }
    }

    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        self.all_visible(self.0.below(table, key_prefix)?)
    }

    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        // What a field is where nothing is said, a deactivated one is too, whatever it holds.
        let definition = table.definition();
        let absent = |name: &str| definition.columns[definition.position(name)?].absent();
        let sure = columns.iter().zip(values);
        let sure = sure.filter(|(name, value)| absent(name).as_ref() != Some(*value));
        let (names, known): (Vec<&'static str>, Vec<Value>) =
            sure.map(|(name, value)| (*name, value.clone())).unzip();
        let rows = match names.is_empty() {
            true => self.0.below(table, &[])?,
            false => self.0.by(table, &names, &known)?,
        };
        let mut rows = self.all_visible(rows)?;
        rows.retain(|row| columns_of(row, columns) == values);
        Ok(rows)
    }

    fn most(&self, table: Table) -> Result<usize, StateError> {
        self.0.most(table)
    }
}

/// A field that can name another object.
pub(crate) trait Referring {
    /// The key of the other object, if the field names one.
    fn key(&self) -> Option<(Name,)>;
}

impl Referring for Name {
    fn key(&self) -> Option<(Name,)> {
        Some((self.clone(),))
    }
}

impl Referring for Option<Name> {
    fn key(&self) -> Option<(Name,)> {
        self.clone().map(|name| (name,))
    }
}

/// A type that keys are made of.
pub trait KeyColumn: Column + Ord + Clone {
    /// A value that no other comes before, so that a range of keys can begin there.
    fn least() -> Self;
    /// A number that is never larger than that of a later value: where two differ, they say which value comes first.
    fn order_hint(&self) -> u64 {
        0
    }
}

/// The keys of a table as ordered ranges.
pub trait KeyRange: Key + Ord + Sized {
    /// The least key that begins with these values; none where one is not what its column takes, or there are too many.
    fn starting(prefix: &[Value]) -> Option<Self>;
    /// Whether the first columns are equal.
    fn begins_like(&self, other: &Self) -> bool;
    /// The hint of the second column, if there is one: among keys that begin alike, where two differ, they say which key comes
    /// first.
    fn order_hint(&self) -> u64;
}

/// A key of which `P` is the beginning.
pub trait Below<P>: Ord + Sized {
    /// The least key that begins so.
    fn first_below(above: &P) -> Self;
    /// Whether the key begins so.
    fn is_below(&self, above: &P) -> bool;
}

macro_rules! key_ranges {
    ($(($($type:ident $index:tt),+)),+) => {$(
        impl<$($type: KeyColumn),+> KeyRange for ($($type,)+) {
            fn starting(prefix: &[Value]) -> Option<Self> {
                let most = [$(stringify!($type)),+].len();
                (prefix.len() <= most).then_some(())?;
                Some(($(match prefix.get($index) {
                    Some(value) => $type::from_value(value).ok()?,
                    None => $type::least(),
                },)+))
            }
            fn begins_like(&self, other: &Self) -> bool {
                self.0 == other.0
            }
            fn order_hint(&self) -> u64 {
                let hints: &[fn(&Self) -> u64] = &[$(|key| KeyColumn::order_hint(&key.$index)),+];
                hints.get(1).map_or(0, |hint| hint(self))
            }
        }
    )+};
}

key_ranges!((A 0), (A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3));

macro_rules! below {
    ($(($($type:ident $index:tt),+; $($rest:ident),+)),+) => {$(
        impl<$($type: KeyColumn,)+ $($rest: KeyColumn),+> Below<($($type,)+)> for ($($type,)+ $($rest,)+) {
            fn first_below(above: &($($type,)+)) -> Self {
                ($(above.$index.clone(),)+ $($rest::least(),)+)
            }
            fn is_below(&self, above: &($($type,)+)) -> bool {
                $(self.$index == above.$index)&&+
            }
        }
    )+};
}

below!((A 0; B), (A 0; B, C), (A 0, B 1; C), (A 0; B, C, D), (A 0, B 1; C, D), (A 0, B 1, C 2; D));

macro_rules! least {
    ($($type:ty = $least:expr),+ $(,)?) => {$(
        impl KeyColumn for $type {
            fn least() -> Self { $least }
        }
    )+};
}

impl KeyColumn for Prefix {
    fn least() -> Self {
        Prefix::new(IpNet::V4(Ipv4Net::default()))
    }
    /// IPv4 comes first, by address and length; of IPv6, the first 63 bits tell most apart.
    fn order_hint(&self) -> u64 {
        match self.network() {
            IpNet::V4(net) => u64::from(net.network().to_bits()) << 8 | u64::from(net.prefix_len()),
            IpNet::V6(net) => 1 << 63 | (net.network().to_bits() >> 65) as u64,
        }
    }
}

const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

least! {
    u8 = 0,
    u16 = 0,
    u32 = 0,
    Name = Name::LEAST,
    IpAddr = IpAddr::V4(FIRST_ADDRESS),
    InterfaceAddress = InterfaceAddress::new(IpNet::V4(Ipv4Net::default())),
    AddressRange = AddressRange::from(IpAddr::V4(FIRST_ADDRESS)),
    Addresses = Addresses::from(AddressRange::from(IpAddr::V4(FIRST_ADDRESS))),
}

/// The rows of one table whose keys begin with these values.
pub(crate) fn rows_below<R: TableRow>(rows: &BTreeMap<R::Key, R>, prefix: &[Value]) -> Vec<Row> {
    let Some(start) = R::Key::starting(prefix) else {
        return Vec::new();
    };
    let below = rows.range(start..);
    below
        .take_while(|(key, _)| key.to_values().starts_with(prefix))
        .map(|(_, row)| row.clone().into())
        .collect()
}
