//! The OpenTelemetry protocol, as far as a gateway speaks it: metrics and traces, encoded by Protocol Buffers, sent by HTTP.
//!
//! OTLP 1.x, <https://opentelemetry.io/docs/specs/otlp/>; field numbers are those of `opentelemetry/proto`, which the project
//! promises to keep. [Decision 0039](../../../docs/decisions/0039-telemetry.md) says why HTTP, and why not a library.

mod http;
mod metrics;
mod protobuf;
mod traces;

pub(crate) use http::{Failed, Target};
pub(crate) use metrics::encode as encode_metrics;
pub(crate) use traces::encode as encode_traces;

use protobuf::Message;

/// What both kinds of requests say of their sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// What tells this gateway from others: its host's name.
    pub(crate) instance: String,
    pub(crate) version: &'static str,
}

impl Resource {
    /// This process.
    pub(crate) fn of_this_process() -> Resource {
        let uname = rustix::system::uname();
        Resource {
            instance: uname.nodename().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// `opentelemetry.proto.resource.v1.Resource`.
    fn write(&self, message: &mut Message) {
        for (key, value) in [
            ("service.name", "rewire"),
            ("service.version", self.version),
            ("service.instance.id", &self.instance),
            ("host.name", &self.instance),
        ] {
            message.message(1, |attribute| text_attribute(attribute, key, value));
        }
    }
}

/// `opentelemetry.proto.common.v1.InstrumentationScope`.
fn scope(message: &mut Message) {
    message.text(1, "rewire");
    message.text(2, env!("CARGO_PKG_VERSION"));
}

/// `opentelemetry.proto.common.v1.KeyValue`, with a text.
fn text_attribute(message: &mut Message, key: &str, value: &str) {
    message.text(1, key);
    message.message(2, |any| any.text(1, value));
}

/// The same with a number.
fn number_attribute(message: &mut Message, key: &str, value: u64) {
    message.text(1, key);
    message.message(2, |any| any.number(3, value));
}
