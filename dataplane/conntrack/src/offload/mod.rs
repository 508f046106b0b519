//! Offload: handing flows to the network card, which then forwards their packets without a core.
//!
//! A [`Rule`] is one direction of a flow; a [`Card`] is whatever takes rules.

mod card;
mod rule;

pub use card::{Card, Event, QueueFull, Refusal};
pub use rule::{Actions, Pattern, Rule, RuleId, Usage};
