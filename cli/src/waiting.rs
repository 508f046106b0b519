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
    /// Begins work of so many steps; 0 where they cannot be known.
    pub(crate) fn start(steps: u64, wanted: bool) -> Waiting {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
        let style = match steps {
            0 => "{spinner} {msg} {elapsed}",
            _ => "{msg} [{bar:30}] {pos}/{len} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
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
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
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
