//! The configuration store: candidates, commits, history, rewind.
