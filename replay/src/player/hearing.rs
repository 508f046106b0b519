//! Learned routes: what a recorded gateway heard, the gateway here hears at the same place among frames and revisions.

use rewire_dataplane::clock::Instant;
use rewire_dataplane::{Change, Told, route_sources};

use super::Replay;
use crate::error::ReplayError;
use crate::heard::HeardRoute;
use crate::traffic::Traffic;

impl Replay<'_> {
    /// Tells of the sources that the configuration names now, where any routes are heard and they are others than before.
    pub(super) fn with_sources(&mut self, mut change: Change) -> Change {
        if !self.options.heard.is_empty() {
            let sources = route_sources(self.compiler.configuration());
            if sources != self.sources {
                self.sources.clone_from(&sources);
                change.sources = Some(sources);
            }
        }
        change
    }

    /// Takes over what was heard before the first frame, under the first revision.
    pub(super) fn begin_hearing(&mut self, traffic: &mut dyn Traffic) -> Result<(), ReplayError> {
        let heard = self.options.heard.iter();
        let known = heard.take_while(|heard| heard.at_ns <= self.beginning);
        let known: Vec<Told> = known.map(HeardRoute::told).collect();
        if !known.is_empty() {
            self.heard = known.len();
            self.gateway.take_over_routes(known);
        }
        self.hear_before(self.compiler.revision(), traffic)
    }

    /// When something is heard next under the revision that is live.
    pub(super) fn next_heard(&self) -> Option<u64> {
        let next = self.options.heard.get(self.heard)?;
        (next.revision <= self.compiler.revision()).then_some(next.at_ns)
    }

    /// Hears what is due by then under the revision that is live, each at its time.
    pub(super) fn hear_until(
        &mut self,
        time: u64,
        traffic: &mut dyn Traffic,
    ) -> Result<(), ReplayError> {
        while let Some(at) = self.next_heard().filter(|at| *at <= time) {
            let revision = self.compiler.revision();
            self.hear(at, |heard| heard.revision <= revision, traffic)?;
        }
        Ok(())
    }

    /// Hears what was heard before a revision, however late that was seen: it goes live with the next burst.
    pub(super) fn hear_before(
        &mut self,
        revision: u64,
        traffic: &mut dyn Traffic,
    ) -> Result<(), ReplayError> {
        let is_before = |heard: &HeardRoute| heard.revision < revision;
        while let Some(next) = self
            .options
            .heard
            .get(self.heard)
            .filter(|next| is_before(next))
        {
            self.hear(next.at_ns, is_before, traffic)?;
        }
        Ok(())
    }

    /// Hears what has one time.
    fn hear(
        &mut self,
        at: u64,
        is_wanted: impl Fn(&HeardRoute) -> bool,
        traffic: &mut dyn Traffic,
    ) -> Result<(), ReplayError> {
        let options = self.options;
        let rest = options.heard.get(self.heard..).unwrap_or_default();
        let together = rest
            .iter()
            .take_while(|heard| heard.at_ns == at && is_wanted(heard));
        let told: Vec<Told> = together.map(HeardRoute::told).collect();
        let time = Instant(at.saturating_sub(self.beginning));
        if time > self.gateway.now() {
            self.pause_until(time, traffic)?;
        }
        self.heard += told.len();
        self.gateway.hear_routes(&told);
        let revision = self.compiler.revision();
        let next = options.heard.get(self.heard);
        self.check_learned(next.is_none_or(|next| next.revision > revision));
        Ok(())
    }
}
