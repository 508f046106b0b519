//! What a network card must be able to do, so that flows can be offloaded to it.

use rewire_tables::InterfaceIndex;
use thiserror::Error;

use super::rule::{Rule, RuleId, Usage};
use crate::time::Instant;

/// A card that takes rules: rte_flow's, or a modelled one. One object stands for all ports of a gateway.
///
/// Calls enqueue, as rte_flow's asynchronous ones do (`rte_flow_async_create`, `rte_flow_async_destroy`); [`push`](Self::push)
/// rings the doorbell, and [`poll`](Self::poll) fetches what was done, in any order. None of them waits. A card without
/// queues does its work in the call, and reports it at the next poll. The caller is one thread, the engine's.
///
/// The caller promises: a place is free when a rule is installed into it, a removal is asked for only after
/// [`Event::Installed`] of the same rule, and once, but for another try after [`Event::NotRemoved`].
///
/// The card promises: each installation that was taken leads to one `Installed` or `NotInstalled`, each removal that was
/// taken to one `Removed` or `NotRemoved`, and nothing matches a rule any more when `Removed` is reported.
pub trait Card: Send {
    /// Gets ready for rules with places below `places`; called once, before all others. It may take fewer rules at a time:
    /// what is too much is refused.
    fn reserve(&mut self, places: usize);

    /// Enqueues the installation of a rule.
    ///
    /// # Errors
    /// Why not; there is no event for it then.
    fn install(&mut self, id: RuleId, rule: &Rule, now: Instant) -> Result<(), Refusal>;

    /// Enqueues the removal of a rule that is installed.
    ///
    /// # Errors
    /// The queue is full: nothing has happened.
    fn remove(&mut self, id: RuleId, now: Instant) -> Result<(), QueueFull>;

    /// Hands all that was enqueued to the hardware.
    fn push(&mut self, now: Instant);

    /// Adds at most `limit` events to `events`, of which there is room for so many.
    fn poll(&mut self, now: Instant, limit: usize, events: &mut Vec<Event>);

    /// What an installed rule has done; none where the card cannot say it now. What it says may be a little old, but never
    /// goes back.
    fn query(&mut self, id: RuleId, now: Instant) -> Option<Usage>;

    /// A port is about to be closed: nothing may match a rule any more that has it as ingress or egress when this returns. Such
    /// a rule still counts as installed; its removal is asked for as that of any other, and reported.
    fn close_port(&mut self, port: InterfaceIndex);
}

/// What a card reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A rule is installed: packets may match it since some moment before this.
    Installed(RuleId),
    /// A rule was refused after all, and is not there.
    NotInstalled(RuleId, Refusal),
    /// A rule is gone, and this is all that it has done.
    Removed(RuleId, Usage),
    /// A rule could not be removed, and is there still. The caller tries again.
    NotRemoved(RuleId),
    /// Nothing has matched a rule for [`Rule::idle_after`]. Reported once, or again after it was matched.
    Idle(RuleId),
}

/// Why a card does not take a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// As much is enqueued as fits. Taken later, perhaps.
    #[error("the card's queue is full")]
    QueueFull,
    /// As many rules are installed as fit.
    #[error("the card's table is full")]
    TableFull,
    /// The card cannot do what the rule says, or not on this port.
    #[error("the card cannot do this")]
    Unsupported,
    /// A port of the rule is not open.
    #[error("the port of interface {0} is not open")]
    PortClosed(InterfaceIndex),
    /// The driver failed.
    #[error("the driver says error {0}")]
    Driver(i32),
}

/// As much is enqueued as fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the card's queue is full")]
pub struct QueueFull;
