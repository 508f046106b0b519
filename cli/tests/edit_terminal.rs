//! The shell of `rewire edit` on a terminal.

mod pseudo_terminal;

use pseudo_terminal::{Terminal, quietly, rewire};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    quietly(at, &["init"]);
    quietly(at, &["set", "vpcs", "blue", "description", "the inside"]);
    quietly(at, &["set", "vpcs", "green"]);
    quietly(at, &["commit", "-m", "two", "--no-wait"]);
    folder
}

#[test]
fn tab_completes_and_a_question_mark_explains() {
    let folder = folder();
    let mut terminal = Terminal::start(folder.path(), &["edit"]);
    terminal.wait(0, "[edit] ada > ");
    // The one way to go on.
    terminal.type_until("set v\t", "set vpcs ");
    // What is there, with what it is, and what else could be.
    let said = terminal.type_until("?", "<name>");
    assert!(said.contains("blue"), "{said}");
    assert!(said.contains("the inside"), "{said}");
    assert!(said.contains("green"), "{said}");
    // The line is still there.
    terminal.type_until("bl\t", "vpcs blue ");
    let said = terminal.type_until("?", "annotation");
    assert!(
        said.contains("Static routes by destination prefix"),
        "{said}"
    );
    // In a text, a question mark is one.
    terminal.answer("description \"why?\"\r", "the inside -> why?");
    terminal.wait(0, "[edit] ada* > ");
    // What is pasted is done line by line.
    let pasted = "\u{1b}[200~set vpcs one\nset vpcs two?\nset vpcs three\u{1b}[201~\r";
    let said = terminal.answer(pasted, "found \"two?\"");
    assert!(said.contains("+ vpcs.one"), "{said}");
    terminal.answer("delete vpcs one\r", "- vpcs.one");
    terminal.type_until("quit\r", "");
    let (code, _) = terminal.ends();
    assert_eq!(code, 0);
    // It was saved, and the history with it.
    let diff = rewire(folder.path()).arg("diff").output().unwrap();
    assert_eq!(
        String::from_utf8(diff.stdout).unwrap(),
        "~ vpcs.blue.description: the inside -> why?\n"
    );
    let history = std::fs::read_to_string(folder.path().join("state/rewire/edit-history")).unwrap();
    assert!(
        history.contains("set vpcs blue description \"why?\""),
        "{history}"
    );
}

#[test]
fn errors_and_control_keys_stay_in_the_shell() {
    let folder = folder();
    let mut terminal = Terminal::start(folder.path(), &["edit", "vpcs", "blue"]);
    terminal.wait(0, "[edit vpcs blue] ada > ");
    terminal.answer("set rutes 10.0.0.0/8\r", "did you mean \"routes\"?");
    terminal.answer("commit\r", "nothing to commit");
    // Ctrl-C drops the line.
    terminal.type_until("delete descr", "delete descr");
    terminal.answer("\u{3}", "[edit vpcs blue] ada > ");
    terminal.answer("up\r", "[edit] ada > ");
    terminal.answer("exit\r", "[edit vpcs blue] ada > ");
    // Ctrl-D on an empty line ends it.
    terminal.type_until("\u{4}", "");
    let (code, _) = terminal.ends();
    assert_eq!(code, 0);
    let diff = rewire(folder.path())
        .args(["candidates", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8(diff.stdout).unwrap();
    assert!(said.contains("\"candidates\": []"), "{said}");
}

#[test]
fn what_others_do_is_heard() {
    let folder = folder();
    let mut terminal = Terminal::start(folder.path(), &["edit", "--exclusive"]);
    terminal.wait(0, "[edit] ada > ");
    terminal.answer("set vpcs red\r", "+ vpcs.red");
    // Somebody else cannot commit, but can edit.
    let bob = ["--candidate", "bob"];
    quietly(
        folder.path(),
        &[&bob[..], &["set", "vpcs", "yellow"]].concat(),
    );
    let refused = rewire(folder.path())
        .args(bob)
        .args(["commit", "--no-wait"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    terminal.answer("unlock\r", "ada* > ");
    quietly(
        folder.path(),
        &["--candidate", "bob", "commit", "-m", "bob's", "--no-wait"],
    );
    let said = terminal.answer("\r", "update brings the candidate onto it");
    assert!(said.contains("revision 2 was committed"), "{said}");
    terminal.answer("update\r", "against revision 2, before 1");
    terminal.answer("commit --no-wait\r", "revision 3 committed");
    terminal.type_until("exit\r", "");
    assert_eq!(terminal.ends().0, 0);
}
