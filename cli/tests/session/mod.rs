//! A person at a shell: runs the real binary in a folder of its own and keeps what the person sees.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test file uses a part"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Session {
    dir: tempfile::TempDir,
    transcript: String,
}

impl Session {
    pub(crate) fn new() -> Self {
        Session {
            dir: tempfile::tempdir().unwrap(),
            transcript: String::new(),
        }
    }

    /// A session whose store has one revision: `net.yaml`, the example of the demo.
    pub(crate) fn with_one_revision() -> Self {
        let mut session = Session::new();
        session.example("net.yaml");
        session.quietly(&["init"]);
        session.quietly(&["load", "net.yaml"]);
        session.quietly(&["commit", "-m", "the first network", "--no-wait"]);
        session
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Puts the example of the demo here under a name.
    pub(crate) fn example(&self, name: &str) {
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/demo/01-two-vpcs.yaml"
        );
        self.write(name, &std::fs::read_to_string(example).unwrap());
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rewire"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("TZ", "UTC")
            .env("REWIRE_AUTHOR", "ada");
        command
    }

    /// Runs a command and writes down what is seen; gives back the exit code.
    pub(crate) fn rewire(&mut self, args: &[&str]) -> i32 {
        self.run(args, None)
    }

    /// The same with a text on standard input.
    pub(crate) fn rewire_with_input(&mut self, args: &[&str], input: &str) -> i32 {
        self.run(args, Some(input))
    }

    /// Runs a command that must succeed; what it says is not written down.
    pub(crate) fn quietly(&mut self, args: &[&str]) {
        let length = self.transcript.len();
        let code = self.rewire(args);
        assert_eq!(code, 0, "{}", &self.transcript[length..]);
        self.transcript.truncate(length);
    }

    fn run(&mut self, args: &[&str], input: Option<&str>) -> i32 {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let code = output.status.code().expect("no signal ended it");
        let quoted: Vec<String> = args
            .iter()
            .map(|a| {
                if a.contains(' ') {
                    format!("\"{a}\"")
                } else {
                    (*a).to_owned()
                }
            })
            .collect();
        writeln!(self.transcript, "$ rewire {}", quoted.join(" ")).unwrap();
        self.transcript += &String::from_utf8(output.stdout).unwrap();
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            writeln!(self.transcript, "{}", format!("! {line}").trim_end()).unwrap();
        }
        if code != 0 {
            writeln!(self.transcript, "[exit {code}]").unwrap();
        }
        self.transcript.push('\n');
        code
    }

    /// Everything that was seen: `$` is what was typed, `!` what came on standard error.
    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    /// The settings under which transcripts compare: times, digests and folders differ from run to run.
    pub(crate) fn settings(&self) -> insta::Settings {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"\d+\.\d ms", "[TIME] ms");
        settings.add_filter(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d",
            "[LOCAL TIME]",
        );
        settings.add_filter(r"(hash\W+)[0-9a-f]{64}\b", "$1[HASH]");
        settings.add_filter(r"\b[0-9a-f]{12}\b", "[DIGEST]");
        settings.add_filter(&escape(self.dir.path()), "[DIR]");
        settings
    }
}

fn escape(path: &Path) -> String {
    path.to_str().unwrap().replace('.', r"\.")
}

macro_rules! assert_transcript {
    ($session:expr) => {
        $session
            .settings()
            .bind(|| insta::assert_snapshot!($session.transcript()))
    };
}
pub(crate) use assert_transcript;
