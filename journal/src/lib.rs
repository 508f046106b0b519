//! Reversible operations: changesets, their inverse, the hash chain.
