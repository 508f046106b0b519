//! An entry in a file: all of its fields.

use crate::digest::StateDigest;
use crate::entry::{Entry, EntryKind, Hash};
use crate::error::JournalError;
use crate::wire::{Reader, put_bytes, put_integer, put_text, put_varint};

const COMMIT: u8 = 0;
const REWIND: u8 = 1;
const REVERT: u8 = 2;

/// Appends an entry.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    // Taken apart by name, so that a field that is added cannot be forgotten here.
    let Entry {
        revision,
        kind,
        author,
        message,
        committed_at,
        schema_version,
        parent,
        state_digest,
        changeset,
        hash,
    } = entry;
    put_varint(out, *revision);
    match kind {
        EntryKind::Commit => out.push(COMMIT),
        EntryKind::Rewind { to } => {
            out.push(REWIND);
            put_varint(out, *to);
        }
        EntryKind::Revert { of } => {
            out.push(REVERT);
            put_varint(out, *of);
        }
    }
    put_text(out, author);
    put_text(out, message);
    put_integer(out, *committed_at);
    put_varint(out, u64::from(*schema_version));
    out.extend(parent.to_bytes());
    out.extend(state_digest.to_bytes());
    put_bytes(out, changeset);
    out.extend(hash.to_bytes());
}

/// Reads an entry that takes all of `bytes`. What it says is not looked at, but for its form.
pub(super) fn read_entry(bytes: &[u8]) -> Result<Entry, JournalError> {
    let mut reader = Reader::new(bytes);
    let revision = reader.varint()?;
    let kind = match reader.byte()? {
        COMMIT => EntryKind::Commit,
        REWIND => EntryKind::Rewind {
            to: reader.varint()?,
        },
        REVERT => EntryKind::Revert {
            of: reader.varint()?,
        },
        _ => return Err(reader.malformed("the kind is unknown")),
    };
    let entry = Entry {
        revision,
        kind,
        author: reader.text()?.to_owned(),
        message: reader.text()?.to_owned(),
        committed_at: reader.integer()?,
        schema_version: u32::try_from(reader.varint()?)
            .map_err(|_| reader.malformed("the schema version does not fit into 32 bits"))?,
        parent: Hash::from_bytes(reader.array()?),
        state_digest: StateDigest::from_bytes(reader.array()?),
        changeset: reader.bytes()?.to_vec(),
        hash: Hash::from_bytes(reader.array()?),
    };
    if !reader.is_empty() {
        return Err(reader.malformed("bytes follow after the entry"));
    }
    Ok(entry)
}
