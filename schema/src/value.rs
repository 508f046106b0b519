//! Values as the database holds them, and the column types that map onto them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::marks::FieldMarks;

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
        RawValue::from(self).fmt(f)
    }
}

/// A value that lies in bytes, in a row of the database, or in a [`Value`], as it is spelled: whether it is what its column takes is
/// another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawValue<'a> {
    /// The absence of a value.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// UTF-8 text.
    Text(&'a str),
}

impl fmt::Display for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawValue::Null => f.write_str("none"),
            RawValue::Integer(integer) => integer.fmt(f),
            RawValue::Text(text) => text.fmt(f),
        }
    }
}

impl From<RawValue<'_>> for Value {
    fn from(value: RawValue<'_>) -> Self {
        match value {
            RawValue::Null => Value::Null,
            RawValue::Integer(integer) => Value::Integer(integer),
            RawValue::Text(text) => Value::Text(text.to_owned()),
        }
    }
}

impl<'a> From<&'a Value> for RawValue<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => RawValue::Null,
            Value::Integer(integer) => RawValue::Integer(*integer),
            Value::Text(text) => RawValue::Text(text),
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
    /// ANY: an integer or text, as it comes.
    Any,
}

/// What a field takes, and how documents and people write it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One line of text for people, of at most so many characters.
    Line {
        /// The most characters.
        longest: usize,
    },
    /// Text of a format.
    Text(&'static Format),
    /// One of several words, each with what it means.
    Words(&'static [(&'static str, &'static str)]),
    /// A whole number with its bounds.
    Integer {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// Yes or no; no is the absence of it.
    Flag,
    /// Marks of an object's fields: stored as one text, in JSON.
    FieldMarks,
    /// A list of ports and their like, texts of a format: stored as one text with commas, or as a number where it is a
    /// single one.
    List(&'static Format),
}

/// Why something is not what a field takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FieldError {
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it, when that can be told.
    pub help: Option<String>,
}

impl FieldError {
    /// An error without help.
    pub fn new(message: impl Into<String>) -> Self {
        FieldError {
            message: message.into(),
            help: None,
        }
    }
}

impl Kind {
    /// Reads a value as somebody types it.
    ///
    /// # Errors
    ///
    /// What was expected and what was found.
    pub fn parse(self, text: &str) -> Result<Value, FieldError> {
        match self {
            Kind::Line { longest } => {
                crate::types::line(text, longest).map_err(FieldError::new)?;
                Ok(Value::Text(text.to_owned()))
            }
            Kind::Text(format) => (format.canonical)(text).map(Value::Text),
            Kind::List(format) => {
                let canonical = (format.canonical)(text)?;
                Ok(match canonical.parse::<i64>() {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Text(canonical),
                })
            }
            Kind::Words(words) => match words.iter().find(|(word, _)| *word == text) {
                Some((word, _)) => Ok(Value::Text((*word).to_owned())),
                None => {
                    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                    let mut error = FieldError::new(format!(
                        "expected {}, found \"{}\"",
                        or(&names),
                        shortened(text)
                    ));
                    error.help = crate::suggestion::did_you_mean(text, names);
                    Err(error)
                }
            },
            Kind::Integer { least, most } => match text.parse::<i64>() {
                Ok(number) => Ok(Value::Integer(number)),
                Err(_) => Err(FieldError::new(format!(
                    "expected a whole number from {least} to {most}, found \"{}\"",
                    shortened(text)
                ))),
            },
            Kind::Flag => match text {
                "true" => Ok(Value::Integer(1)),
                "false" => Ok(Value::Null),
                _ => Err(FieldError::new(format!(
                    "expected true or false, found \"{}\"",
                    shortened(text)
                ))),
            },
            Kind::FieldMarks => Err(FieldError {
                message: format!("expected no word, found \"{}\"", shortened(text)),
                help: Some("`deactivate` and `annotate` mark fields".to_owned()),
            }),
        }
    }

    /// Reads a value as it stands in a document.
    ///
    /// # Errors
    ///
    /// What was expected and what was found.
    pub fn read(self, json: &serde_json::Value) -> Result<Value, FieldError> {
        use serde_json::Value as Json;
        match (self, json) {
            (_, Json::Null) => Ok(Value::Null),
            (Kind::Integer { .. }, Json::Number(number)) if number.is_i64() => {
                Ok(Value::Integer(number.as_i64().unwrap_or_default()))
            }
            (Kind::Flag, Json::Bool(flag)) => Ok(flag_value(*flag)),
            (Kind::FieldMarks, Json::Object(_)) => Ok(FieldMarks::from_json(json)?.to_value()),
            (Kind::List(_), Json::Number(number)) => self.parse(&number.to_string()),
            (Kind::Text(format), Json::Number(number)) if format.numeric => {
                self.parse(&number.to_string())
            }
            (Kind::List(_), Json::Array(items)) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Json::Number(number) => texts.push(number.to_string()),
                        Json::String(text) => texts.push(text.clone()),
                        other => return Err(self.unexpected(other)),
                    }
                }
                self.parse(&texts.join(","))
            }
            (
                Kind::Line { .. } | Kind::Text(_) | Kind::Words(_) | Kind::List(_),
                Json::String(text),
            ) => self.parse(text),
            (_, other) => Err(self.unexpected(other)),
        }
    }

    fn unexpected(self, found: &serde_json::Value) -> FieldError {
        let expected = match self {
            Kind::Line { .. } | Kind::Text(_) => "text",
            Kind::Words(_) => "a word",
            Kind::Integer { .. } => "a whole number",
            Kind::Flag => "true or false",
            Kind::List(_) => "a number, text or a list of them",
            Kind::FieldMarks => "a map",
        };
        let found = match found {
            serde_json::Value::Array(_) => "a list".to_owned(),
            serde_json::Value::Object(_) => "a map".to_owned(),
            other => shortened(&other.to_string()),
        };
        FieldError::new(format!("expected {expected}, found {found}"))
    }

    /// A value as it stands in a document.
    pub fn show(self, value: &Value) -> serde_json::Value {
        match (self, value) {
            (_, Value::Null) => serde_json::Value::Null,
            (Kind::Flag, Value::Integer(number)) => (*number != 0).into(),
            (_, Value::Integer(number)) => (*number).into(),
            (Kind::FieldMarks, Value::Text(text)) => {
                serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
            }
            (Kind::List(_), Value::Text(text)) if text.contains(',') => text
                .split(',')
                .map(|item| match item.parse::<i64>() {
                    Ok(number) => number.into(),
                    Err(_) => serde_json::Value::from(item),
                })
                .collect(),
            (Kind::Text(format), Value::Text(text)) if format.numeric => {
                match text.parse::<i64>() {
                    Ok(number) => number.into(),
                    Err(_) => text.as_str().into(),
                }
            }
            (_, Value::Text(text)) => text.as_str().into(),
        }
    }
}

pub(crate) fn or(words: &[&str]) -> String {
    joined(words, "or")
}

pub(crate) fn and(words: &[&str]) -> String {
    joined(words, "and")
}

fn joined(words: &[&str], before_last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} {before_last} {last}", first.join(", ")),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn flag_value(flag: bool) -> Value {
    if flag { Value::Integer(1) } else { Value::Null }
}

/// A Rust type that is stored in one column.
pub trait Column: Sized {
    /// The column's declared type.
    const SQL_TYPE: SqlType;
    /// What documents write.
    const KIND: Kind;
    /// Whether the column may be NULL.
    const NULLABLE: bool = false;
    /// The value that is stored.
    fn to_value(&self) -> Value;
    /// Reads a stored value back; the error says what was expected.
    fn from_raw(value: RawValue<'_>) -> Result<Self, String>;
    /// Reads a stored value back; the error says what was expected.
    fn from_value(value: &Value) -> Result<Self, String> {
        Self::from_raw(value.into())
    }
    /// Whether a text is a stored value, in its canonical form.
    fn is_stored_as(text: &str) -> bool {
        let value = RawValue::Text(text);
        Self::from_raw(value).is_ok_and(|read| RawValue::from(&read.to_value()) == value)
    }
}

/// Whether something is written as this text. Makes no other text of it.
pub(crate) fn is_written(shown: impl fmt::Display, text: &str) -> bool {
    struct Rest<'a>(&'a str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(piece).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    fmt::write(&mut rest, format_args!("{shown}")).is_ok() && rest.0.is_empty()
}

impl<T: Column> Column for Option<T> {
    const SQL_TYPE: SqlType = T::SQL_TYPE;
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Column::to_value)
    }
    fn from_raw(value: RawValue<'_>) -> Result<Self, String> {
        match value {
            RawValue::Null => Ok(None),
            value => T::from_raw(value).map(Some),
        }
    }
    fn is_stored_as(text: &str) -> bool {
        T::is_stored_as(text)
    }
}

impl Column for bool {
    const SQL_TYPE: SqlType = SqlType::Integer;
    const KIND: Kind = Kind::Flag;
    const NULLABLE: bool = true;
    fn to_value(&self) -> Value {
        flag_value(*self)
    }
    fn from_raw(value: RawValue<'_>) -> Result<Self, String> {
        match value {
            RawValue::Null => Ok(false),
            RawValue::Integer(1) => Ok(true),
            other => Err(format!("expected 1 or NULL, found {other}")),
        }
    }
}

macro_rules! integer_column {
    ($($type:ty),*) => {$(
        impl Column for $type {
            const SQL_TYPE: SqlType = SqlType::Integer;
            const KIND: Kind = Kind::Integer {
                least: <$type>::MIN as i64,
                most: if <$type>::MAX as u128 > i64::MAX as u128 { i64::MAX } else { <$type>::MAX as i64 },
            };
            fn to_value(&self) -> Value {
                Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
            fn from_raw(value: RawValue<'_>) -> Result<Self, String> {
                match value {
                    RawValue::Integer(integer) => <$type>::try_from(integer).map_err(|_| {
                        format!("expected a number from {} to {}, found {integer}", <$type>::MIN, <$type>::MAX)
                    }),
                    other => Err(format!("expected a number, found {other}")),
                }
            }
        }
    )*};
}

integer_column!(u8, u16, u32);

/// Stores a type through its `Display` and `FromStr`.
macro_rules! text_column {
    ($type:ty, $kind:expr) => {
        impl $crate::value::Column for $type {
            const SQL_TYPE: $crate::value::SqlType = $crate::value::SqlType::Text;
            const KIND: $crate::value::Kind = $kind;
            fn to_value(&self) -> $crate::value::Value {
                $crate::value::Value::Text(self.to_string())
            }
            fn from_raw(value: $crate::value::RawValue<'_>) -> Result<Self, String> {
                match value {
                    $crate::value::RawValue::Text(text) => text.parse().map_err(|e| format!("{e}")),
                    other => Err(format!("expected text, found {other}")),
                }
            }
            fn is_stored_as(text: &str) -> bool {
                text.parse::<Self>()
                    .is_ok_and(|read| $crate::value::is_written(read, text))
            }
        }
    };
}
pub(crate) use text_column;

text_column!(std::net::IpAddr, Kind::Text(&crate::format::IP));
text_column!(std::net::SocketAddr, Kind::Text(&crate::format::ENDPOINT));

/// The key of a row: a tuple of columns.
pub trait Key {
    /// The values of the columns.
    fn to_values(&self) -> Vec<Value>;
}

macro_rules! key_tuples {
    ($(($($type:ident $index:tt),+)),+) => {$(
        impl<$($type: Column),+> Key for ($($type,)+) {
            fn to_values(&self) -> Vec<Value> {
                vec![$(self.$index.to_value()),+]
            }
        }
    )+};
}

key_tuples!((A 0), (A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3));
