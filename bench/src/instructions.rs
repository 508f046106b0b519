//! Instructions of one packet, as the program of `bench/instructions` counts them: that one and no other, so that its figures are those of
//! continuous integration.

use std::process::{Command, Stdio};

use crate::report::{Report, Run};
use crate::stores::Failure;

pub(crate) fn run() -> Result<Report, Failure> {
    let program = std::env::current_exe()?.with_file_name("rewire-instructions");
    let output = Command::new(&program)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            format!(
                "{} does not start ({error}): `make bench NAME=instructions` builds it",
                program.display()
            )
        })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (table, line) = said.trim_end().rsplit_once('\n').unwrap_or_default();
    println!("{table}");
    if !output.status.success() {
        return Err(format!("{} failed: {}", program.display(), output.status).into());
    }
    let figure = |name| {
        let words = line.split_whitespace();
        let said = words.filter_map(|word| word.split_once('='));
        let (_, figure) = said.into_iter().find(|(key, _)| *key == name)?;
        figure.parse().ok()
    };
    let figures = figure("established").zip(figure("new"));
    let (ours, new) = figures.ok_or("it has said no figures")?;
    Ok(Report {
        unit: "instructions/packet",
        peer_name: "-",
        runs: vec![Run { ours, peer: None }],
        more: vec![("new", new)],
    })
}
