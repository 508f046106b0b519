//! What workers read: one immutable snapshot per generation, under left-right.
