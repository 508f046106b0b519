//! Showing that work goes on: a bar on standard error, for people at a terminal, once it takes longer than a moment.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes no longer than this is not shown.
const MOMENT: Duration = Duration::from_millis(500);

/// Work that goes on until this is dropped.
pub(crate) struct Waiting {
    bar: ProgressBar,
    /// Ends the thread that shows the bar when its time has come. None where nobody looks.
    end: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Waiting {
    /// Begins work. `wanted` is whether anybody is to be shown it.
    pub(crate) fn start(wanted: bool) -> Waiting {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let wanted = wanted && std::io::stderr().is_terminal();
        let end = wanted.then(|| {
            let (sender, ended) = mpsc::channel();
            let bar = bar.clone();
            let thread = thread::spawn(move || {
                if ended.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.enable_steady_tick(Duration::from_millis(100));
                }
            });
            (sender, thread)
        });
        Waiting { bar, end }
    }

    /// Turns to the next step, and says what it is.
    pub(crate) fn step(&self, what: &str) {
        self.style("{spinner} {msg} {elapsed}");
        self.bar.unset_length();
        self.bar.set_message(what.to_owned());
    }

    /// How far the step has come, of how far it has to go.
    pub(crate) fn part(&self, done: usize, all: usize) {
        if self.bar.length().is_none() {
            self.style("{msg} [{bar:30}] {percent}% {elapsed}");
            self.bar.set_length(all as u64);
        }
        self.bar.set_position(done as u64);
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.end.take() {
            // The thread may have ended already.
            let _ = sender.send(());
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
