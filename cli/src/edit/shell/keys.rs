//! What keys do: those of Emacs, and `?`, which asks what can stand next, but in a quoted text is a question mark.

use std::sync::{Arc, Mutex};

use reedline::{
    EditCommand, EditMode, Emacs, Highlighter, KeyCode, KeyModifiers, PromptEditMode,
    ReedlineEvent, ReedlineRawEvent, StyledText, default_emacs_keybindings,
};
use rewire_schema::edit::words;

/// The name of the menu that Tab opens.
pub(super) const MENU: &str = "completion";
/// What the editor gives back when somebody asks what can stand next.
pub(super) const QUESTION: &str = "?";

/// The line up to the cursor, as far as it is known where keys are read: the editor tells it when it draws, and keys that
/// were typed since are added.
#[derive(Clone, Default)]
pub(super) struct Typed(Arc<Mutex<String>>);

impl Typed {
    fn set(&self, line: &str) {
        if let Ok(mut typed) = self.0.lock() {
            line.clone_into(&mut typed);
        }
    }

    fn push(&self, character: char) {
        if let Ok(mut typed) = self.0.lock() {
            typed.push(character);
        }
    }

    /// Whether the cursor is in a quoted text.
    fn is_open(&self) -> bool {
        let typed = self.0.lock();
        typed.is_ok_and(|typed| words::split(&typed).is_err())
    }
}

/// The keys of the shell.
pub(super) struct Keys {
    emacs: Emacs,
    typed: Typed,
}

impl Keys {
    pub(super) fn new(typed: Typed) -> Self {
        let mut keys = default_emacs_keybindings();
        let complete = vec![
            ReedlineEvent::Menu(MENU.to_owned()),
            ReedlineEvent::MenuNext,
        ];
        keys.add_binding(
            KeyModifiers::NONE,
            KeyCode::Tab,
            ReedlineEvent::UntilFound(complete),
        );
        keys.add_binding(
            KeyModifiers::SHIFT,
            KeyCode::BackTab,
            ReedlineEvent::MenuPrevious,
        );
        Keys {
            emacs: Emacs::new(keys),
            typed,
        }
    }
}

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let event = self.emacs.parse_event(event);
        let ReedlineEvent::Edit(commands) = &event else {
            return event;
        };
        match commands.as_slice() {
            [EditCommand::InsertChar('?')] if !self.typed.is_open() => {
                ReedlineEvent::ExecuteHostCommand(QUESTION.to_owned())
            }
            commands => {
                for command in commands {
                    if let EditCommand::InsertChar(character) = command {
                        self.typed.push(*character);
                    }
                }
                event
            }
        }
    }

    fn edit_mode(&self) -> PromptEditMode {
        self.emacs.edit_mode()
    }
}

/// Colours nothing: it learns what the line is.
pub(super) struct Listener(pub(super) Typed);

impl Highlighter for Listener {
    fn highlight(&self, line: &str, cursor: usize) -> StyledText {
        self.0.set(line.get(..cursor).unwrap_or(line));
        let mut text = StyledText::new();
        text.push((Default::default(), line.to_owned()));
        text
    }
}
