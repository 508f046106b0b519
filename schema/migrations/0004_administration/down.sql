-- A journal that was shortened, or that holds reverts, loses what version 2 has no words for.
PRAGMA user_version = 3;
DROP TABLE tag;
DROP TABLE exclusive_lock;
DROP TABLE scheduled;
ALTER TABLE meta DROP COLUMN last_scheduled;
DROP TABLE confirmation;

ALTER TABLE candidate RENAME TO candidate_of_version_4;
CREATE TABLE candidate (
  name          TEXT NOT NULL PRIMARY KEY,
  base_revision INTEGER NOT NULL CHECK (base_revision >= 0),
  author        TEXT NOT NULL,
  updated_at    INTEGER NOT NULL,
  changeset     BLOB NOT NULL
) STRICT;
INSERT INTO candidate SELECT name, base_revision, author, updated_at, changeset FROM candidate_of_version_4;
DROP TABLE candidate_of_version_4;
ALTER TABLE meta DROP COLUMN candidate_version;

DROP TRIGGER journal_is_never_changed;
DROP TRIGGER journal_is_never_shortened;
DROP TABLE checkpoint;
ALTER TABLE journal RENAME TO journal_of_version_4;
CREATE TABLE journal (
  revision       INTEGER NOT NULL PRIMARY KEY CHECK (revision >= 1),
  rewind_to      INTEGER CHECK (rewind_to >= 0 AND rewind_to < revision),
  author         TEXT NOT NULL,
  message        TEXT NOT NULL,
  committed_at   INTEGER NOT NULL,
  schema_version INTEGER NOT NULL CHECK (schema_version >= 1),
  parent         BLOB NOT NULL CHECK (length(parent) = 32),
  state_digest   BLOB NOT NULL CHECK (length(state_digest) = 32),
  hash           BLOB NOT NULL CHECK (length(hash) = 32),
  changeset      BLOB NOT NULL
) STRICT;
INSERT INTO journal SELECT revision, rewind_to, author, message, committed_at, schema_version, parent, state_digest, hash,
  changeset FROM journal_of_version_4 ORDER BY revision;
DROP TABLE journal_of_version_4;
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'a journal entry cannot be changed'); END;
CREATE TRIGGER journal_is_never_shortened BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'a journal entry cannot be deleted'); END;
