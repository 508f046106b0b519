//! Completion in a real shell: the script that `rewire completions` prints, asked as the shell asks it.

mod session;

use std::process::Command;

use session::Session;

/// What bash offers for a command line that ends in the word that is being typed.
fn bash(session: &Session, words: &[&str]) -> Vec<String> {
    let script = session
        .command(&["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    std::fs::write(session.path("completions.bash"), script).unwrap();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    // Without readline there is no `compopt`.
    let ask = format!(
        "compopt() {{ :; }}; source completions.bash; COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
         _clap_complete_rewire rewire '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
        words.last().unwrap()
    );
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_rewire"))
        .parent()
        .unwrap();
    let output = Command::new("bash")
        .args(["--norc", "-c", &ask])
        .current_dir(session.path(""))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env_remove("REWIRE_STORE")
        .output()
        .expect("bash is there");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines()
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn bash_completes_verbs_options_and_what_is_in_the_store() {
    let s = Session::with_one_revision();
    let mut commit = s.command(&["load", "net.yaml", "--candidate", "before-the-fair"]);
    assert!(commit.output().unwrap().status.success());
    assert_eq!(bash(&s, &["rewire", "com"]), ["commit", "completions"]);
    assert_eq!(bash(&s, &["rewire", "commit", "--no-w"]), ["--no-wait"]);
    assert_eq!(bash(&s, &["rewire", "show", "--format", "j"]), ["json"]);
    assert_eq!(bash(&s, &["rewire", "show", "ru"]), ["running"]);
    assert_eq!(bash(&s, &["rewire", "show", "1"]), ["1"]);
    assert_eq!(bash(&s, &["rewire", "rewind", ""])[0], "1");
    assert_eq!(
        bash(&s, &["rewire", "diff", "--candidate", "be"]),
        ["before-the-fair"]
    );
    assert_eq!(bash(&s, &["rewire", "diff", "0", "1", "vp"]), ["vpcs"]);
    assert_eq!(
        bash(&s, &["rewire", "diff", "0", "1", "vpcs.re"]),
        ["vpcs.red"]
    );
    // The store is the one that the line names.
    assert!(bash(&s, &["rewire", "show", "--store", "none.db", "1"]).is_empty());
    assert_eq!(
        bash(&s, &["rewire", "--store", "rewire.db", "show", "1"]),
        ["1"]
    );
}

#[test]
fn the_other_shells_have_their_scripts() {
    let s = Session::new();
    for (shell, begins) in [("zsh", "#compdef rewire"), ("fish", "complete ")] {
        let output = s.command(&["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.starts_with(begins), "{shell}: {script}");
        assert!(script.contains("REWIRE_COMPLETE"), "{shell}: {script}");
    }
}
