//! How rules look rows up: typed, and borrowed where that is possible, so that a rule is written once and costs what its
//! state does. [`Whole`] is a configuration in memory, [`Through`] any other state, row by row.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::model::*;
use crate::state::{Below, Rows, StateError};
use crate::value::Key;

/// Typed look-ups in one state, of rows as they are in effect.
pub(super) trait LookUp {
    /// The row of this key.
    fn find<R: TableRow>(&self, key: &R::Key) -> Option<Cow<'_, R>>;

    /// The rows whose keys begin so, in the order of their keys.
    fn below<R: TableRow, P: Key>(&self, above: P) -> impl Iterator<Item = Cow<'_, R>>
    where
        R::Key: Below<P>;

    /// All rows of a table, in the order of their keys. For tables that are small whatever the configuration.
    fn all<R: TableRow>(&self) -> impl Iterator<Item = Cow<'_, R>>;

    /// A table has at most as many rows.
    fn most<R: TableRow>(&self) -> usize;

    /// The rows with this key of an index, in the order of their own keys.
    fn by<I: Index>(&self, key: &I::Key) -> Vec<Cow<'_, I::Row>>;
}

/// Columns other than the key that rows are looked up by.
pub(super) trait Index: 'static {
    /// The rows.
    type Row: TableRow;
    /// The values of the columns.
    type Key: Key + Hash + Eq + 'static;
    /// The columns.
    const COLUMNS: &'static [&'static str];
    /// What the row is found by.
    fn key_of(row: &Self::Row) -> Self::Key;
}

macro_rules! indices {
    ($($index:ident: $row:ident by ($($column:ident: $type:ty),+)),+ $(,)?) => {
        $(
            pub(super) struct $index;
            impl Index for $index {
                type Row = $row;
                type Key = ($($type,)+);
                const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),+];
                fn key_of(row: &$row) -> Self::Key {
                    ($(row.$column.clone(),)+)
                }
            }
        )+
        /// The columns that rules look rows up by, other than keys and the beginnings of keys. The database needs an index
        /// for each.
        pub const LOOK_UPS: &[(Table, &[&str])] = &[$((<$row as TableRow>::OF, $index::COLUMNS)),+];
    };
}
pub(super) use indices;

/// A configuration in memory. Its indices are made when they are first asked for.
pub(super) struct Whole<'a> {
    configuration: &'a Configuration,
    /// By the type of the index: rows' keys by the index's key.
    indices: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

/// The keys of rows by what an index finds them by.
type Found<I> = HashMap<<I as Index>::Key, Vec<<<I as Index>::Row as TableRow>::Key>>;

impl<'a> Whole<'a> {
    pub(super) fn new(configuration: &'a Configuration) -> Self {
        Whole {
            configuration,
            indices: RefCell::default(),
        }
    }

    fn index<I: Index>(&self) -> Option<Rc<Found<I>>> {
        let mut indices = self.indices.borrow_mut();
        let index = indices.entry(TypeId::of::<I>()).or_insert_with(|| {
            let mut index: Found<I> = HashMap::new();
            for (key, row) in I::Row::rows(self.configuration) {
                index.entry(I::key_of(row)).or_default().push(key.clone());
            }
            Rc::new(index)
        });
        index.clone().downcast().ok()
    }
}

impl LookUp for Whole<'_> {
    fn find<R: TableRow>(&self, key: &R::Key) -> Option<Cow<'_, R>> {
        R::rows(self.configuration).get(key).map(Cow::Borrowed)
    }

    fn below<R: TableRow, P: Key>(&self, above: P) -> impl Iterator<Item = Cow<'_, R>>
    where
        R::Key: Below<P>,
    {
        let rows = R::rows(self.configuration).range(R::Key::first_below(&above)..);
        rows.take_while(move |(key, _)| key.is_below(&above))
            .map(|(_, row)| Cow::Borrowed(row))
    }

    fn all<R: TableRow>(&self) -> impl Iterator<Item = Cow<'_, R>> {
        R::rows(self.configuration).values().map(Cow::Borrowed)
    }

    fn most<R: TableRow>(&self) -> usize {
        R::rows(self.configuration).len()
    }

    fn by<I: Index>(&self, key: &I::Key) -> Vec<Cow<'_, I::Row>> {
        let index = self.index::<I>();
        let keys = index.iter().filter_map(|index| index.get(key)).flatten();
        keys.filter_map(|key| self.find::<I::Row>(key)).collect()
    }
}

/// Any state. Where it cannot be read, nothing is found, and [`Through::finish`] says why: what rules said is void then.
pub(super) struct Through<'a> {
    rows: &'a dyn Rows,
    failure: RefCell<Option<StateError>>,
}

impl<'a> Through<'a> {
    pub(super) fn new(rows: &'a dyn Rows) -> Self {
        Through {
            rows,
            failure: RefCell::default(),
        }
    }

    /// Whether every look-up could be answered.
    pub(super) fn finish(self) -> Result<(), StateError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn found<T: Default>(&self, result: Result<T, StateError>) -> T {
        result.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl LookUp for Through<'_> {
    fn find<R: TableRow>(&self, key: &R::Key) -> Option<Cow<'_, R>> {
        let row = self.found(self.rows.find(&R::row_key(key.clone())));
        row.and_then(R::from_row).map(Cow::Owned)
    }

    fn below<R: TableRow, P: Key>(&self, above: P) -> impl Iterator<Item = Cow<'_, R>>
    where
        R::Key: Below<P>,
    {
        let rows = self.found(self.rows.below(R::OF, &above.to_values()));
        rows.into_iter().filter_map(R::from_row).map(Cow::Owned)
    }

    fn all<R: TableRow>(&self) -> impl Iterator<Item = Cow<'_, R>> {
        let rows = self.found(self.rows.below(R::OF, &[]));
        rows.into_iter().filter_map(R::from_row).map(Cow::Owned)
    }

    fn most<R: TableRow>(&self) -> usize {
        self.found(self.rows.most(R::OF))
    }

    fn by<I: Index>(&self, key: &I::Key) -> Vec<Cow<'_, I::Row>> {
        let rows = self
            .rows
            .by(<I::Row as TableRow>::OF, I::COLUMNS, &key.to_values());
        let rows = self.found(rows).into_iter();
        rows.filter_map(I::Row::from_row).map(Cow::Owned).collect()
    }
}
