//! The macros behind the one definition: from an object as the model says it they make the row that the database stores and
//! the description of its table, which everything generic goes by.

/// Defines one kind of object.
///
/// `at` says where its objects stand in documents (see [`TableDefinition::place`](crate::TableDefinition)), and what they
/// are together. `key` columns come from that place, in its order; `columns` are the object's own fields: `name: Type`, with
/// `as "field"` where documents call it otherwise, `[range]` for a number's bounds, `=> "table"` for a reference and
/// `= value` for what it is where a document says nothing. `parent table(columns)` is the reference to an object above
/// whose key has several columns; `least` and `most` bound how many there are below one parent; `unique (columns)` says
/// what no two active rows share. Marks come by themselves.
macro_rules! object {
    (
        $(#[doc = $doc:literal])*
        $row:ident in $table:literal at $place:literal: $section:literal {
            key { $($key:ident: $key_type:ty $(=> $key_target:literal)?),+ $(,)? }
            $(parent $parent:literal ($($parent_column:ident),+);)?
            $(least $least:literal;)?
            $(most $most:expr;)?
            $(unique ($($unique:ident),+);)*
            columns { $(
                $(#[doc = $column_doc:literal])*
                $column:ident $(as $field:literal)? : $column_type:ty $([$range:expr])? $(=> $target:literal)? $(= $default:expr)?
            ),* $(,)? }
        }
    ) => {
        $(#[doc = $doc])*
        #[doc = ""]
        #[doc = concat!("A row of table `", $table, "`; in documents at `", $place, "`.")]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $row {
            $( #[allow(missing_docs)] pub $key: $key_type, )+
            $( $(#[doc = $column_doc])* pub $column: $column_type, )*
            /// Whether the object is deactivated, what somebody noted about it, and the same of its fields.
            pub marks: $crate::marks::Marks,
        }

        impl $row {
            /// The table that such rows are stored in.
            pub const TABLE: $crate::table::TableDefinition = $crate::table::TableDefinition {
                name: $table,
                doc: concat!($($doc, "\n"),*),
                place: $place,
                section: $section,
                least: 0 $(+ $least)?,
                most: { #[allow(unused_mut, unused_assignments)] let mut most = None; $( most = Some($most); )? most },
                columns: &[
                    $( $crate::table::ColumnDefinition {
                        key: true,
                        target: { #[allow(unused_mut, unused_assignments)] let mut target = None; $( target = Some($key_target); )? target },
                        ..$crate::table::ColumnDefinition::of::<$key_type>(stringify!($key))
                    }, )+
                    $( $crate::table::ColumnDefinition {
                        field: { #[allow(unused_mut, unused_assignments)] let mut field = stringify!($column); $( field = $field; )? field },
                        doc: concat!($($column_doc, "\n"),*),
                        range: { #[allow(unused_mut, unused_assignments)] let mut range = None; $( range = Some((*$range.start() as i64, *$range.end() as i64)); )? range },
                        default: { #[allow(unused_mut, unused_assignments)] let mut default: Option<fn() -> $crate::value::Value> = None; $( default = Some(|| $crate::value::Column::to_value(&($default as $column_type))); )? default },
                        target: { #[allow(unused_mut, unused_assignments)] let mut target = None; $( target = Some($target); )? target },
                        ..$crate::table::ColumnDefinition::of::<$column_type>(stringify!($column))
                    }, )*
                    $crate::table::ColumnDefinition::DEACTIVATED,
                    $crate::table::ColumnDefinition::ANNOTATION,
                    $crate::table::ColumnDefinition::FIELD_MARKS,
                ],
                references: &[
                    $( $crate::table::Reference {
                        columns: &[$(stringify!($parent_column)),+], table: $parent,
                    }, )?
                    $( $( $crate::table::Reference {
                        columns: &[stringify!($key)], table: $key_target,
                    }, )? )+
                    $( $( $crate::table::Reference {
                        columns: &[stringify!($column)], table: $target,
                    }, )? )*
                ],
                unique: &[$( &[$(stringify!($unique)),+], )*],
            };

            /// The key alone.
            pub fn key(&self) -> ($($key_type,)+) {
                ($(self.$key.clone(),)+)
            }

            /// The values in the order of the table's columns.
            pub fn values(&self) -> Vec<$crate::value::Value> {
                use $crate::value::Column as _;
                let [deactivated, annotation, fields] = self.marks.values();
                vec![$(self.$key.to_value(),)+ $(self.$column.to_value(),)* deactivated, annotation, fields]
            }

            /// Reads a row from its values, given in the order of the table's columns.
            ///
            /// # Errors
            ///
            /// Where their number is another, or one is not what its column takes.
            pub fn from_values(values: &[$crate::value::Value]) -> Result<Self, $crate::table::RowError> {
                Self::from_raw(values.iter().map($crate::value::RawValue::from))
            }

            /// Reads a row from its values as they are spelled, given in the order of the table's columns.
            ///
            /// # Errors
            ///
            /// As [`Self::from_values`].
            pub fn from_raw<'a>(values: impl ExactSizeIterator<Item = $crate::value::RawValue<'a>>) -> Result<Self, $crate::table::RowError> {
                let mut values = $crate::table::Values::new(&Self::TABLE, values)?;
                Ok($row {
                    $($key: values.next_of()?,)+
                    $($column: values.next_of()?,)*
                    marks: $crate::marks::Marks::read(&mut values)?,
                })
            }

            /// Calls `each` with every row that this one refers to, in the order of the table's references.
            pub(crate) fn each_reference(&self, each: &mut dyn FnMut(&'static $crate::table::Reference, $crate::model::RowKey)) {
                #[allow(unused_mut)]
                let mut references = Self::TABLE.references.iter();
                $({
                    const TARGET: $crate::model::Table = $crate::model::Table::named_constant($parent);
                    let key = ($(self.$parent_column.clone(),)+);
                    $crate::model::RowKey::refer(TARGET, Some(key), &mut references, each);
                })?
                $($({
                    const TARGET: $crate::model::Table = $crate::model::Table::named_constant($key_target);
                    $crate::model::RowKey::refer(TARGET, Some((self.$key.clone(),)), &mut references, each);
                })?)+
                $($({
                    const TARGET: $crate::model::Table = $crate::model::Table::named_constant($target);
                    let key = $crate::state::Referring::key(&self.$column);
                    $crate::model::RowKey::refer(TARGET, key, &mut references, each);
                })?)*
                let _ = (references, each);
            }

            pub(crate) fn key_from_values(values: &[$crate::value::Value]) -> Result<($($key_type,)+), $crate::table::RowError> {
                let values = values.iter().map($crate::value::RawValue::from);
                let mut values = $crate::table::Values::of_key(&Self::TABLE, values)?;
                Ok(($(values.next_of::<$key_type>()?,)+))
            }
        }
    };
}
pub(crate) use object;

/// Gathers the rows of all tables, parents before children, into one enum and one indexed configuration.
macro_rules! tables {
    ($($variant:ident($row:ident: $key:ty) as $field:ident),+ $(,)?) => {
        /// One of the configuration's tables, parents before children.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Table { $($variant),+ }

        impl Table {
            /// Every table, parents before children.
            pub const ALL: &'static [Table] = &[$(Table::$variant),+];

            /// The table's description.
            pub const fn definition(self) -> &'static TableDefinition {
                match self { $(Table::$variant => &$row::TABLE),+ }
            }

            /// The table of this name, which is one of the model's own: another does not compile.
            pub(crate) const fn named_constant(name: &str) -> Table {
                let mut index = 0;
                while index < Table::ALL.len() {
                    if $crate::table::same_text(Table::ALL[index].definition().name, name) {
                        return Table::ALL[index];
                    }
                    index += 1;
                }
                panic!("no table has this name")
            }

            /// The table of this name.
            pub fn named(name: &str) -> Option<Table> {
                Table::ALL.iter().copied().find(|t| t.definition().name == name)
            }
        }

        /// One row of any table. Boxed, so that the largest kind of row does not make all others as large.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Row { $($variant(Box<$row>)),+ }

        impl Row {
            /// The table that the row belongs to.
            pub fn table(&self) -> Table {
                match self { $(Row::$variant(_) => Table::$variant),+ }
            }

            /// The row's table and key.
            pub fn row_key(&self) -> RowKey {
                match self { $(Row::$variant(row) => RowKey::$variant(row.key())),+ }
            }

            /// Calls `each` with every row that this one refers to: the reference, and the other row's key.
            pub fn each_reference(&self, each: &mut dyn FnMut(&'static $crate::table::Reference, RowKey)) {
                match self { $(Row::$variant(row) => row.each_reference(each)),+ }
            }

            /// The values in the order of the table's columns, the key first.
            pub fn values(&self) -> Vec<Value> {
                match self { $(Row::$variant(row) => row.values()),+ }
            }

            /// The row's marks.
            pub fn marks(&self) -> &Marks {
                match self { $(Row::$variant(row) => &row.marks),+ }
            }

            /// The row's marks, to be changed.
            pub fn marks_mut(&mut self) -> &mut Marks {
                match self { $(Row::$variant(row) => &mut row.marks),+ }
            }

            /// Reads a row of `table` from its values, given in the order of the table's columns.
            ///
            /// # Errors
            ///
            /// Where their number is another, or one is not what its column takes.
            pub fn from_values(table: Table, values: &[Value]) -> Result<Row, RowError> {
                match table { $(Table::$variant => $row::from_values(values).map(Row::from)),+ }
            }

            /// Reads a row of `table` from its values as they are spelled, given in the order of the table's columns.
            ///
            /// # Errors
            ///
            /// As [`Row::from_values`].
            pub fn from_raw<'a>(table: Table, values: impl ExactSizeIterator<Item = RawValue<'a>>) -> Result<Row, RowError> {
                match table { $(Table::$variant => $row::from_raw(values).map(Row::from)),+ }
            }

            /// The row, to be looked at.
            pub fn borrowed(&self) -> RowRef<'_> {
                match self { $(Row::$variant(row) => RowRef::$variant(row)),+ }
            }
        }

        /// One row of any table, to be looked at: a million rows that are asked something are not copied for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum RowRef<'a> { $($variant(&'a $row)),+ }

        impl RowRef<'_> {
            /// A copy of the row.
            pub fn to_row(self) -> Row {
                match self { $(RowRef::$variant(row) => Row::from(row.clone())),+ }
            }
        }

        /// Rows of one table as they are read, in any order, to become part of a [`Configuration`] at once.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct RowList(Rows);

        #[derive(Clone, Debug, PartialEq, Eq)]
        enum Rows { $($variant(Vec<($key, $row)>)),+ }

        impl RowList {
            /// No rows of a table yet.
            pub fn new(table: Table) -> RowList {
                match table { $(Table::$variant => RowList(Rows::$variant(Vec::new()))),+ }
            }

            /// Adds the row of these values, as they are spelled, in the order of the table's columns.
            ///
            /// # Errors
            ///
            /// As [`Row::from_values`].
            pub fn push<'a>(&mut self, values: impl ExactSizeIterator<Item = RawValue<'a>>) -> Result<(), RowError> {
                match &mut self.0 {
                    $(Rows::$variant(rows) => {
                        let row = $row::from_raw(values)?;
                        rows.push((row.key(), row));
                    }),+
                }
                Ok(())
            }
        }

        $(impl From<$row> for Row {
            fn from(row: $row) -> Row { Row::$variant(Box::new(row)) }
        })+

        $(impl TableRow for $row {
            type Key = $key;
            const OF: Table = Table::$variant;
            fn row_key(key: $key) -> RowKey { RowKey::$variant(key) }
            fn rows(configuration: &Configuration) -> &BTreeMap<$key, $row> { &configuration.$field }
            fn from_row(row: Row) -> Option<$row> {
                match row { Row::$variant(row) => Some(*row), _ => None }
            }
            fn borrowed(row: &Row) -> Option<&$row> {
                match row { Row::$variant(row) => Some(row), _ => None }
            }
        })+

        /// What identifies a row: its table and its key. Ordered by table (parents first) and key.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum RowKey { $($variant($key)),+ }

        impl RowKey {
            /// The row's table.
            pub fn table(&self) -> Table {
                match self { $(RowKey::$variant(_) => Table::$variant),+ }
            }

            /// The values of the key's columns.
            pub fn values(&self) -> Vec<Value> {
                match self { $(RowKey::$variant(key) => key.to_values()),+ }
            }

            /// The key of a row of `table` with these values.
            ///
            /// # Errors
            ///
            /// Where their number is another, or one is not what its column takes.
            pub fn from_values(table: Table, values: &[Value]) -> Result<RowKey, RowError> {
                match table { $(Table::$variant => $row::key_from_values(values).map(RowKey::$variant)),+ }
            }
        }

        impl RowKey {
            /// Calls `each` with the next reference and a key of `table`, if there is one.
            fn refer<K: std::any::Any>(
                table: Table,
                key: Option<K>,
                references: &mut std::slice::Iter<'static, $crate::table::Reference>,
                each: &mut dyn FnMut(&'static $crate::table::Reference, RowKey),
            ) {
                let reference = references.next();
                let key = key.as_ref().and_then(|key| {
                    let key: &dyn std::any::Any = key;
                    match table { $(Table::$variant => key.downcast_ref::<$key>().cloned().map(RowKey::$variant)),+ }
                });
                if let (Some(reference), Some(key)) = (reference, key) {
                    each(reference, key);
                }
            }

            /// The least key of `table` that begins with these values; none where no key of the table can.
            pub(crate) fn starting(table: Table, prefix: &[Value]) -> Option<RowKey> {
                match table { $(Table::$variant => <$key as $crate::state::KeyRange>::starting(prefix).map(RowKey::$variant)),+ }
            }
        }

        /// A whole configuration as rows, each table ordered by its key: what a revision's state is, in memory.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub struct Configuration { $(pub $field: BTreeMap<$key, $row>),+ }

        impl Configuration {
            /// Puts a row in; gives back the row of the same key that it replaces.
            pub fn insert(&mut self, row: Row) -> Option<Row> {
                match row { $(Row::$variant(row) => self.$field.insert(row.key(), *row).map(Row::from)),+ }
            }

            /// Puts rows in; the last one of a key stays. Cost: that of sorting them, and of the rows that the table has, which is
            /// made anew.
            pub fn extend(&mut self, rows: RowList) {
                match rows.0 {
                    $(Rows::$variant(mut rows) => {
                        crate::order::sort(&mut rows);
                        // A tree that is made of all its rows at once is dense, and nothing is searched for.
                        let mut new: BTreeMap<$key, $row> = rows.into_iter().collect();
                        self.$field.append(&mut new);
                    }),+
                }
            }

            /// Moves all rows of another configuration here. Cost: those of the tables that both have rows of.
            pub fn append(&mut self, mut other: Configuration) {
                $(self.$field.append(&mut other.$field);)+
            }

            /// Takes the row with the key of `row` out.
            pub fn remove(&mut self, row: &Row) -> Option<Row> {
                match row { $(Row::$variant(row) => self.$field.remove(&row.key()).map(Row::from)),+ }
            }

            /// The stored row that has the key of `row`.
            pub fn get(&self, row: &Row) -> Option<Row> {
                match row { $(Row::$variant(row) => self.$field.get(&row.key()).cloned().map(Row::from)),+ }
            }

            /// The row of this key.
            pub fn find(&self, key: &RowKey) -> Option<Row> {
                match key { $(RowKey::$variant(key) => self.$field.get(key).cloned().map(Row::from)),+ }
            }

            /// Whether there is a row of this key.
            pub fn contains(&self, key: &RowKey) -> bool {
                match key { $(RowKey::$variant(key) => self.$field.contains_key(key)),+ }
            }

            /// Calls `each` with every reference of every row: the key of the row, the reference, and the other row's key.
            pub(crate) fn each_reference(&self, each: &mut dyn FnMut(&dyn Fn() -> Row, &'static $crate::table::Reference, RowKey)) {
                $(for row in self.$field.values() {
                    row.each_reference(&mut |reference, key| each(&|| Row::from(row.clone()), reference, key));
                })+
            }

            /// Whether any row, or any field of one, is deactivated.
            pub(crate) fn hides(&self) -> bool {
                false $(|| self.$field.values().any(|row| row.marks.hides()))+
            }

            /// All rows, parents before children, each table in the order of its key.
            pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
                Table::ALL.iter().flat_map(|table| self.rows_of(*table))
            }

            /// All rows, to be looked at, parents before children, each table in the order of its key.
            pub fn borrowed_rows(&self) -> impl Iterator<Item = RowRef<'_>> {
                Table::ALL.iter().flat_map(|table| self.borrowed_rows_of(*table))
            }

            fn borrowed_rows_of(&self, table: Table) -> Box<dyn Iterator<Item = RowRef<'_>> + '_> {
                match table { $(Table::$variant => Box::new(self.$field.values().map(RowRef::$variant))),+ }
            }

            /// The rows of one table, in the order of its key.
            pub fn rows_of(&self, table: Table) -> Box<dyn Iterator<Item = Row> + '_> {
                match table { $(Table::$variant => Box::new(self.$field.values().cloned().map(Row::from))),+ }
            }

            /// The rows of one table whose keys begin with these values, in the order of their keys.
            pub fn below(&self, table: Table, key_prefix: &[Value]) -> Vec<Row> {
                match table { $(Table::$variant => $crate::state::rows_below(&self.$field, key_prefix)),+ }
            }

            /// The number of rows.
            pub fn len(&self) -> usize {
                0 $(+ self.$field.len())+
            }

            /// Whether there is no row at all.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}
pub(crate) use tables;
