//! A walk as a person's page.

use super::report::{Report, SentReport, StepReport};
use crate::terminal::clean;

/// The columns of a node's name.
const NODE: usize = 19;

/// The page.
pub(crate) fn page(report: &Report, state: &str) -> String {
    let packet = match &report.packet {
        Some(packet) => packet.clone(),
        None => format!(
            "a frame of {} bytes in {}",
            report.frame.len() / 2,
            report.interface
        ),
    };
    let mut page = format!("{packet}\n  under {state}\n\n");
    steps(&report.steps, &mut page);
    page.push('\n');
    page.push_str(&outcome(report));
    for sent in &report.sent {
        self::sent(sent, &mut page);
    }
    page
}

/// The steps, a line each; the name of a node stands at its first.
pub(crate) fn steps(steps: &[StepReport], page: &mut String) {
    let mut last = None;
    for step in steps {
        let Some(text) = &step.text else { continue };
        let node = (step.own, step.node.as_str());
        let name = match last == Some(node) {
            true => "",
            false => step.node.as_str(),
        };
        let mark = if step.own { "* " } else { "  " };
        page.push_str(&format!("{mark}{name:NODE$}{}\n", clean(text)));
        last = Some(node);
        for row in &step.rows {
            if let Some(line) = super::rows::line(row) {
                page.push_str(&format!("  {:NODE$}  {line}\n", ""));
            }
        }
    }
}

/// What became of the packet, in a line.
pub(crate) fn outcome(report: &Report) -> String {
    let outcome = &report.outcome;
    let interface = outcome.interface.as_deref().unwrap_or_default();
    let text = match outcome.kind.as_str() {
        "forwarded" => format!("forwarded by {interface}"),
        "answered" => format!("answered by {interface}"),
        "dropped" => format!(
            "dropped by {}: {}",
            outcome.node.as_deref().unwrap_or_default(),
            outcome.reason.as_deref().unwrap_or_default()
        ),
        "held" => "held until an answer comes".to_owned(),
        "handed_over" => "handed over to another worker".to_owned(),
        other => other.to_owned(),
    };
    format!("{}\n", clean(&text))
}

fn sent(sent: &SentReport, page: &mut String) {
    let packet = match &sent.packet {
        Some(packet) => packet.clone(),
        None => format!("a frame of {} bytes: {}", sent.frame.len() / 2, sent.frame),
    };
    page.push_str(&format!("  {} sends {packet}\n", clean(&sent.interface)));
    for change in &sent.changes {
        page.push_str(&format!(
            "    {:16} {} -> {}\n",
            change.field, change.before, change.after
        ));
    }
}
