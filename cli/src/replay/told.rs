//! A replay as it goes on, for people: a line for each revision in which something happened.

use rewire_replay::{Failure, Step, Watcher};

use crate::context::Context;
use crate::status_text::count;
use crate::terminal::clean;

/// Says each revision once it has had its packets, where there are several.
pub(crate) struct Teller<'a> {
    context: &'a Context,
    lines: bool,
}

impl Teller<'_> {
    /// For so many revisions: of one, the summary says everything.
    pub(crate) fn new(context: &Context, revisions: usize) -> Teller<'_> {
        Teller {
            context,
            lines: revisions > 1,
        }
    }
}

impl Watcher for Teller<'_> {
    fn seen(&mut self, step: &Step, failures: &[Failure]) {
        let is_quiet = step.operations <= 1 && step.packets_in + step.dropped == 0;
        if !self.lines || (is_quiet && failures.is_empty()) {
            return;
        }
        let mut text = format!("{}\n", line(step));
        for failure in failures {
            text.push_str(&format!("  {}\n", failed(failure)));
        }
        // A closed pipe shows when the summary is told.
        let _ = self.context.say(&text);
    }
}

fn line(step: &Step) -> String {
    let mut parts = vec![count(step.changes, "row")];
    if step.packets_in > 0 {
        parts.push(format!("{} in, {} out", step.packets_in, step.packets_out));
    }
    if step.dropped > 0 {
        parts.push(format!("{} dropped", step.dropped));
    }
    if step.connections_ended > 0 {
        parts.push(format!(
            "{} connections kept, {} ended",
            step.connections_kept, step.connections_ended
        ));
    }
    let seconds = step.time_ns as f64 / 1e9;
    let title = match step.message.lines().next() {
        None | Some("") => String::new(),
        Some(message) => format!(": {}", clean(message)),
    };
    format!(
        "{seconds:>10.3} s  revision {}{title} ({})",
        step.revision,
        parts.join(", ")
    )
}

/// A failure in one line.
pub(crate) fn failed(failure: &Failure) -> String {
    let Failure {
        check,
        revision,
        time_ns,
        packets,
        message,
        ..
    } = failure;
    let seconds = *time_ns as f64 / 1e9;
    format!(
        "{check} failed under revision {revision}, at {seconds:.6} s, with {packets} frames in: {message}"
    )
}
