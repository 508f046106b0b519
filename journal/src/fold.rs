//! What changesets lead to, followed in their bytes.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rewire_schema::{Mismatch, Row, Table};

use crate::error::JournalError;
use crate::recorded::{EncodedChange, decode_row, encode_row, for_each_encoded_change};
use rewire_schema::RawValue;

/// The rows that encoded changesets lead to, each as the bytes that it is encoded in: no row is made. Equal rows have equal
/// bytes, whichever model wrote them.
///
/// Memory: the encoded rows that the changesets touched and left, and about 60 bytes for each.
#[derive(Debug)]
pub struct Fold {
    rows: HashTable<Held>,
    hasher: DefaultHashBuilder,
    /// Whether there was no row before the first changeset. Otherwise, the rows that were are not known until a changeset
    /// says what one of them was.
    from_nothing: bool,
    /// The number of the changeset that is followed.
    number: u32,
    /// The keys of the rows that it removed.
    removed: Vec<Box<[u8]>>,
    /// Where a row that is met is encoded.
    met: Vec<u8>,
}

/// A row, or that there is none of this key.
#[derive(Debug)]
struct Held {
    /// As [`encode_row`] has them; where there is no row, those of its key.
    bytes: Box<[u8]>,
    /// The hash of the key: a table that grows need not read it again.
    hash: KeyHash,
    key_len: u32,
    /// The number of the changeset that left it so.
    number: u32,
    is_there: bool,
}

/// Half a hash, so that what is held of a row is half a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyHash(u32);

impl KeyHash {
    fn of(hasher: &DefaultHashBuilder, key: &[u8]) -> KeyHash {
        KeyHash((hasher.hash_one(key) >> 32) as u32)
    }

    /// The table takes its lowest and its highest bits.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Held {
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len as usize]
    }

    fn row(&self) -> Option<&[u8]> {
        self.is_there.then_some(&*self.bytes)
    }
}

/// What was known of a row that somebody came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The changesets lead to just this row.
    AsExpected,
    /// They lead to another row of this key, or to none.
    Different,
    /// No changeset touched a row of this key.
    Untouched,
}

impl Fold {
    /// Before the first changeset of all: there are no rows.
    pub fn from_nothing() -> Fold {
        Fold::new(true)
    }

    /// Before a changeset onto a state that is not known.
    pub fn from_unknown() -> Fold {
        Fold::new(false)
    }

    fn new(from_nothing: bool) -> Fold {
        Fold {
            rows: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            from_nothing,
            number: 0,
            removed: Vec::new(),
            met: Vec::new(),
        }
    }

    /// Follows the next changeset. Cost: its bytes. After an error, nothing more can be followed.
    ///
    /// # Errors
    ///
    /// [`JournalError::Mismatch`] where it does not fit onto those before it. What [`decode`](crate::decode) refuses is
    /// refused, but that values are not compared with what their columns take, and texts may be no UTF-8; see
    /// [`Recount`](crate::Recount).
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.number = self.number.wrapping_add(1);
        for_each_encoded_change(bytes, |change| {
            let malformed = |what| JournalError::Malformed {
                offset: bytes.len(),
                what,
            };
            self.change(&change)?.map_err(malformed)
        })?;
        let hasher = &self.hasher;
        for key in self.removed.drain(..) {
            let hash = KeyHash::of(hasher, &key);
            let is_it = |held: &Held| held.hash == hash && held.key() == &*key;
            if let Ok(held) = self.rows.find_entry(hash.spread(), is_it) {
                held.remove();
            }
        }
        Ok(())
    }

    /// Follows a change; the inner error is a rule of the encoding that it breaks.
    fn change(
        &mut self,
        change: &EncodedChange<'_>,
    ) -> Result<Result<(), &'static str>, JournalError> {
        let Fold {
            rows,
            hasher,
            from_nothing,
            number,
            removed,
            ..
        } = self;
        let EncodedChange {
            key_len,
            before,
            after,
        } = *change;
        let is_there = after.is_some();
        let Some(now) = after.or(before.map(|row| &row[..key_len])) else {
            return Ok(Ok(()));
        };
        let key = &now[..key_len];
        let hash = KeyHash::of(hasher, key);
        let held = || Held {
            bytes: now.into(),
            hash,
            key_len: key_len as u32,
            is_there,
            number: *number,
        };
        let is_it = |held: &Held| held.hash == hash && held.key() == key;
        match rows.entry(hash.spread(), is_it, |held| held.hash.spread()) {
            Entry::Vacant(_) if *from_nothing && before.is_some() => {
                return Err(mismatch(change, None));
            }
            Entry::Vacant(vacant) => drop(vacant.insert(held())),
            Entry::Occupied(mut occupied) => {
                if occupied.get().number == *number {
                    return Ok(Err("a row is changed twice"));
                }
                if occupied.get().row() != before {
                    return Err(mismatch(change, occupied.get().row()));
                }
                *occupied.get_mut() = held();
            }
        }
        if !is_there && *from_nothing {
            // It must be known until the changeset ends that it was there.
            removed.push(key.into());
        }
        if before == after {
            return Ok(Err("an update changes nothing"));
        }
        Ok(Ok(()))
    }

    /// Meets a row of the state that the changesets should lead to, and forgets it if it is as expected. Values are those of
    /// the table's columns, in their order. Cost: the row.
    pub fn meet<'a>(
        &mut self,
        table: Table,
        values: impl IntoIterator<Item = RawValue<'a>>,
    ) -> Met {
        let row = &mut self.met;
        let key_len = encode_row(table, values, row);
        let key = &row[..key_len];
        let hash = KeyHash::of(&self.hasher, key);
        let is_it = |held: &Held| held.hash == hash && held.key() == key;
        match self.rows.find_entry(hash.spread(), is_it) {
            Ok(held) if held.get().row() == Some(row) => {
                held.remove();
                Met::AsExpected
            }
            Ok(_) => Met::Different,
            Err(_) if self.from_nothing => Met::Different,
            Err(_) => Met::Untouched,
        }
    }

    /// Whether the changesets lead to a row that nobody met. Cost: what they touched, and nobody met.
    pub fn has_unmet(&self) -> bool {
        self.rows.iter().any(|held| held.is_there)
    }

    /// The first row, by table and key, that the changesets lead to and nobody met. Cost: all that nobody met.
    ///
    /// # Errors
    ///
    /// [`JournalError::Row`] where its values are not what its columns take.
    pub fn first_unmet(&self) -> Result<Option<Row>, JournalError> {
        let mut first: Option<Row> = None;
        for bytes in self.rows.iter().filter_map(Held::row) {
            let row = decode_row(bytes)?;
            if first
                .as_ref()
                .is_none_or(|first| row.row_key() < first.row_key())
            {
                first = Some(row);
            }
        }
        Ok(first)
    }
}

fn mismatch(change: &EncodedChange<'_>, found: Option<&[u8]>) -> JournalError {
    let expected = change.before.map(decode_row).transpose();
    let both = expected.and_then(|expected| {
        let found = found.map(decode_row).transpose()?;
        Ok(Mismatch {
            expected: expected.map(Box::new),
            found: found.map(Box::new),
        })
    });
    match both {
        Ok(mismatch) => JournalError::Mismatch(mismatch),
        // One of the rows is none.
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recount, StateDigest, encode};
    use proptest::prelude::*;
    use rewire_schema::{Change, Changeset, Configuration, Value, testing};

    /// A random walk: some changesets, each on what the last one leads to.
    fn walk() -> impl Strategy<Value = Vec<Changeset>> {
        let targets = prop::collection::vec(testing::configuration(), 1..5);
        targets.prop_map(|targets| {
            let mut before = Configuration::default();
            let step = |after: Configuration| {
                let changeset = Changeset::between(&before, &after);
                before = after;
                changeset
            };
            targets.into_iter().map(step).collect()
        })
    }

    fn meet(fold: &mut Fold, row: &Row) -> Met {
        let values = row.values();
        fold.meet(row.table(), values.iter().map(RawValue::from))
    }

    /// The oracle: decode, and compose.
    fn folded(walk: &[Changeset]) -> Changeset {
        let mut all = Changeset::default();
        walk.iter()
            .for_each(|changeset| all.then(changeset).unwrap());
        all
    }

    proptest! {
        #[test]
        fn following_bytes_is_composing_changesets(walk in walk(), others in prop::collection::vec(testing::row(), 0..6)) {
            let mut fold = Fold::from_nothing();
            for changeset in &walk {
                prop_assert_eq!(fold.follow(&encode(changeset)), Ok(()));
            }
            let mut expected: Vec<Row> = folded(&walk).iter().filter_map(|change| change.after().cloned()).collect();
            prop_assert_eq!(fold.first_unmet().unwrap(), expected.first().cloned());
            for other in &others {
                if !expected.contains(other) {
                    prop_assert_eq!(meet(&mut fold, other), Met::Different);
                }
            }
            while let Some(row) = expected.pop() {
                prop_assert_eq!(meet(&mut fold, &row), Met::AsExpected);
                prop_assert_eq!(meet(&mut fold, &row), Met::Different, "there are not two of it");
            }
            prop_assert_eq!(fold.first_unmet().unwrap(), None);
        }

        /// Without what was before, the rest is followed as it is composed.
        #[test]
        fn what_was_before_need_not_be_known(walk in walk(), others in prop::collection::vec(testing::row(), 0..6)) {
            let (first, rest) = walk.split_first().unwrap();
            let mut state = Configuration::default();
            state.apply(first).unwrap();
            let mut fold = Fold::from_unknown();
            for changeset in rest {
                prop_assert_eq!(fold.follow(&encode(changeset)), Ok(()));
                state.apply(changeset).unwrap();
            }
            let touched = |row: &Row| rest.iter().any(|changeset| changeset.get(&row.row_key()).is_some());
            for other in others.iter().filter(|other| state.get(other).as_ref() != Some(other)) {
                let met = if touched(other) { Met::Different } else { Met::Untouched };
                prop_assert_eq!(meet(&mut fold, other), met);
            }
            for row in state.rows() {
                let met = if touched(&row) { Met::AsExpected } else { Met::Untouched };
                prop_assert_eq!(meet(&mut fold, &row), met);
            }
            prop_assert_eq!(fold.first_unmet().unwrap(), None);
        }

        /// What does not fit does not fit in bytes either, and the same two rows are named.
        #[test]
        fn what_does_not_fit_is_refused(walk in walk(), stray in testing::configuration(), at in any::<prop::sample::Index>()) {
            let mut walk = walk;
            let stray = Changeset::between(&stray, &Configuration::default());
            let at = at.index(walk.len());
            walk.insert(at, stray);
            let (mut fold, mut state) = (Fold::from_nothing(), Configuration::default());
            for changeset in &walk {
                let followed = fold.follow(&encode(changeset));
                match state.apply(changeset) {
                    Ok(()) => prop_assert_eq!(followed, Ok(())),
                    Err(mismatch) => {
                        prop_assert_eq!(followed, Err(JournalError::Mismatch(mismatch)));
                        break;
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_refused_or_followed(
            walk in walk(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = encode(&walk[0]);
            for (index, byte) in damage {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let followed = Fold::from_unknown().follow(&bytes);
            let recounted = Recount::from(StateDigest::EMPTY).follow(&bytes);
            // What can be read can be followed, and what can be followed and recounted can be read.
            match crate::decode(&bytes) {
                Ok(_) => prop_assert_eq!(followed, Ok(())),
                Err(error) => prop_assert!(followed.is_err() || recounted.is_err(), "{}", error),
            }
        }
    }

    #[test]
    fn a_row_that_is_changed_twice_is_refused() {
        let values = vec![Value::Null; Table::Vpc.definition().columns.len()];
        let row = |name: &str| {
            let mut values = values.clone();
            values[0] = Value::Text(name.to_owned());
            Row::from_values(Table::Vpc, &values).unwrap()
        };
        let both = |b: &str| -> Vec<u8> {
            let changes = [Change::Insert(row("aaaa")), Change::Delete(row(b))];
            encode(&changes.into_iter().collect())
        };
        let mut bytes = both("bbbb");
        let place = bytes
            .windows(4)
            .position(|window| window == b"bbbb")
            .unwrap();
        bytes[place..place + 4].copy_from_slice(b"aaaa");
        for mut fold in [Fold::from_nothing(), Fold::from_unknown()] {
            let error = fold.follow(&bytes).unwrap_err();
            assert!(
                error.to_string().contains("a row is changed twice"),
                "{error}"
            );
        }
    }
}
