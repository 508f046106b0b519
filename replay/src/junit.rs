//! A report as JUnit XML, for CI: a test case for each revision and check.

use std::fmt::Write as _;
use std::time::Duration;

use crate::check::{Check, Failure};
use crate::report::{Report, Step, Taken};

/// The report as a file of JUnit's form. The times in it are those of this machine.
pub fn junit(report: &Report) -> String {
    let cases: usize = report.steps.iter().map(|step| step.checks.len()).sum();
    let failed = |step: &Step, check: Check| {
        let of = move |f: &&Failure| f.revision == step.revision && f.check == check;
        report.failures.iter().filter(of).collect::<Vec<_>>()
    };
    let all = report.steps.iter();
    let bad = all.flat_map(|step| step.checks.iter().map(move |check| failed(step, *check)));
    let bad = bad.filter(|failures| !failures.is_empty()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let head = format!(
        "name=\"rewire replay\" tests=\"{cases}\" failures=\"{bad}\" errors=\"0\" skipped=\"0\" time=\"{}\"",
        seconds(report.elapsed)
    );
    let _ = writeln!(xml, "<testsuites {head}>\n  <testsuite {head}>");
    let _ = writeln!(xml, "    <properties>");
    for (name, value) in [
        ("report_digest", report.digest.as_str()),
        ("output_digest", report.output_digest.as_str()),
        (
            "tables_digest",
            report.tables_digest.as_deref().unwrap_or("none"),
        ),
    ] {
        let _ = writeln!(xml, "      <property name=\"{name}\" value=\"{value}\"/>");
    }
    let _ = writeln!(xml, "    </properties>");
    for (step, taken) in report.steps.iter().zip(&report.taken) {
        for check in &step.checks {
            case(&mut xml, step, taken, *check, &failed(step, *check));
        }
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, step: &Step, taken: &Taken, check: Check, failures: &[&Failure]) {
    // The time of a revision until it is live stands with its budget, that of its packets with what is asked of each burst.
    let time = match check {
        Check::Time => taken.live,
        Check::Accounting => taken.packets,
        Check::Tables => taken.checks,
        _ => Duration::ZERO,
    };
    let _ = write!(
        xml,
        "    <testcase classname=\"revision {}\" name=\"{check}\" time=\"{}\"",
        step.revision,
        seconds(time)
    );
    if failures.is_empty() {
        xml.push_str("/>\n");
        return;
    }
    xml.push_str(">\n");
    for failure in failures {
        let message = escaped(&failure.message);
        let details = escaped(&failure.details.join("\n"));
        let _ = writeln!(
            xml,
            "      <failure type=\"{check}\" message=\"{message}\">{details}</failure>"
        );
    }
    xml.push_str("    </testcase>\n");
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

/// A text as XML 1.0 can hold it: what it cannot is a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            other => out.push(other),
        }
    }
    out
}
