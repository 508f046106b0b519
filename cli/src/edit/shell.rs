//! The shell of `rewire edit`: a place in the candidate, and commands that are meant from there on.

mod completer;
mod keyboard;
mod keys;
mod line;
mod news;

use std::io::{BufRead, IsTerminal};
use std::sync::{Arc, Mutex};

use rewire_configdb::{Session, Store};
use rewire_schema::edit::words::{self, quote};
use rewire_schema::edit::{self, Node, Target};
use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::edit::Editing;
use crate::failure::{Code, Failure};
use completer::View;
use news::News;

/// A shell that edits one candidate.
pub(crate) struct Shell<'a> {
    context: &'a Context,
    author: String,
    store: Store,
    editing: Editing,
    /// The words of the place, and the places that were left for it.
    place: Vec<String>,
    places: Vec<Vec<String>>,
    news: News,
    /// What completion goes by.
    view: Arc<Mutex<View>>,
    /// Whether each edit is saved at once: somebody watches.
    is_watched: bool,
    exclusive: bool,
}

/// What happens after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Next,
    Leave,
}

impl<'a> Shell<'a> {
    /// A shell on the candidate of the context.
    pub(crate) fn open(
        context: &'a Context,
        author: String,
        exclusive: bool,
    ) -> Result<Self, Failure> {
        let mut store = context.open_to_write()?;
        if exclusive {
            let session = Session::current().map_err(|error| {
                let message = format!("cannot tell this session from others: {error}");
                Failure::new(Code::Failed, message)
            })?;
            store.lock(&author, session, "rewire edit --exclusive")?;
        }
        let editing = Editing::open(context, &store)?;
        let news = News::of(&store)?;
        let view = View::new(&context.store, &editing);
        Ok(Shell {
            context,
            author,
            store,
            editing,
            place: Vec::new(),
            places: Vec::new(),
            news,
            view: Arc::new(Mutex::new(view)),
            is_watched: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
            exclusive,
        })
    }

    /// Reads commands until there are no more, or one says so.
    pub(crate) fn run(mut self) -> Result<Answer, Failure> {
        let outcome = match self.is_watched {
            true => keyboard::run(&mut self),
            false => self.run_lines(),
        };
        let saved = self.save();
        if self.exclusive {
            self.store.unlock(false)?;
        }
        let lines = outcome?;
        saved?;
        let name = self.editing.name.clone();
        Ok(self
            .context
            .again()
            .done(String::new, || json!({ "candidate": name, "lines": lines })))
    }

    /// Reads commands from standard input; gives their number. The first that fails ends it.
    fn run_lines(&mut self) -> Result<usize, Failure> {
        let mut input = std::io::stdin().lock();
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let read = input.read_until(b'\n', &mut bytes).map_err(|error| {
                Failure::new(Code::Failed, format!("cannot read standard input: {error}"))
            })?;
            if read == 0 {
                return Ok(number - 1);
            }
            let Ok(text) = std::str::from_utf8(&bytes) else {
                let message = format!("standard input, line {number}: expected UTF-8 text");
                return Err(Failure::new(Code::BadDocument, message));
            };
            match self.line(number, text) {
                Ok(Then::Next) => {}
                Ok(Then::Leave) => return Ok(number),
                Err(failure) => {
                    let text = crate::terminal::clean(text.trim());
                    self.context.note(&format!(
                        "note: stopped at line {number}, the lines before are done: {text}"
                    ));
                    return Err(failure);
                }
            }
        }
        Ok(0)
    }

    /// Does one line, which is the `number`th.
    fn line(&mut self, number: usize, text: &str) -> Result<Then, Failure> {
        let place = match self.is_watched {
            true => "the command",
            false => "standard input",
        };
        let number = if self.is_watched { 1 } else { number };
        let words = match words::split(text) {
            Ok(words) => words,
            Err(open) => {
                return Err(edit::explain_open(place, number, text, &open).into());
            }
        };
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        self.command(&line::At { place, number }, &words)
    }

    /// Goes to a place below the one where the shell is.
    pub(crate) fn go<W: AsRef<str>>(&mut self, words: &[W]) -> Result<(), Failure> {
        let mut path = self.place.clone();
        path.extend(words.iter().map(|word| word.as_ref().to_owned()));
        let target = Target::resolve(&path)?;
        if let Node::Field(..) = target.node() {
            let message = format!(
                "{} is a field: it can be set, but nothing stands below it",
                target.path()
            );
            return Err(Failure::new(Code::WrongArguments, message));
        }
        if path.iter().any(|word| word.starts_with('+')) {
            let message =
                "a new entry of a list is made with set; then it can be gone to by its index";
            return Err(Failure::new(Code::WrongArguments, message));
        }
        let base = self.editing.base(&self.store)?;
        let there = edit::document_at(&base, &self.editing.edits, &target)?;
        drop(base);
        if there.is_none() && !target.words().is_empty() {
            self.context.note(&format!(
                "note: there is no {} yet: the first set makes it",
                target.path()
            ));
        }
        self.places
            .push(std::mem::replace(&mut self.place, target.words().to_vec()));
        Ok(())
    }

    /// Saves what is not saved. Where somebody else has changed the candidate meanwhile, theirs is taken.
    fn save(&mut self) -> Result<(), Failure> {
        let saved = self.editing.save(&mut self.store, &self.author);
        if saved.is_err() {
            self.reload()?;
        }
        saved
    }

    /// Takes the candidate as it is in the store.
    fn reload(&mut self) -> Result<(), Failure> {
        self.editing = Editing::open(self.context, &self.store)?;
        self.news = News::of(&self.store)?;
        Ok(())
    }

    /// `[edit vpcs blue] ada*`: where the shell is, whose candidate it is, and whether anything is edited.
    fn prompt(&self) -> String {
        let mut words = vec!["edit".to_owned()];
        words.extend(self.place.iter().map(|word| quote(word)));
        let star = if self.editing.edits.is_empty() {
            ""
        } else {
            "*"
        };
        format!("[{}] {}{star}", words.join(" "), self.editing.name)
    }
}
