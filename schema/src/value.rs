//! Values as the database holds them, and the column types that map onto them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One value of one column, as SQLite stores it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// The absence of a value.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// UTF-8 text, always in the canonical form of its column's type.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("none"),
            Value::Integer(integer) => integer.fmt(f),
            Value::Text(text) => text.fmt(f),
        }
    }
}

/// The declared type of a column in a STRICT table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlType {
    /// INTEGER.
    Integer,
    /// TEXT.
    Text,
}

/// A Rust type that is stored in one column.
pub trait Column: Sized {
    /// The column's declared type.
    const SQL_TYPE: SqlType;
    /// Whether the column may be NULL.
    const NULLABLE: bool = false;
    /// The value that is stored.
    fn to_value(&self) -> Value;
    /// Reads a stored value back; the error says what was expected.
    fn from_value(value: &Value) -> Result<Self, String>;
}

impl<T: Column> Column for Option<T> {
    const SQL_TYPE: SqlType = T::SQL_TYPE;
    const NULLABLE: bool = true;
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Column::to_value)
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl Column for String {
    const SQL_TYPE: SqlType = SqlType::Text;
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(format!("expected text, found {other}")),
        }
    }
}

impl Column for u16 {
    const SQL_TYPE: SqlType = SqlType::Integer;
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Integer(integer) => u16::try_from(*integer)
                .map_err(|_| format!("expected a number from 0 to 65535, found {integer}")),
            other => Err(format!("expected a number, found {other}")),
        }
    }
}

/// Stores a type through its `Display` and `FromStr`.
macro_rules! text_column {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::value::Column for $type {
            const SQL_TYPE: $crate::value::SqlType = $crate::value::SqlType::Text;
            fn to_value(&self) -> $crate::value::Value {
                $crate::value::Value::Text(self.to_string())
            }
            fn from_value(value: &$crate::value::Value) -> Result<Self, String> {
                match value {
                    $crate::value::Value::Text(text) => text.parse().map_err(|e| format!("{e}")),
                    other => Err(format!("expected text, found {other}")),
                }
            }
        }
    )*};
}
pub(crate) use text_column;

text_column!(std::net::IpAddr);
