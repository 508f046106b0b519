//! From a revision to tables, and from a changeset to table operations.
