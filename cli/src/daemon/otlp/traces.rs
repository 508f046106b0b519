//! `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`.

use super::metrics::nanoseconds;
use super::protobuf::Message;
use super::{Resource, number_attribute, scope, text_attribute};
use crate::daemon::commit_trace::{CommitTrace, Span};

/// What happens inside of one program: `SPAN_KIND_INTERNAL`.
const INTERNAL: u64 = 1;

/// Commits, each a trace.
pub(crate) fn encode<'a>(
    resource: &Resource,
    commits: impl IntoIterator<Item = &'a CommitTrace>,
) -> Vec<u8> {
    Message::encode(|request| {
        request.message(1, |of_resource| {
            of_resource.message(1, |message| resource.write(message));
            of_resource.message(2, |of_scope| {
                of_scope.message(1, scope);
                for commit in commits {
                    for span in &commit.spans {
                        of_scope.message(2, |message| self::span(message, commit, span));
                    }
                }
            });
        });
    })
}

fn span(message: &mut Message, commit: &CommitTrace, span: &Span) {
    message.bytes(1, &commit.trace.to_bytes());
    message.bytes(2, &span.id.to_bytes());
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.to_bytes());
    }
    message.text(5, &span.name);
    message.number(6, INTERNAL);
    message.fixed(7, nanoseconds(span.start));
    message.fixed(8, nanoseconds(span.end));
    let numbers = [
        ("rewire.revision", commit.revision),
        ("rewire.generation", commit.generation),
    ];
    for (key, value) in numbers {
        message.message(9, |attribute| number_attribute(attribute, key, value));
    }
    let texts = [
        ("rewire.author", &commit.author),
        ("rewire.message", &commit.message),
    ];
    for (key, value) in texts {
        message.message(9, |attribute| text_attribute(attribute, key, value));
    }
}
