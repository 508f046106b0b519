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
    assert_eq!(
        bash(&s, &["rewire", "blame", "vpcs.red.routes.1"]),
        ["vpcs.red.routes.10.0.0.0/8"]
    );
    assert_eq!(
        bash(
            &s,
            &["rewire", "blame", "vpcs.red.routes.0.0.0.0/0.next_hops["]
        ),
        ["vpcs.red.routes.0.0.0.0/0.next_hops[0]"]
    );
    assert_eq!(
        bash(&s, &["rewire", "log", "interfaces.wan0.m"]),
        [
            "interfaces.wan0.mac",
            "interfaces.wan0.mtu",
            "interfaces.wan0.marks"
        ]
    );
    // The words of an edit, after the words before.
    assert_eq!(bash(&s, &["rewire", "set", "vpcs", "re"]), ["red"]);
    assert_eq!(
        bash(
            &s,
            &[
                "rewire",
                "set",
                "vpcs",
                "red",
                "routes",
                "10.0.0.0/8",
                "type",
                "bl"
            ]
        ),
        ["blackhole"]
    );
    assert_eq!(
        bash(
            &s,
            &[
                "rewire",
                "delete",
                "--author",
                "ada",
                "interfaces",
                "wan0",
                "add"
            ]
        ),
        ["addresses"]
    );
    assert_eq!(bash(&s, &["rewire", "rename", "vpcs", "red", "t"]), ["to"]);
    // The store is the one that the line names.
    assert!(bash(&s, &["rewire", "show", "--store", "none.db", "1"]).is_empty());
    assert_eq!(
        bash(&s, &["rewire", "--store", "rewire.db", "show", "1"]),
        ["1"]
    );
}

/// What zsh offers: the words that the script gives to zsh's own `_describe`. None where there is no zsh.
fn zsh(session: &Session, words: &[&str]) -> Option<Vec<String>> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let ask = format!(
        "autoload -U compinit; compinit -D; source <(rewire completions zsh); \
         _describe() {{ print -l -- \"${{(@P)3}}\" }}; words=({}); CURRENT={}; _clap_dynamic_completer_rewire",
        quoted.join(" "),
        words.len()
    );
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_rewire"))
        .parent()
        .unwrap();
    let output = Command::new("zsh")
        .args(["-f", "-c", &ask])
        .current_dir(session.path(""))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said
        .lines()
        .map(|line| line.split(':').next().unwrap().to_owned());
    Some(lines.filter(|line| !line.is_empty()).collect())
}

#[test]
fn zsh_completes_the_same() {
    let s = Session::with_one_revision();
    let Some(verbs) = zsh(&s, &["rewire", "com"]) else {
        eprintln!("there is no zsh here: not tested");
        return;
    };
    assert_eq!(verbs, ["commit", "completions"]);
    let ask = |words: &[&str]| zsh(&s, words).unwrap();
    assert_eq!(ask(&["rewire", "journal", "v"]), ["verify"]);
    assert_eq!(ask(&["rewire", "show", "1"]), ["1"]);
    assert_eq!(ask(&["rewire", "blame", "vpcs.re"]), ["vpcs.red"]);
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
