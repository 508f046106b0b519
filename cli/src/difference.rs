//! A changeset as people read it: object by object, in the order of a document.

use std::fmt::Write;

use rewire_schema::{Change, Changeset, Path, Row, Value};

use crate::terminal::{clean, paint};

/// One line for each object that is new or gone, the fields under those that are new; one line for each changed field.
pub(crate) fn render(changeset: &Changeset, colour: bool) -> String {
    let mut changes: Vec<(Path, &Change)> = changeset.iter().map(|c| (c.row().path(), c)).collect();
    changes.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
    let mut out = String::new();
    for (path, change) in changes {
        match change {
            Change::Insert(row) => {
                line(&mut out, '+', &path.to_string(), colour);
                for (field, value) in row.fields() {
                    if value != Value::Null {
                        line(
                            &mut out,
                            '+',
                            &format!("  {field}: {}", clean(&value.to_string())),
                            colour,
                        );
                    }
                }
            }
            Change::Delete(_) => line(&mut out, '-', &path.to_string(), colour),
            Change::Update { before, after } => {
                for (field, old, new) in changed_fields(before, after) {
                    let text = format!("{}: {} -> {}", path.join(field), clean(&old), clean(&new));
                    line(&mut out, '~', &text, colour);
                }
            }
        }
    }
    out
}

/// The order of a document's sections.
fn rank(path: &Path) -> usize {
    const SECTIONS: [&str; 3] = ["vpcs", "interfaces", "nat"];
    let first = path.steps().first();
    let position = first.and_then(|step| SECTIONS.iter().position(|s| s == step));
    position.unwrap_or(SECTIONS.len())
}

fn changed_fields(before: &Row, after: &Row) -> Vec<(&'static str, String, String)> {
    let pairs = before.fields().into_iter().zip(after.fields());
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((field, old), (_, new))| (field, old.to_string(), new.to_string()))
        .collect()
}

fn line(out: &mut String, sign: char, text: &str, colour: bool) {
    let code = match sign {
        '+' => "32",
        '-' => "31",
        _ => "33",
    };
    // Writing into a string does not fail.
    let _ = writeln!(out, "{}", paint(&format!("{sign} {text}"), code, colour));
}

#[cfg(test)]
mod tests {
    use rewire_schema::{Configuration, source};

    use super::*;

    fn configuration(text: &str) -> Configuration {
        source::read_shape("test", text.as_bytes())
            .unwrap()
            .configuration
    }

    #[test]
    fn new_gone_and_changed_objects_have_lines_of_their_own() {
        let before = configuration("{vpcs: {blue: {description: old}, red: {}}}");
        let after = configuration(
            "{vpcs: {blue: {routes: {10.0.0.0/8: {type: blackhole}}}, green: {description: x}}}",
        );
        let changeset = Changeset::between(&before, &after);
        assert_eq!(
            render(&changeset, false),
            "~ vpcs.blue.description: old -> none\n\
             + vpcs.blue.routes.10.0.0.0/8\n\
             +   type: blackhole\n\
             + vpcs.green\n\
             +   description: x\n\
             - vpcs.red\n"
        );
        assert!(render(&changeset, true).starts_with("\u{1b}[33m~ vpcs.blue"));
        assert_eq!(render(&Changeset::default(), true), "");
    }
}
