use std::fmt;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use rewire_schema::{Changeset, Configuration, Row, TableDefinition};

use crate::error::JournalError;
use crate::recorded::for_each_change;
use rewire_schema::RawValue;

/// The digest of a configuration's rows, kept up at the cost of a change.
///
/// It is the sum modulo 2²⁵⁶ of the BLAKE3 hash of each row (AdHash, Bellare and Micciancio 1997), so that rows may be
/// added and removed in any order. A row is hashed as its table's name and the name and value of each column that is not
/// NULL: a migration that adds a nullable column leaves the digests of the past as they are.
///
/// Equal states have equal digests. Different states have different ones unless someone searches for a collision of the
/// sum, which 256 bits make costly but do not rule out; the chain of entries, whose hashes cover every changeset, does
/// not rest on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateDigest([u64; 4]);

impl StateDigest {
    /// The digest of the configuration without rows: zero.
    pub const EMPTY: StateDigest = StateDigest([0; 4]);

    /// The digest of a whole configuration. Cost: all rows.
    pub fn of(configuration: &Configuration) -> Self {
        let mut hasher = RowHasher::new();
        let rows = configuration.rows();
        StateDigest(rows.fold([0; 4], |digest, row| sum(digest, hasher.hash(&row))))
    }

    /// Puts a row in.
    pub fn add(&mut self, row: &Row) {
        self.0 = sum(self.0, RowHasher::new().hash(row));
    }

    /// Takes a row out that was put in before.
    pub fn remove(&mut self, row: &Row) {
        self.0 = difference(self.0, RowHasher::new().hash(row));
    }

    /// Puts a row in by what its values are hashed to.
    pub(crate) fn add_hash(&mut self, hash: [u64; 4]) {
        self.0 = sum(self.0, hash);
    }

    /// Takes a row out by what its values are hashed to.
    pub(crate) fn remove_hash(&mut self, hash: [u64; 4]) {
        self.0 = difference(self.0, hash);
    }

    /// Follows a changeset. Cost: the changeset.
    pub fn apply(&mut self, changeset: &Changeset) {
        let mut hasher = RowHasher::new();
        for change in changeset.iter() {
            if let Some(before) = change.before() {
                self.0 = difference(self.0, hasher.hash(before));
            }
            if let Some(after) = change.after() {
                self.0 = sum(self.0, hasher.hash(after));
            }
        }
    }

    /// Follows an encoded changeset, from its bytes: what [`StateDigest::apply`] makes of a changeset and this of what
    /// [`encode`](crate::encode) gives of it is the same. Values are hashed as they are spelled, so that another spelling
    /// than the canonical one leads to another digest. Cost: the bytes; no row is made.
    ///
    /// # Errors
    ///
    /// As [`decode`](crate::decode), but that values are not compared with what their columns take. The digest is as it
    /// was then.
    pub fn apply_encoded(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let mut hasher = RowHasher::new();
        let mut digest = self.0;
        for_each_change(bytes, |change| {
            let mut hash =
                |row: &[RawValue<'_>]| hasher.hash_values(change.definition, row.iter().copied());
            if let Some(before) = change.before {
                digest = difference(digest, hash(before));
            }
            if let Some(after) = change.after {
                digest = sum(digest, hash(after));
            }
            Ok(())
        })?;
        self.0 = digest;
        Ok(())
    }

    /// Puts all rows in that another digest is of. They must be other rows than those that this one is of.
    pub fn join(&mut self, other: StateDigest) {
        self.0 = sum(self.0, other.0);
    }

    /// The 32 bytes of the sum, least significant first.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// The digest with these bytes, least significant first.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        StateDigest(limbs(&bytes))
    }

    /// The first 12 hex digits, for people.
    pub fn short(self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

/// Counts the digest of rows from their values as they are spelled, one row after the other, without making rows of them.
#[derive(Debug)]
pub struct RowCounter {
    hasher: RowHasher,
    digest: StateDigest,
}

impl Default for RowCounter {
    fn default() -> Self {
        RowCounter {
            hasher: RowHasher::new(),
            digest: StateDigest::EMPTY,
        }
    }
}

impl RowCounter {
    /// Puts a row in, by its values in the order of the table's columns. Values that are spelled otherwise than
    /// [`Row::values`] gives them lead to another digest.
    pub fn add<'a>(
        &mut self,
        table: &'static TableDefinition,
        values: impl Iterator<Item = RawValue<'a>>,
    ) {
        self.digest.add_hash(self.hasher.hash_values(table, values));
    }

    /// The digest of the rows so far.
    pub fn digest(&self) -> StateDigest {
        self.digest
    }
}

/// a + b modulo 2²⁵⁶, least significant limb first.
fn sum(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut carry = false;
    std::array::from_fn(|index| {
        let (sum, over) = a[index].overflowing_add(b[index]);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        carry = over | over_again;
        sum
    })
}

/// a − b modulo 2²⁵⁶.
fn difference(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut borrow = false;
    std::array::from_fn(|index| {
        let (difference, under) = a[index].overflowing_sub(b[index]);
        let (difference, under_again) = difference.overflowing_sub(u64::from(borrow));
        borrow = under | under_again;
        difference
    })
}

fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|index| u64::from_le_bytes(words[index]))
}

/// Hashes rows one after the other.
#[derive(Debug)]
pub(crate) struct RowHasher {
    hasher: blake3::Hasher,
    /// What is hashed of a row: in one piece, because the hasher is slow on small ones.
    buffer: Vec<u8>,
    /// The table of the last row, and what stands before each of its values.
    table: Option<(&'static TableDefinition, Vec<Before>)>,
}

/// What is hashed before a value of a column: the column's name and the value's type, each with its length.
#[derive(Debug)]
struct Before {
    integer: Vec<u8>,
    text: Vec<u8>,
}

/// Appends a text with its length.
fn put_text(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend((text.len() as u64).to_le_bytes());
    buffer.extend(text.as_bytes());
}

impl Before {
    fn all(table: &TableDefinition) -> Vec<Before> {
        let of = |column: &str, kind| {
            let mut before = Vec::new();
            put_text(&mut before, column);
            put_text(&mut before, kind);
            before
        };
        let columns = table.columns.iter().map(|column| Before {
            integer: of(column.name, "integer"),
            text: of(column.name, "text"),
        });
        columns.collect()
    }
}

impl RowHasher {
    pub(crate) fn new() -> Self {
        // Making the key of the context takes as long as hashing a row.
        static CONTEXT: LazyLock<ContextKey> =
            LazyLock::new(|| hash_derive_key_context("rewire 2026 row of a configuration"));
        RowHasher {
            hasher: blake3::Hasher::new_from_context_key(&CONTEXT),
            buffer: Vec::new(),
            table: None,
        }
    }

    fn hash(&mut self, row: &Row) -> [u64; 4] {
        let values = row.values();
        self.hash_values(row.table().definition(), values.iter().map(RawValue::from))
    }

    pub(crate) fn hash_values<'a>(
        &mut self,
        table: &'static TableDefinition,
        values: impl Iterator<Item = RawValue<'a>>,
    ) -> [u64; 4] {
        let (_, columns) = match &mut self.table {
            Some(last) if last.0.name == table.name => last,
            last => last.insert((table, Before::all(table))),
        };
        let buffer = &mut self.buffer;
        buffer.clear();
        put_text(buffer, table.name);
        for (before, value) in columns.iter().zip(values) {
            match value {
                RawValue::Null => {}
                RawValue::Integer(integer) => {
                    buffer.extend(&before.integer);
                    put_decimal(buffer, integer);
                }
                RawValue::Text(value) => {
                    buffer.extend(&before.text);
                    put_text(buffer, value);
                }
            }
        }
        self.hasher.reset().update(buffer);
        limbs(self.hasher.finalize().as_bytes())
    }
}

/// Appends a number as a text with its length.
fn put_decimal(buffer: &mut Vec<u8>, integer: i64) {
    match u8::try_from(integer) {
        // Positions, mostly.
        Ok(digit @ 0..10) => {
            buffer.extend(1u64.to_le_bytes());
            buffer.push(b'0' + digit);
        }
        _ => put_text(buffer, &integer.to_string()),
    }
}

impl fmt::Display for StateDigest {
    /// All 64 hex digits, in the order of [`StateDigest::to_bytes`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rewire_schema::{Value, testing};

    /// Limbs at the edges, where carries run on.
    fn number() -> impl Strategy<Value = [u64; 4]> {
        prop::array::uniform4(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()])
    }

    proptest! {
        #[test]
        fn sums_are_those_of_school(a in number(), b in number()) {
            let bytes = |n| StateDigest(n).to_bytes();
            let mut carry = 0;
            let mut school = [0u8; 32];
            for (digit, (a, b)) in school.iter_mut().zip(bytes(a).into_iter().zip(bytes(b))) {
                let column = u16::from(a) + u16::from(b) + carry;
                *digit = column as u8;
                carry = column >> 8;
            }
            prop_assert_eq!(bytes(sum(a, b)), school);
            prop_assert_eq!(difference(sum(a, b), b), a);
        }

        #[test]
        fn following_changes_equals_a_recount(
            (before, changeset) in testing::configuration()
                .prop_flat_map(|state| (Just(state.clone()), testing::changeset_on(&state)))
        ) {
            let mut after = before.clone();
            after.apply(&changeset).unwrap();
            let mut digest = StateDigest::of(&before);
            let mut parts = [RowCounter::default(), RowCounter::default()];
            for (number, row) in before.rows().enumerate() {
                let values = row.values();
                parts[number % 2].add(row.table().definition(), values.iter().map(RawValue::from));
            }
            let mut counted = parts[0].digest();
            counted.join(parts[1].digest());
            prop_assert_eq!(counted, digest);
            digest.apply(&changeset);
            prop_assert_eq!(digest, StateDigest::of(&after));
            let mut of_bytes = StateDigest::of(&before);
            prop_assert_eq!(of_bytes.apply_encoded(&crate::encode(&changeset)), Ok(()));
            prop_assert_eq!(of_bytes, digest);
            digest.apply(&changeset.inverse());
            prop_assert_eq!(digest, StateDigest::of(&before));
            prop_assert_eq!(StateDigest::from_bytes(digest.to_bytes()), digest);
        }

        #[test]
        fn digests_are_equal_just_where_states_are(a in testing::configuration(), b in testing::configuration()) {
            prop_assert_eq!(StateDigest::of(&a) == StateDigest::of(&b), a == b);
        }
    }

    /// Digests are stored: this value may never change.
    #[test]
    fn a_known_row_has_its_known_digest() {
        // Columns that were added since are NULL, and leave it as it is.
        let mut values = vec![Value::Null; rewire_schema::Table::Vpc.definition().columns.len()];
        values[0] = Value::Text("blue".into());
        let row = Row::from_values(rewire_schema::Table::Vpc, &values).unwrap();
        let mut digest = StateDigest::EMPTY;
        digest.add(&row);
        assert_eq!(
            digest.to_string(),
            "7ddfe3527109056d5cbc2db220a060de22fbcada68387a43f01e411e84d3a1ae"
        );
        assert_eq!(digest.short().len(), 12);
        digest.remove(&row);
        assert_eq!(digest, StateDigest::EMPTY);
    }
}
