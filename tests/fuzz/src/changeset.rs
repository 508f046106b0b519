//! The bytes of changesets.

use rewire_journal::{RowFilter, StateDigest, WantedRows, decode, encode, find};
use rewire_schema::merge::rebase;
use rewire_schema::{Changeset, RowKey};

/// Reads a changeset. What is read is written to bytes that read as the same; its rows are found in them; it follows its
/// own inverse. Gives whether the bytes are a changeset.
pub fn run(bytes: &[u8]) -> bool {
    // Asked for nothing, and for what is not there.
    let nothing = find(bytes, &WantedRows::default());
    let filter_of_bytes = RowFilter::of_encoded(bytes);
    let mut digest_of_bytes = StateDigest::EMPTY;
    let hashed = digest_of_bytes.apply_encoded(bytes);
    let Ok(changeset) = decode(bytes) else {
        return false;
    };
    assert_eq!(nothing, Ok(Changeset::default()));
    let written = encode(&changeset);
    assert_eq!(decode(&written).as_ref(), Ok(&changeset));

    let keys: Vec<RowKey> = changeset.iter().map(|c| c.row().row_key()).collect();
    let filter = RowFilter::of(&changeset);
    assert!(keys.iter().all(|key| filter.may_contain(key)));
    let wanted: WantedRows = keys.into_iter().collect();
    assert_eq!(find(&written, &wanted).as_ref(), Ok(&changeset));

    let mut there_and_back = changeset.clone();
    assert_eq!(there_and_back.then(&changeset.inverse()), Ok(()));
    assert!(there_and_back.is_empty());
    let mut digest = StateDigest::EMPTY;
    digest.apply(&changeset);
    assert_eq!(hashed, Ok(()));
    if written == bytes {
        assert_eq!(filter_of_bytes.as_ref(), Ok(&filter));
        assert_eq!(digest_of_bytes, digest);
    }
    digest.apply(&changeset.inverse());
    assert_eq!(digest, StateDigest::EMPTY);
    assert_eq!(rebase(&changeset, &changeset), Ok(Changeset::default()));
    true
}
