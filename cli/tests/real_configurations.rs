//! The published configurations that `examples/real/` translates: each is committed and compiles, and comes out again as
//! it went in. What this dataplane cannot do yet is deactivated there; its annotation is what a commit says that tries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rewire_compiler::Compiler;
use rewire_schema::{Configuration, Row, RowKey, meaning, source, state, to_document};

mod session;
use session::Session;

const NOT_YET: &str = "not in this dataplane yet";

/// The documents, by the name of their folder and their own.
fn documents() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/real");
    let mut found = Vec::new();
    for source in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(source.unwrap().path()).unwrap() {
            found.push(file.unwrap().path());
        }
    }
    found.sort();
    assert!(found.len() >= 37, "found {found:?}");
    found
}

fn read(file: &Path) -> Configuration {
    let bytes = std::fs::read(file).unwrap();
    match source::read(&file.display().to_string(), &bytes) {
        Ok(source) => source.configuration,
        Err(errors) => panic!("{}", errors.render(false)),
    }
}

/// Something that is deactivated: an object, or a field of one.
struct Deactivated {
    row: Row,
    field: Option<String>,
}

impl Deactivated {
    /// What is noted there.
    fn annotation(&self) -> Option<String> {
        let marks = self.row.marks();
        let note = match &self.field {
            Some(field) => marks
                .fields()
                .get(field)
                .and_then(|mark| mark.annotation.as_ref()),
            None => marks.annotation(),
        };
        note.map(ToString::to_string)
    }

    fn place(&self) -> String {
        let path = self.row.path();
        self.field
            .as_ref()
            .map_or(path.to_string(), |field| path.join(field).to_string())
    }
}

/// Everything that is deactivated.
fn deactivated(configuration: &Configuration) -> Vec<Deactivated> {
    let mut found = Vec::new();
    for row in configuration.rows() {
        let fields = row.marks().fields().deactivated();
        let fields = fields.map(|field| Some(field.to_owned()));
        let object = row.marks().deactivated().then_some(None);
        found.extend(object.into_iter().chain(fields).map(|field| Deactivated {
            row: row.clone(),
            field,
        }));
    }
    found
}

fn activate(configuration: &mut Configuration, what: &Deactivated) {
    let mut row = configuration
        .find(&what.row.row_key())
        .expect("it is there");
    let marks = match &what.field {
        Some(field) => {
            let mut fields = row.marks().fields().clone();
            fields.remove(field);
            row.marks().with_fields(fields)
        }
        None => row.marks().with_deactivated(false),
    };
    *row.marks_mut() = marks;
    configuration.insert(row);
}

/// Activates what the effective objects name, until they find all of it.
fn activate_what_is_named(configuration: &mut Configuration) {
    loop {
        let effective = configuration.effective().into_owned();
        let mut missing: BTreeSet<RowKey> = BTreeSet::new();
        for row in effective.rows() {
            row.each_reference(&mut |_, key| {
                if !effective.contains(&key) {
                    missing.extend(state::ancestors(&key));
                    missing.insert(key);
                }
            });
        }
        if missing.is_empty() {
            return;
        }
        for key in missing {
            let row = configuration.find(&key).expect("the document is whole");
            activate(configuration, &Deactivated { row, field: None });
        }
    }
}

/// What a commit would say against the configuration.
fn refusals(configuration: &Configuration) -> Vec<String> {
    let problems = meaning::check(configuration);
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match Compiler::compile(configuration.clone(), 0) {
        Ok(_) => texts,
        Err(errors) => texts
            .into_iter()
            .chain(errors.iter().map(ToString::to_string))
            .collect(),
    }
}

/// What the store of a session runs, as it is shown.
fn running(session: &Session) -> Configuration {
    let shown = session.command(&["show"]).output().unwrap().stdout;
    source::read("shown", &shown).unwrap().configuration
}

/// Tries to commit the configuration with all that is deactivated in it, if anything is.
fn refuses_what_is_activated(session: &mut Session, mut configuration: Configuration) {
    let all = deactivated(&configuration);
    if all.is_empty() {
        return;
    }
    for one in &all {
        activate(&mut configuration, one);
    }
    let document = source::to_yaml(&to_document(&configuration)).unwrap();
    session.write("activated.yaml", &document);
    let arguments = [
        "commit",
        "--load",
        "activated.yaml",
        "-m",
        "all of it",
        "--no-wait",
    ];
    let code = session.rewire(&arguments);
    assert_ne!(code, 0, "{}", session.transcript());
    assert!(
        session.transcript().contains(NOT_YET),
        "{}",
        session.transcript()
    );
}

#[test]
fn each_is_committed_and_comes_out_again_and_what_it_deactivates_is_refused() {
    for file in documents() {
        let name = file.display().to_string();
        let configuration = read(&file);
        assert_eq!(refusals(&configuration), [""; 0], "{name}");

        let mut session = Session::new();
        session.write("document.yaml", &std::fs::read_to_string(&file).unwrap());
        session.quietly(&["init"]);
        session.quietly(&["check", "document.yaml"]);
        session.quietly(&[
            "commit",
            "--load",
            "document.yaml",
            "-m",
            "as published",
            "--no-wait",
        ]);

        assert_eq!(running(&session), configuration, "{name}");

        refuses_what_is_activated(&mut session, configuration.clone());
        assert_eq!(running(&session), configuration, "{name} after a refusal");

        let commands = session.command(&["show", "--format", "set"]).output();
        let commands = String::from_utf8(commands.unwrap().stdout).unwrap();
        let mut other = Session::new();
        other.quietly(&["init"]);
        other.write("commands", &commands);
        other.quietly(&["load", "set", "commands"]);
        other.quietly(&["commit", "-m", "by commands", "--no-wait"]);
        assert_eq!(running(&other), configuration, "{name} by commands");
    }
}

#[test]
fn what_is_deactivated_is_refused_by_name_when_it_is_activated() {
    let mut tried = 0;
    for file in documents() {
        let configuration = read(&file);
        for one in deactivated(&configuration) {
            let place = format!("{}: {}", file.display(), one.place());
            let annotation = one.annotation();
            let annotation = annotation.unwrap_or_else(|| panic!("{place} says no reason"));
            let mut activated = configuration.clone();
            activate(&mut activated, &one);
            activate_what_is_named(&mut activated);
            let refusals = refusals(&activated);
            let says = |text: &str| refusals.iter().any(|refusal| refusal.ends_with(text));
            assert!(says(&annotation), "{place}: {refusals:?}");
            assert!(
                refusals.iter().all(|refusal| refusal.ends_with(NOT_YET)),
                "{place}: {refusals:?}"
            );
            tried += 1;
        }
    }
    assert!(tried >= 30, "{tried} objects are deactivated");
}
