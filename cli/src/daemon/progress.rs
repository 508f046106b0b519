//! How far the gateway has followed its store, and who waits for it to come further.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::trace_id::TraceId;

/// Revisions whose times are remembered.
const REMEMBERED: usize = 1024;

/// How often a waiting connection looks whether its peer is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where the time of a revision went, in nanoseconds; none where a step has not ended, or was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Steps {
    /// From the commit's own time until the gateway turned to it. By the wall clock: 0 where that went back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) noticed_ns: Option<u64>,
    /// From its changeset to table operations.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) compile_ns: Option<u64>,
    /// From the operations to the swap of the tables.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) publish_ns: Option<u64>,
    /// From the swap until every worker had left the old tables and every new port was open or had failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) live_ns: Option<u64>,
}

impl Steps {
    /// The steps with their names, in order.
    pub(crate) fn named(&self) -> [(&'static str, Option<u64>); 4] {
        [
            ("noticed", self.noticed_ns),
            ("compile", self.compile_ns),
            ("publish", self.publish_ns),
            ("live", self.live_ns),
        ]
    }

    /// The first step that has not ended.
    fn late(&self) -> &'static str {
        let open = self.named().into_iter().find(|(_, time)| time.is_none());
        open.map_or("live", |(name, _)| name)
    }
}

/// A revision that every worker uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) revision: u64,
    /// The generation of the tables that it became.
    pub(crate) generation: u64,
    /// Whether it changed the policy that connections are held against.
    #[serde(skip)]
    pub(crate) policy: bool,
    /// The trace of its commit; none at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) steps: Steps,
}

/// What came of waiting for a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every worker uses it, or a later one.
    Live(Live),
    /// It is not, for this reason.
    Late {
        steps: Steps,
        late: &'static str,
        why: String,
    },
    /// Who waited has gone away.
    Gone,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    recent: VecDeque<Live>,
    head: u64,
    floor: u64,
    under_way: Option<(u64, Steps)>,
    alarm: Option<String>,
    alarms: u64,
    damage: Option<String>,
    stopping: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a few assignments: whoever panicked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// The store's last revision is this.
    pub(crate) fn saw_head(&self, head: u64) {
        self.change(|state| state.head = head);
    }

    /// The oldest revision whose state the store can tell is this.
    pub(crate) fn saw_floor(&self, floor: u64) {
        self.state().floor = floor;
    }

    /// The oldest revision whose state the store can tell, as far as it was noticed: 0 where nothing was pruned.
    pub(crate) fn floor(&self) -> u64 {
        self.state().floor
    }

    /// A revision has come so far.
    pub(crate) fn at(&self, revision: u64, steps: Steps) {
        self.change(|state| state.under_way = Some((revision, steps)));
    }

    /// A revision is live.
    pub(crate) fn live(&self, live: Live) {
        self.change(|state| {
            state.live = Some(live);
            state.under_way = None;
            state.alarm = None;
            state.recent.truncate(REMEMBERED - 1);
            state.recent.push_front(live);
        });
    }

    /// Something is wrong that a person should know of. True where it is news.
    pub(crate) fn raise(&self, alarm: String) -> bool {
        let mut news = false;
        self.change(|state| {
            news = state.alarm.as_ref() != Some(&alarm);
            state.alarms += u64::from(news);
            state.alarm = Some(alarm);
        });
        news
    }

    /// Something was wrong, and is dealt with.
    pub(crate) fn count_alarm(&self) {
        self.change(|state| state.alarms += 1);
    }

    /// What was wrong is over.
    pub(crate) fn clear_alarm(&self) {
        if self.alarm().is_some() {
            self.change(|state| state.alarm = None);
        }
    }

    /// What is stored is damaged, in these words: until that is over, no revision is taken over.
    pub(crate) fn damaged(&self, how: String) {
        self.change(|state| state.damage = Some(how));
    }

    /// What is stored is in order. True where it was damaged.
    pub(crate) fn repaired(&self) -> bool {
        let mut state = self.state();
        state.damage.take().is_some()
    }

    /// How what is stored is damaged, if it is.
    pub(crate) fn damage(&self) -> Option<String> {
        self.state().damage.clone()
    }

    /// Waits for so long. False where the gateway stops before that.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), time, |state| !state.stopping);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.stopping
    }

    /// The gateway stops: nobody needs to wait any longer.
    pub(crate) fn stop(&self) {
        self.change(|state| state.stopping = true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// The revision that is live.
    pub(crate) fn last_live(&self) -> Option<Live> {
        self.state().live
    }

    /// The store's last revision, as far as it was noticed.
    pub(crate) fn head(&self) -> u64 {
        self.state().head
    }

    pub(crate) fn alarm(&self) -> Option<String> {
        self.state().alarm.clone()
    }

    /// How many different alarms were raised one after the other.
    pub(crate) fn alarms(&self) -> u64 {
        self.state().alarms
    }

    /// Waits until a revision is live: until `deadline`, or until `is_gone` says that nobody wants to know any more. An
    /// alarm about this revision ends the wait at once.
    pub(crate) fn wait_for(
        &self,
        revision: u64,
        deadline: Option<Instant>,
        mut is_gone: impl FnMut() -> bool,
    ) -> Outcome {
        let mut state = self.state();
        loop {
            if let Some(live) = state.live.filter(|live| live.revision >= revision) {
                let own = state
                    .recent
                    .iter()
                    .find(|recent| recent.revision == revision);
                // Where its own times are not known, it is live all the same.
                return Outcome::Live(own.copied().unwrap_or(Live {
                    revision,
                    policy: false,
                    trace_id: None,
                    steps: Steps::default(),
                    ..live
                }));
            }
            let steps = match state.under_way {
                Some((under_way, steps)) if under_way == revision => steps,
                _ => Steps::default(),
            };
            let late = |why: String| Outcome::Late {
                steps,
                late: steps.late(),
                why,
            };
            if state.stopping {
                return late("the gateway is stopping".to_owned());
            }
            if let Some(alarm) = state.alarm.as_ref().filter(|_| state.head >= revision) {
                return late(alarm.clone());
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return late(if state.head < revision {
                    format!(
                        "the store has no revision {revision}: its last one is {}",
                        state.head
                    )
                } else {
                    format!("the step \"{}\" has not ended", steps.late())
                });
            }
            let left = deadline.map_or(LOOK_EVERY, |deadline| LOOK_EVERY.min(deadline - now));
            let waited = self.changed.wait_timeout(state, left);
            let (guard, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if result.timed_out() {
                drop(state);
                if is_gone() {
                    return Outcome::Gone;
                }
                state = self.state();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(revision: u64) -> Live {
        let steps = Steps {
            compile_ns: Some(revision),
            ..Steps::default()
        };
        Live {
            revision,
            generation: revision + 10,
            policy: true,
            trace_id: None,
            steps,
        }
    }

    fn now(progress: &Progress, revision: u64) -> Outcome {
        progress.wait_for(revision, Some(Instant::now()), || false)
    }

    #[test]
    fn each_revision_is_answered_with_its_own_times() {
        let progress = Progress::default();
        (1..=3).for_each(|revision| progress.live(live(revision)));
        assert_eq!(now(&progress, 2), Outcome::Live(live(2)));
        assert_eq!(now(&progress, 3), Outcome::Live(live(3)));
        // Before the gateway started, and live since.
        let unknown = Live {
            revision: 0,
            generation: 13,
            policy: false,
            trace_id: None,
            steps: Steps::default(),
        };
        assert_eq!(now(&progress, 0), Outcome::Live(unknown));
    }

    #[test]
    fn what_is_late_is_named() {
        let progress = Progress::default();
        let why = |outcome| match outcome {
            Outcome::Late { late, why, .. } => format!("{late}: {why}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            why(now(&progress, 1)),
            "noticed: the store has no revision 1: its last one is 0"
        );
        progress.saw_head(1);
        progress.at(
            1,
            Steps {
                noticed_ns: Some(1),
                compile_ns: Some(1),
                ..Steps::default()
            },
        );
        assert_eq!(
            why(now(&progress, 1)),
            "publish: the step \"publish\" has not ended"
        );
        assert!(progress.raise("a worker is stuck".to_owned()));
        assert!(
            !progress.raise("a worker is stuck".to_owned()),
            "known already"
        );
        assert_eq!(
            why(progress.wait_for(1, None, || false)),
            "publish: a worker is stuck"
        );
        progress.live(live(1));
        assert_eq!((progress.alarm(), progress.alarms()), (None, 1));
        progress.stop();
        assert_eq!(
            why(progress.wait_for(2, None, || false)),
            "noticed: the gateway is stopping"
        );
    }

    #[test]
    fn damage_stays_until_it_is_repaired() {
        let progress = Progress::default();
        assert!(progress.pause(Duration::ZERO));
        assert!(!progress.repaired());
        progress.damaged("a row is gone".to_owned());
        progress.live(live(1));
        assert_eq!(progress.damage().as_deref(), Some("a row is gone"));
        assert!(progress.repaired());
        assert_eq!(progress.damage(), None);
        progress.stop();
        assert!(!progress.pause(Duration::MAX));
    }

    #[test]
    fn who_waits_is_woken_and_who_has_gone_is_not_waited_for() {
        let progress = Progress::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.wait_for(1, None, || false));
            progress.live(live(1));
            assert_eq!(waiting.join().unwrap(), Outcome::Live(live(1)));
        });
        assert_eq!(progress.wait_for(2, None, || true), Outcome::Gone);
    }
}
