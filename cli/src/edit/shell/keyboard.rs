//! The shell on a terminal: prompt, keys, completion and history.

use std::borrow::Cow;
use std::path::PathBuf;

use super::completer::{Completer, cut};
use super::keys::{Keys, Listener, MENU, Typed};
use super::line::table;
use super::{Shell, Then};
use crate::failure::{Code, Failure};
use crate::terminal;
use reedline::{
    ColumnarMenu, FileBackedHistory, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch,
    PromptHistorySearchStatus, Reedline, ReedlineMenu, Signal,
};

const LONGEST_HISTORY: usize = 10_000;

/// Reads commands from the keyboard; gives their number.
pub(super) fn run(shell: &mut Shell<'_>) -> Result<usize, Failure> {
    let mut editor = editor(shell);
    let mut number = 0;
    if let Some(lock) = shell.news.lock() {
        shell.context.note(&lock);
    }
    loop {
        for news in shell.hear()? {
            shell.context.note(&news);
        }
        if let Ok(mut view) = shell.view.lock() {
            view.place.clone_from(&shell.place);
            view.base = shell.editing.base;
            view.edits.clone_from(&shell.editing.edits);
        }
        let prompt = Where(shell.prompt());
        let signal = editor.read_line(&prompt).map_err(|error| {
            Failure::new(
                Code::Failed,
                format!("cannot read from the terminal: {error}"),
            )
        })?;
        match signal {
            Signal::Success(text) => {
                // What is pasted may be several lines.
                for line in text.lines() {
                    number += 1;
                    match shell.line(number, line) {
                        Ok(Then::Next) => {}
                        Ok(Then::Leave) => return Ok(number),
                        // Errors never leave the shell.
                        Err(failure) => {
                            shell.context.fail("edit", &failure);
                            break;
                        }
                    }
                }
            }
            Signal::HostCommand(_) => question(shell, &editor)?,
            Signal::CtrlD => return Ok(number),
            // Ctrl-C drops what was typed, and the shell goes on.
            _ => {}
        }
    }
}

/// Says what can stand at the cursor.
fn question(shell: &Shell<'_>, editor: &Reedline) -> Result<(), Failure> {
    let line = editor.current_buffer_contents();
    let before = line
        .get(..editor.current_insertion_point())
        .unwrap_or(line)
        .to_owned();
    let (words, partial) = cut(&before);
    let Ok(mut view) = shell.view.lock() else {
        return Ok(());
    };
    let completion = view.complete(&words, &partial.text);
    let all = completion.candidates.into_iter().chain(completion.hints);
    let mut lines: Vec<(String, String)> = all.map(|one| (one.text, one.help)).collect();
    if completion.complete && partial.text.is_empty() {
        lines.push(("<Enter>".to_owned(), "The command is whole.".to_owned()));
    }
    if lines.is_empty() {
        lines.push((String::new(), "nothing can stand here".to_owned()));
    }
    terminal::print(&format!("\n{}", table(&lines)))
}

fn editor(shell: &Shell<'_>) -> Reedline {
    let typed = Typed::default();
    let menu = ColumnarMenu::default().with_name(MENU).with_columns(1);
    let editor = Reedline::create()
        .with_completer(Box::new(Completer(shell.view.clone())))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_ansi_colors(shell.context.colour())
        .use_bracketed_paste(true)
        .with_highlighter(Box::new(Listener(typed.clone())))
        .with_edit_mode(Box::new(Keys::new(typed)));
    // A shell without a history is better than none.
    let history =
        history_file().and_then(|file| FileBackedHistory::with_file(LONGEST_HISTORY, file).ok());
    match history {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// Where programs keep such things (XDG Base Directory Specification): `$XDG_STATE_HOME`, or `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.filter(|path| path.is_absolute()).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        home.is_absolute().then(|| home.join(".local/state"))
    })?;
    Some(state.join("rewire").join("edit-history"))
}

/// The prompt: where the shell is.
struct Where(String);

impl Prompt for Where {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed(" > ")
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing like ",
        };
        Cow::Owned(format!(" ({failing}\"{}\" in the history) ", search.term))
    }
}
