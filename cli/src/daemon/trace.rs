//! `rewire trace` on the gateway's side: where a packet would go now.

use rewire_dataplane::{FoundConnections, Trial};
use serde::{Deserialize, Serialize};

use super::Daemon;
use crate::trace::packet_text::PacketText;
use crate::trace::{Asked, Report, TraceError, input, prepare, walk};

/// The version of [`Traced`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// A packet that is asked about: a text, or a frame in hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(default)]
    pub(crate) packet: Option<String>,
    #[serde(default)]
    pub(crate) frame: Option<String>,
    /// Who receives the frame.
    #[serde(default)]
    pub(crate) interface: Option<String>,
    /// Whether neighbors that are not known are assumed.
    #[serde(default)]
    pub(crate) resolve: bool,
    /// Whether the answer walks back.
    #[serde(default)]
    pub(crate) reply: bool,
}

impl Query {
    /// What is asked, for the socket.
    pub(crate) fn of(asked: &Asked) -> Query {
        match asked {
            Asked::Text(packet) => Query {
                packet: Some(packet.to_string()),
                ..Query::default()
            },
            Asked::Frame { interface, bytes } => Query {
                frame: Some(crate::trace::report::hexadecimal(bytes)),
                interface: interface.clone(),
                ..Query::default()
            },
        }
    }

    fn asked(&self) -> Result<Asked, String> {
        match (&self.packet, &self.frame) {
            (Some(text), None) => {
                let packet = text.parse::<PacketText>();
                let packet = packet.map_err(|error| error.to_string())?;
                Ok(Asked::Text(Box::new(packet)))
            }
            (None, Some(digits)) => Ok(Asked::Frame {
                interface: self.interface.clone(),
                bytes: input::bytes(digits)?,
            }),
            _ => Err("expected a packet or a frame".to_owned()),
        }
    }
}

/// Where a packet would go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traced {
    pub(crate) version: u32,
    /// Its walk.
    pub(crate) walk: Report,
    /// That of the answer, where it is asked for and there is any.
    pub(crate) reply: Option<Report>,
}

/// How a packet is tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Whether neighbors that are not known are assumed; else the packet waits for them.
    pub(super) assumes_neighbors: bool,
    /// Whether its answer walks back.
    pub(super) wants_reply: bool,
    /// Whether it may belong to a connection that the gateway has; else it is a first packet.
    pub(super) has_connections: bool,
}

impl Daemon {
    /// Lets a packet walk over the live tables, with the connections of the workers. Nothing is changed by it.
    pub(super) fn trace(&self, query: &Query) -> Result<Traced, String> {
        let manner = Manner {
            assumes_neighbors: query.resolve,
            wants_reply: query.reply,
            has_connections: true,
        };
        let traced = self.try_live(query.asked()?, manner)?;
        traced.map_err(|error| error.to_string())
    }

    /// Lets a packet walk over the live tables, and its answer if that is wanted; or says why nobody receives it.
    ///
    /// # Errors
    /// The gateway has no answer.
    pub(super) fn try_live(
        &self,
        asked: Asked,
        manner: Manner,
    ) -> Result<Result<Traced, TraceError>, String> {
        let trials = self.live_trials.as_ref();
        let trials = trials.ok_or("the gateway is stopping")?;
        let about = asked.clone();
        let prepared = trials.look(move |tables, _| prepare(tables, &about));
        let (ingress, frame) = match prepared.map_err(|error| error.to_string())? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let found = match manner.has_connections {
            true => trials.connections_of(ingress, &frame),
            false => Ok(FoundConnections::default()),
        };
        let found = found.map_err(|error| error.to_string())?;
        let traced = trials.look(move |tables, now| {
            let mut trial = Trial::new(now, manner.assumes_neighbors);
            trial.take_over(&found);
            let walked = walk(tables, &asked, &mut trial)?;
            let reply = input::reply(&walked).filter(|_| manner.wants_reply);
            let reply = reply
                .map(|reply| walk(tables, &reply, &mut trial))
                .transpose()?;
            Ok(Traced {
                version: VERSION,
                walk: Report::of(&walked, tables),
                reply: reply.map(|walked| Report::of(&walked, tables)),
            })
        });
        traced.map_err(|error| error.to_string())
    }
}
