//! Where the ways of one packet under two states part.

use super::report::{Report, StepReport};
use super::text;

/// Where two walks part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parting {
    /// The number of steps that are alike: the place of the first that is not.
    pub(crate) first: usize,
    /// The node there.
    node: String,
}

/// Where two walks part, if they do: at the first step that says something else, or in what was sent.
pub(crate) fn part(from: &Report, to: &Report) -> Option<Parting> {
    let said = |step: &StepReport| {
        (
            step.node.clone(),
            step.own,
            step.fact.clone(),
            step.details.clone(),
        )
    };
    let alike = from.steps.iter().zip(&to.steps);
    let first = alike
        .take_while(|(one, other)| said(one) == said(other))
        .count();
    if first == from.steps.len() && first == to.steps.len() && from.sent == to.sent {
        return None;
    }
    let step = to
        .steps
        .get(first)
        .or(from.steps.get(first))
        .or(to.steps.last());
    Some(Parting {
        first,
        node: step.map(|step| step.node.clone()).unwrap_or_default(),
    })
}

impl Parting {
    /// What is different, in a sentence.
    pub(crate) fn sentence(&self) -> String {
        format!("the packet's ways part at {}", self.node)
    }

    /// The two ways from there on, for people.
    pub(crate) fn text(&self, from: &(String, Report), to: &(String, Report)) -> String {
        let mut page = format!("{}\n\n", from.1.packet.as_deref().unwrap_or("the frame"));
        page.push_str(&match self.first {
            0 => "the ways part at once\n".to_owned(),
            _ => format!("the ways part at {}\n", self.node),
        });
        for (name, report) in [from, to] {
            page.push_str(&format!("\nunder {name}:\n"));
            // All that the node says, so that what it decided by is seen.
            let steps = report.steps.get(..self.first).unwrap_or_default();
            let ahead = steps
                .iter()
                .rev()
                .take_while(|step| step.node == self.node)
                .count();
            text::steps(
                report.steps.get(self.first - ahead..).unwrap_or_default(),
                &mut page,
            );
            page.push_str(&text::outcome(report));
        }
        page
    }
}
