//! What is checked of a revision and of a burst, and what is noted of it.

use std::sync::Arc;
use std::time::Duration;

use rewire_dataplane::Account;
use rewire_journal::Entry;
use rewire_schema::Changeset;

use super::Replay;
use crate::check::{Check, Failure};
use crate::inspect;
use crate::report::MOST_FAILURES;

/// A revision of a state of at most so many rows is compiled whole, too, each time, where nothing else is asked for.
const ROWS_FOR_EACH_WHOLE: u64 = 200;

impl Replay<'_> {
    /// Whether what costs as much as the whole state is to be checked now.
    fn is_whole_due(&mut self, is_last: bool) -> bool {
        let rows = self.state.rows().count() as u64;
        let every = self.options.whole_every;
        let every = every.unwrap_or(rows.div_ceil(ROWS_FOR_EACH_WHOLE)).max(1);
        self.since_whole += 1;
        let is_due = is_last || self.steps.len() == 1 || self.since_whole >= every;
        if is_due {
            self.since_whole = 0;
        }
        is_due
    }

    pub(super) fn check_revision(
        &mut self,
        change: Option<(&Entry, &Changeset)>,
        is_last: bool,
        live: Duration,
    ) {
        let is_whole = self.is_whole_due(is_last);
        let checks = &self.options.checks;
        let wants = |check: Check| checks.contains(&check);
        if wants(Check::State) {
            if let Some((entry, changeset)) = change {
                self.state_digest.apply(changeset);
                self.verdict(Check::State, inspect::state(self.state_digest, entry));
            }
            if is_whole {
                let recounted = inspect::recounted(&self.state, self.state_digest);
                self.verdict(Check::State, recounted);
            }
        }
        if is_whole {
            let digest = self.gateway.digest();
            if wants(Check::Tables) {
                let (state, revision) = (Arc::clone(&self.state), self.compiler.revision());
                let whole = inspect::tables((&self.gateway, digest), state, revision);
                self.verdict(Check::Tables, whole);
            }
            if let Some(step) = self.steps.last_mut() {
                step.tables_digest = digest.map(|digest| digest.to_string());
            }
        }
        if wants(Check::Intents) && !self.compiler.configuration().intent.is_empty() {
            self.verdict(Check::Intents, inspect::intents(&self.compiler));
        }
        if wants(Check::Probes)
            && let Some(probes) = self.options.probes
            && let configuration = self.compiler.configuration()
            && !configuration.probe.is_empty()
            && let Some(missed) = self.gateway.with_tables(|t| probes(configuration, t))
        {
            self.verdict(Check::Probes, inspect::probes(missed));
        }
        if wants(Check::Invariants) && is_whole {
            let found = self.tuples.check(&self.gateway);
            self.verdict(Check::Invariants, found);
        }
        self.check_connections();
        if wants(Check::Time)
            && let Some(budget) = self.options.revision_time
        {
            let found = inspect::time(live, budget, "until it was live");
            self.verdict(Check::Time, found);
        }
        if wants(Check::Memory) && is_whole {
            if let Some(budget) = self.options.tables_memory {
                self.verdict(Check::Memory, inspect::tables_memory(&self.gateway, budget));
            }
            if let Some(budget) = self.options.resident_memory {
                self.verdict(Check::Memory, inspect::resident_memory(budget));
            }
        }
    }

    /// Law 6, where routes were learned just now: what was decided before holds no longer. The last change before a revision is looked at;
    /// of the others, as many as there is time for.
    pub(super) fn check_learned(&mut self, is_last: bool) {
        let Some(continuity) = &self.continuity else {
            return;
        };
        let is_outdated = self.gateway.with_tables(|t| continuity.is_outdated(t));
        if is_outdated != Some(true) {
            return;
        }
        let so_far = self.delivered + self.heard as u64;
        let is_due = is_last || continuity.is_due(so_far);
        self.end_connections();
        if is_due && let Some(continuity) = &mut self.continuity {
            continuity.before(&mut self.gateway);
            continuity.pay(&self.gateway, so_far);
            self.check_connections();
        }
    }

    /// Law 6, as far as it is known when a change becomes live.
    fn check_connections(&mut self) {
        let Some(continuity) = &mut self.continuity else {
            return;
        };
        let gateway = &self.gateway;
        let found = gateway.with_tables(|tables| continuity.after(gateway, tables));
        if let Some(found) = found.flatten() {
            self.verdict(Check::Connections, found);
        }
    }

    /// Law 6, once a change has had its packets.
    pub(super) fn end_connections(&mut self) {
        if let Some(continuity) = &mut self.continuity
            && let Err((message, details)) = continuity.end(&mut self.gateway)
        {
            self.fail(Check::Connections, message, details);
        }
    }

    /// Counts a check as made, of the revision that is live.
    pub(super) fn made(&mut self, check: Check) {
        if let Some(made) = self.made.iter_mut().find(|made| made.check == check) {
            made.made += 1;
            if let Some(step) = self.steps.last_mut()
                && !step.checks.contains(&check)
            {
                step.checks.push(check);
            }
        }
    }

    /// Counts a check, and notes what it found.
    pub(super) fn verdict(&mut self, check: Check, found: Result<(), inspect::Found>) {
        self.made(check);
        if let Err((message, details)) = found {
            self.fail(check, message, details);
        }
    }

    pub(super) fn fail(&mut self, check: Check, message: String, details: Vec<String>) {
        let Some(made) = self.made.iter_mut().find(|made| made.check == check) else {
            return;
        };
        made.failed += 1;
        self.failed_after.get_or_insert(self.given);
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(Failure {
                check,
                revision: self.compiler.revision(),
                time_ns: self.gateway.now().0,
                packets: self.delivered,
                message,
                details,
            });
        }
    }
}

/// Whether the account comes out, and is that of the frames that went in and came out. A packet that turns round in the gateway
/// counts as consumed, and as received once more.
pub(super) fn is_accounted(account: Account, (delivered, sent): (u64, u64)) -> bool {
    let again = account.received.checked_sub(delivered);
    account.is_balanced()
        && account.transmitted == sent
        && again.is_some_and(|again| again <= account.consumed)
}

/// How the account does not come out.
pub(super) fn unbalanced(account: Account, (delivered, sent): (u64, u64)) -> inspect::Found {
    let Account {
        received,
        generated,
        transmitted,
        dropped,
        consumed,
        held,
    } = account;
    let equation = format!(
        "{received} received + {generated} generated, but {transmitted} transmitted + {dropped} dropped + {consumed} \
         consumed + {held} held"
    );
    let seen = format!("{delivered} frames were given to it, and {sent} came out");
    (
        "packets are not accounted for".to_owned(),
        vec![equation, seen],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_held_against_what_went_in_and_came_out() {
        let account = Account {
            received: 7,
            transmitted: 4,
            dropped: 1,
            consumed: 2,
            ..Account::default()
        };
        assert!(is_accounted(account, (7, 4)));
        assert!(is_accounted(account, (5, 4)), "two have turned round");
        assert!(!is_accounted(account, (4, 4)), "no more than were consumed");
        assert!(!is_accounted(account, (8, 4)), "one was not counted");
        assert!(!is_accounted(account, (7, 5)), "one left uncounted");
        let dropped = 2;
        assert!(!is_accounted(Account { dropped, ..account }, (7, 4)));
    }
}
