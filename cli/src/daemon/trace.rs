//! `rewire trace` on the gateway's side: where a packet would go now.

use rewire_dataplane::Trial;
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

impl Daemon {
    /// Lets a packet walk over the live tables, with the connections of the workers. Nothing is changed by it.
    pub(super) fn trace(&self, query: &Query) -> Result<Traced, String> {
        let traced = self.try_live(query.asked()?, query.resolve, query.reply)?;
        traced.map_err(|error| error.to_string())
    }

    /// Lets a packet walk, and its answer if that is wanted; or says why nobody receives it.
    ///
    /// # Errors
    /// The gateway has no answer.
    pub(super) fn try_live(
        &self,
        asked: Asked,
        resolve: bool,
        wants_reply: bool,
    ) -> Result<Result<Traced, TraceError>, String> {
        let trials = self.live_trials.as_ref();
        let trials = trials.ok_or("the gateway is stopping")?;
        let about = asked.clone();
        let prepared = trials.look(move |tables, _| prepare(tables, &about));
        let (ingress, frame) = match prepared.map_err(|error| error.to_string())? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let found = trials.connections_of(ingress, &frame);
        let found = found.map_err(|error| error.to_string())?;
        let traced = trials.look(move |tables, now| {
            let mut trial = Trial::new(now, resolve);
            trial.take_over(&found);
            let walked = walk(tables, &asked, &mut trial)?;
            let reply = input::reply(&walked).filter(|_| wants_reply);
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
