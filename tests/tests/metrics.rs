//! What is counted adds up.
