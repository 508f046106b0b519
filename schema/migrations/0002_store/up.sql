-- What makes the configuration's tables a store: its identity, its journal and the candidates.
--
-- The numbers in the header of the file say what it is: application_id is "Rewi" for ever, user_version the number of the
-- last migration. Each migration sets it, in its own transaction.

CREATE TABLE meta (
  only     INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  identity BLOB NOT NULL CHECK (length(identity) = 16)
) STRICT;
INSERT INTO meta (only, identity) VALUES (1, randomblob(16));

-- One row a revision. The changeset comes last, so that a look at the other columns does not read through it.
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

-- History is never rewritten.
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'a journal entry cannot be changed'); END;
CREATE TRIGGER journal_is_never_shortened BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'a journal entry cannot be deleted'); END;

CREATE TABLE candidate (
  name          TEXT NOT NULL PRIMARY KEY,
  base_revision INTEGER NOT NULL CHECK (base_revision >= 0),
  author        TEXT NOT NULL,
  updated_at    INTEGER NOT NULL,
  changeset     BLOB NOT NULL
) STRICT;

PRAGMA application_id = 0x52657769;
PRAGMA user_version = 2;
