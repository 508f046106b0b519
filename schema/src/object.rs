//! The macros behind the one definition: from an object as it is written in a document they make the serde type, its
//! JSON Schema, the row that the database stores and the description of its table.

/// Defines one kind of object.
///
/// `key` columns come from where the object stands in the document (the name in a map, the parent's key), `columns` are
/// its own fields, `children` are the lists and maps below it, whose objects are rows of their own tables. `=> table`
/// behind a column is a reference; `parent table(columns)` is the reference to the object above.
macro_rules! object {
    (
        $(#[$meta:meta])*
        $object:ident, $row:ident in $table:literal {
            key { $($key:ident: $key_type:ty $(=> $key_target:literal)?),+ $(,)? }
            $(parent $parent:literal ($($parent_column:ident),+);)?
            columns { $( $(#[$column_meta:meta])* $column:ident: $column_type:ty $(=> $target:literal)? ),* $(,)? }
            children { $( $(#[$child_meta:meta])* $child:ident: $child_type:ty ),* $(,)? }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $object {
            $( $(#[$column_meta])* pub $column: $column_type, )*
            $( $(#[$child_meta])* pub $child: $child_type, )*
        }

        #[doc = concat!("A row of table `", $table, "`.")]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub struct $row {
            $( pub $key: $key_type, )+
            $( pub $column: $column_type, )*
        }

        impl $row {
            /// The table that such rows are stored in.
            pub const TABLE: $crate::table::TableDefinition = $crate::table::TableDefinition {
                name: $table,
                columns: &[
                    $( $crate::table::ColumnDefinition::new::<$key_type>(stringify!($key), true), )+
                    $( $crate::table::ColumnDefinition::new::<$column_type>(stringify!($column), false), )*
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
            };

            /// The row of an object that stands under the given key.
            #[allow(unused_variables)]
            pub fn new($($key: $key_type,)+ object: &$object) -> Self {
                $row { $($key,)+ $($column: object.$column.clone(),)* }
            }

            /// The object without its children.
            pub fn to_object(&self) -> $object {
                $object {
                    $($column: self.$column.clone(),)*
                    $($child: Default::default(),)*
                }
            }

            /// The key alone.
            pub fn key(&self) -> ($($key_type,)+) {
                ($(self.$key.clone(),)+)
            }

            /// The values in the order of the table's columns.
            pub fn values(&self) -> Vec<$crate::value::Value> {
                use $crate::value::Column as _;
                vec![$(self.$key.to_value(),)+ $(self.$column.to_value(),)*]
            }

            /// Reads a row from its values, given in the order of the table's columns.
            pub fn from_values(values: &[$crate::value::Value]) -> Result<Self, $crate::table::RowError> {
                let mut values = $crate::table::Values::new(&Self::TABLE, values)?;
                Ok($row { $($key: values.next()?,)+ $($column: values.next()?,)* })
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

            /// The table of this name.
            pub fn named(name: &str) -> Option<Table> {
                Table::ALL.iter().copied().find(|t| t.definition().name == name)
            }
        }

        /// One row of any table.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Row { $($variant($row)),+ }

        impl Row {
            /// The table that the row belongs to.
            pub fn table(&self) -> Table {
                match self { $(Row::$variant(_) => Table::$variant),+ }
            }

            /// The values in the order of the table's columns, the key first.
            pub fn values(&self) -> Vec<Value> {
                match self { $(Row::$variant(row) => row.values()),+ }
            }

            /// Reads a row of `table` from its values, given in the order of the table's columns.
            pub fn from_values(table: Table, values: &[Value]) -> Result<Row, RowError> {
                match table { $(Table::$variant => $row::from_values(values).map(Row::$variant)),+ }
            }
        }

        $(impl From<$row> for Row {
            fn from(row: $row) -> Row { Row::$variant(row) }
        })+

        /// A whole configuration as rows, each table ordered by its key: what a revision's state is, in memory.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub struct Configuration { $(pub $field: BTreeMap<$key, $row>),+ }

        impl Configuration {
            /// Puts a row in; gives back the row of the same key that it replaces.
            pub fn insert(&mut self, row: Row) -> Option<Row> {
                match row { $(Row::$variant(row) => self.$field.insert(row.key(), row).map(Row::$variant)),+ }
            }

            /// Takes the row with the key of `row` out.
            pub fn remove(&mut self, row: &Row) -> Option<Row> {
                match row { $(Row::$variant(row) => self.$field.remove(&row.key()).map(Row::$variant)),+ }
            }

            /// The stored row that has the key of `row`.
            pub fn get(&self, row: &Row) -> Option<Row> {
                match row { $(Row::$variant(row) => self.$field.get(&row.key()).cloned().map(Row::$variant)),+ }
            }

            /// All rows, parents before children, each table in the order of its key.
            pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
                std::iter::empty()$(.chain(self.$field.values().cloned().map(Row::$variant)))+
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
