-- What administration needs besides commits: named candidates that notice each other, commits that must be confirmed or
-- that wait for their time, tags, one exclusive lock, and a journal that can be looked through without its changesets and
-- shortened behind a checkpoint.
--
-- Runs with foreign keys off, in the transaction of the whole upgrade. The numbers that are counted from changesets are
-- filled in by the program, in the same transaction.

-- user_version alone says which migrations ran.
DROP TABLE IF EXISTS __diesel_schema_migrations;

-- Where the journal begins, once it was shortened: the last entry that went, of which this is left.
CREATE TABLE checkpoint (
  only         INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  revision     INTEGER NOT NULL CHECK (revision >= 1),
  hash         BLOB NOT NULL CHECK (length(hash) = 32),
  state_digest BLOB NOT NULL CHECK (length(state_digest) = 32)
) STRICT;

-- The journal anew: an entry may undo an old one, and says in short what it changed. What is short comes first: a look at
-- it does not read through the columns behind it.
DROP TRIGGER IF EXISTS journal_is_never_changed;
DROP TRIGGER IF EXISTS journal_is_never_shortened;
ALTER TABLE journal RENAME TO journal_of_version_2;
CREATE TABLE journal (
  revision       INTEGER NOT NULL PRIMARY KEY CHECK (revision >= 1),
  rewind_to      INTEGER CHECK (rewind_to >= 0 AND rewind_to < revision),
  revert_of      INTEGER CHECK (revert_of >= 1 AND revert_of < revision),
  author         TEXT NOT NULL,
  message        TEXT NOT NULL,
  committed_at   INTEGER NOT NULL,
  schema_version INTEGER NOT NULL CHECK (schema_version >= 1),
  parent         BLOB NOT NULL CHECK (length(parent) = 32),
  state_digest   BLOB NOT NULL CHECK (length(state_digest) = 32),
  hash           BLOB NOT NULL CHECK (length(hash) = 32),
  -- From here on what the changeset says, in short: the numbers of its rows, and a filter of their keys.
  inserted       INTEGER NOT NULL CHECK (inserted >= 0),
  updated        INTEGER NOT NULL CHECK (updated >= 0),
  deleted        INTEGER NOT NULL CHECK (deleted >= 0),
  touched        BLOB NOT NULL,
  changeset      BLOB NOT NULL,
  CHECK (rewind_to IS NULL OR revert_of IS NULL)
) STRICT;
INSERT INTO journal (revision, rewind_to, author, message, committed_at, schema_version, parent, state_digest, hash,
    inserted, updated, deleted, touched, changeset)
  SELECT revision, rewind_to, author, message, committed_at, schema_version, parent, state_digest, hash,
    0, 0, 0, x'', changeset
  FROM journal_of_version_2 ORDER BY revision;
DROP TABLE journal_of_version_2;

-- History is never rewritten. What only repeats the changeset may be counted again.
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE OF revision, rewind_to, revert_of, author, message, committed_at,
    schema_version, parent, state_digest, hash, changeset ON journal
BEGIN SELECT RAISE(ABORT, 'a journal entry cannot be changed'); END;
-- It is shortened from its beginning, up to a checkpoint.
CREATE TRIGGER journal_is_never_shortened BEFORE DELETE ON journal
WHEN OLD.revision > coalesce((SELECT revision FROM checkpoint), 0)
BEGIN SELECT RAISE(ABORT, 'a journal entry after the checkpoint cannot be deleted'); END;
-- A checkpoint is made of an entry, and moves only forwards.
CREATE TRIGGER checkpoint_is_made_of_an_entry BEFORE INSERT ON checkpoint
WHEN NOT EXISTS (SELECT 1 FROM journal
  WHERE revision = NEW.revision AND hash = NEW.hash AND state_digest = NEW.state_digest)
BEGIN SELECT RAISE(ABORT, 'a checkpoint must be a journal entry'); END;
CREATE TRIGGER checkpoint_moves_to_an_entry BEFORE UPDATE ON checkpoint
WHEN NOT EXISTS (SELECT 1 FROM journal
  WHERE revision = NEW.revision AND hash = NEW.hash AND state_digest = NEW.state_digest)
BEGIN SELECT RAISE(ABORT, 'a checkpoint must be a journal entry'); END;
CREATE TRIGGER checkpoint_is_never_removed BEFORE DELETE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'a checkpoint cannot be deleted'); END;

-- Candidates anew. Each save gives its candidate the next version of all, so that who saves over somebody else's edits is
-- told, even where the candidate was removed and made again.
ALTER TABLE meta ADD COLUMN candidate_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE candidate RENAME TO candidate_of_version_2;
CREATE TABLE candidate (
  name          TEXT NOT NULL PRIMARY KEY,
  base_revision INTEGER NOT NULL CHECK (base_revision >= 0),
  author        TEXT NOT NULL,
  updated_at    INTEGER NOT NULL,
  version       INTEGER NOT NULL CHECK (version >= 1),
  inserted      INTEGER NOT NULL CHECK (inserted >= 0),
  updated       INTEGER NOT NULL CHECK (updated >= 0),
  deleted       INTEGER NOT NULL CHECK (deleted >= 0),
  -- Objects that are not complete yet, in an editor's words: the store keeps them and knows no more of them.
  drafts        TEXT NOT NULL,
  changeset     BLOB NOT NULL
) STRICT;
INSERT INTO candidate (name, base_revision, author, updated_at, version, inserted, updated, deleted, drafts, changeset)
  SELECT name, base_revision, author, updated_at, 1, 0, 0, 0, '', changeset FROM candidate_of_version_2;
DROP TABLE candidate_of_version_2;

-- The commit that goes back by itself unless it is confirmed: at `deadline` (microseconds since the Unix epoch) to the state
-- of `back_to`.
CREATE TABLE confirmation (
  only     INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  revision INTEGER NOT NULL,
  back_to  INTEGER NOT NULL CHECK (back_to >= 0 AND back_to < revision),
  deadline INTEGER NOT NULL,
  author   TEXT NOT NULL
) STRICT;

-- Commits that wait for their time. What was refused stays, with the reason, until somebody cancels it. No number is given
-- out again.
ALTER TABLE meta ADD COLUMN last_scheduled INTEGER NOT NULL DEFAULT 0;
CREATE TABLE scheduled (
  id            INTEGER NOT NULL PRIMARY KEY CHECK (id >= 1),
  at            INTEGER NOT NULL,
  base_revision INTEGER NOT NULL CHECK (base_revision >= 0),
  revert_of     INTEGER CHECK (revert_of >= 1),
  author        TEXT NOT NULL,
  message       TEXT NOT NULL,
  scheduled_at  INTEGER NOT NULL,
  confirm       INTEGER CHECK (confirm > 0),
  failed_at     INTEGER,
  failure       TEXT,
  inserted      INTEGER NOT NULL CHECK (inserted >= 0),
  updated       INTEGER NOT NULL CHECK (updated >= 0),
  deleted       INTEGER NOT NULL CHECK (deleted >= 0),
  changeset     BLOB NOT NULL,
  CHECK ((failed_at IS NULL) = (failure IS NULL))
) STRICT;
CREATE INDEX scheduled_next ON scheduled (at, id) WHERE failed_at IS NULL;

-- The one exclusive lock, and the process that it dies with: its number, when it was started (in clock ticks since the
-- machine was) and which start of the machine that was.
CREATE TABLE exclusive_lock (
  only    INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  holder  TEXT NOT NULL,
  message TEXT NOT NULL,
  since   INTEGER NOT NULL,
  pid     INTEGER NOT NULL,
  started INTEGER NOT NULL,
  boot    TEXT NOT NULL
) STRICT;

-- Names for revisions.
CREATE TABLE tag (
  name      TEXT NOT NULL PRIMARY KEY,
  revision  INTEGER NOT NULL CHECK (revision >= 0),
  author    TEXT NOT NULL,
  tagged_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tag_revision ON tag (revision);

PRAGMA user_version = 4;
