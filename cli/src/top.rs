//! `rewire top`: what the gateway does, in a terminal, again and again.
//!
//! One thread asks the gateway, so that keys are heard while it takes its time; this one draws what came last.

mod ask;
mod screen;
mod tables;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGTERM};

use crate::answer::Answer;
use crate::context::Context;
use crate::daemon::connections::Sort;
use crate::failure::{Code, Failure};
use ask::{Seen, Wish};

/// How long keys are waited for before what the gateway says is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What can be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    #[default]
    Overview,
    Interfaces,
    Drops,
    Connections,
    Talkers,
    Revisions,
}

impl View {
    const ALL: [View; 6] = [
        View::Overview,
        View::Interfaces,
        View::Drops,
        View::Connections,
        View::Talkers,
        View::Revisions,
    ];

    fn title(self) -> &'static str {
        match self {
            View::Overview => "Overview",
            View::Interfaces => "Interfaces",
            View::Drops => "Drops",
            View::Connections => "Connections",
            View::Talkers => "Talkers",
            View::Revisions => "Revisions",
        }
    }

    fn next(self, steps: usize) -> View {
        let position = View::ALL.iter().position(|view| *view == self).unwrap_or(0);
        View::ALL[(position + steps) % View::ALL.len()]
    }
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    view: View,
    /// Rows that have been scrolled past.
    scrolled: usize,
    sort: Sort,
    is_paused: bool,
    seen: Seen,
    colour: bool,
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Nothing,
    /// The gateway is asked for something else.
    Ask,
    End,
}

impl Shown {
    fn wish(&self) -> Wish {
        Wish {
            connections: match self.view {
                View::Connections => Some(false),
                View::Talkers => Some(true),
                _ => None,
            },
            sort: self.sort,
            is_paused: self.is_paused,
        }
    }

    fn look_at(&mut self, view: View) -> After {
        (self.view, self.scrolled) = (view, 0);
        After::Ask
    }

    fn key(&mut self, key: KeyEvent) -> After {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if is_control => After::End,
            KeyCode::Char('q') | KeyCode::Esc => After::End,
            KeyCode::Tab | KeyCode::Right => self.look_at(self.view.next(1)),
            KeyCode::BackTab | KeyCode::Left => self.look_at(self.view.next(View::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='6') => {
                let number = digit as usize - '1' as usize;
                self.look_at(View::ALL[number])
            }
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Bytes => Sort::Packets,
                    Sort::Packets => Sort::Age,
                    Sort::Age => Sort::Bytes,
                };
                After::Ask
            }
            KeyCode::Char('p') | KeyCode::Char(' ') => {
                self.is_paused = !self.is_paused;
                After::Ask
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::PageUp => self.scroll(-10),
            KeyCode::Home => self.scroll(isize::MIN),
            _ => After::Nothing,
        }
    }

    /// No further than to the last row.
    fn scroll(&mut self, rows: isize) -> After {
        let most = screen::rows(self).saturating_sub(1);
        self.scrolled = self.scrolled.saturating_add_signed(rows).min(most);
        After::Nothing
    }
}

/// Shows the gateway until a key or a signal ends it.
pub(crate) fn run(context: &Context, interval: Duration) -> Result<Answer, Failure> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !is_terminal || context.json {
        return Err(Failure::new(
            Code::WrongArguments,
            "rewire top takes a terminal, to show and to hear keys",
        )
        .help("`rewire watch` is for scripts, and `rewire status` shows one moment"));
    }
    let failed = |error: std::io::Error| {
        Failure::new(
            Code::Failed,
            format!("the terminal cannot be used: {error}"),
        )
    };
    // Where there is no gateway, that is said before the screen is taken.
    let asker = ask::Asker::new(context)?;
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ends)).map_err(failed)?;
    }
    let (wishes, wished) = mpsc::channel();
    let (says, seen) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || asker.run(interval, &wished, &says));
        let mut terminal = ratatui::try_init().map_err(failed)?;
        let _restored = Restored;
        let shown = Shown {
            colour: context.colour(),
            ..Shown::default()
        };
        // The other thread ends when the sender of wishes is gone.
        let outcome = follow(&mut terminal, shown, &ends, wishes, &seen);
        outcome.map_err(failed)
    })?;
    Ok(context.done(String::new, || json!({})))
}

/// Gives the terminal back as it was, however this ends. A panic gives it back before it says why: `try_init` sees to that.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // Where the terminal is gone, there is nothing to restore.
        let _ = ratatui::try_restore();
    }
}

fn follow(
    terminal: &mut ratatui::DefaultTerminal,
    mut shown: Shown,
    ends: &AtomicBool,
    wishes: Sender<Wish>,
    seen: &Receiver<Seen>,
) -> std::io::Result<()> {
    let mut is_new = true;
    loop {
        if is_new {
            terminal.draw(|frame| screen::draw(frame, &shown))?;
            is_new = false;
        }
        if event::poll(TICK)? {
            let after = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => shown.key(key),
                _ => After::Nothing,
            };
            match after {
                After::End => return Ok(()),
                After::Ask if wishes.send(shown.wish()).is_err() => return Ok(()),
                After::Ask | After::Nothing => is_new = true,
            }
        }
        while let Ok(now) = seen.try_recv() {
            shown.seen = now;
            is_new = true;
        }
        if ends.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(shown: &mut Shown, code: KeyCode) -> After {
        shown.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_change_the_view_and_end_it() {
        let mut shown = Shown::default();
        assert_eq!(press(&mut shown, KeyCode::Char('4')), After::Ask);
        assert_eq!(
            (shown.view, shown.wish().connections),
            (View::Connections, Some(false))
        );
        press(&mut shown, KeyCode::Tab);
        assert_eq!(
            (shown.view, shown.wish().connections),
            (View::Talkers, Some(true))
        );
        press(&mut shown, KeyCode::Tab);
        press(&mut shown, KeyCode::Tab);
        assert_eq!(
            (shown.view, shown.wish().connections),
            (View::Overview, None)
        );
        press(&mut shown, KeyCode::BackTab);
        assert_eq!(shown.view, View::Revisions);
        press(&mut shown, KeyCode::Char('s'));
        assert_eq!(shown.wish().sort, Sort::Packets);
        press(&mut shown, KeyCode::Char('p'));
        assert!(shown.wish().is_paused);
        assert_eq!(press(&mut shown, KeyCode::Char('x')), After::Nothing);
        assert_eq!(press(&mut shown, KeyCode::Char('q')), After::End);
        assert_eq!(
            shown.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
            After::End
        );
    }
}
