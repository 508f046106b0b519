//! What is to become of a packet, and whether that is what became of it: for probes and for `rewire bisect`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rewire_packet::MacAddress;
use rewire_schema::model::ProbeRow;
use rewire_schema::types::ProbeResult;

use crate::terminal::clean;
use crate::trace::packet_text::PacketText;
use crate::trace::{Report, input, text};

/// What is to become of a packet. What is not said may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    result: ProbeResult,
    /// Why it is to be dropped.
    reason: Option<String>,
    /// The interface that it is to leave by.
    interface: Option<String>,
    /// The neighbor that it is to be sent to.
    via: Option<IpAddr>,
    /// The source that it is to have when it leaves.
    source: Option<IpAddr>,
    /// The destination that it is to have when it leaves.
    destination: Option<IpAddr>,
    /// The port that it is to go to when it leaves.
    destination_port: Option<u16>,
}

impl Wanted {
    fn only(result: ProbeResult) -> Wanted {
        Wanted {
            result,
            reason: None,
            interface: None,
            via: None,
            source: None,
            destination: None,
            destination_port: None,
        }
    }

    /// What a probe wants.
    pub(crate) fn of(probe: &ProbeRow) -> Wanted {
        Wanted {
            interface: probe.out_interface.as_ref().map(ToString::to_string),
            via: probe.via,
            source: probe.translated_source,
            destination: probe.translated_destination,
            destination_port: probe.translated_destination_port,
            ..Wanted::only(probe.expect)
        }
    }

    /// What a walk came to instead; none where it came to what is wanted.
    pub(crate) fn missed(&self, report: &Report) -> Option<String> {
        let outcome = &report.outcome;
        let found = text::outcome(report);
        let found = found.trim_end();
        if outcome.kind != self.result.to_string() {
            return Some(found.to_owned());
        }
        let differs =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_some() && wanted != found;
        if differs(&self.reason, &outcome.reason) || differs(&self.interface, &outcome.interface) {
            return Some(found.to_owned());
        }
        if let Some(via) = self.via
            && neighbor(report) != Some(via)
        {
            let by = neighbor(report).map_or("nobody".to_owned(), |other| other.to_string());
            return Some(format!("{found}, sent to {by}"));
        }
        let left = left(report);
        let (source, destination) = match &left {
            Some(left) => (Some(left.source), Some(left.destination)),
            None => (None, None),
        };
        let port = left
            .as_ref()
            .and_then(|left| left.upper.ports())
            .map(|ports| ports.1);
        let as_wanted = (self.source.is_none() || self.source == source)
            && (self.destination.is_none() || self.destination == destination)
            && (self.destination_port.is_none() || self.destination_port == port);
        (!as_wanted).then(|| match left {
            Some(left) => format!("{found} as {}", clean(&left.to_string())),
            None => format!("{found} as something else"),
        })
    }
}

/// The neighbor that a packet was sent to.
fn neighbor(report: &Report) -> Option<IpAddr> {
    let steps = report.steps.iter().rev();
    let mut neighbors = steps.filter(|step| !step.own && step.fact == "neighbor");
    let address = neighbors.next()?.details.get("address")?;
    address.as_str().or(Some(""))?.parse().ok()
}

/// The packet as it left, without what is of its link.
fn left(report: &Report) -> Option<PacketText> {
    let interface = report.outcome.interface.as_deref()?;
    let sent = report
        .sent
        .iter()
        .find(|sent| sent.interface == interface)?;
    let left = PacketText::of_frame(&input::bytes(&sent.frame).ok()?, MacAddress::ZERO)?;
    Some(PacketText {
        link_source: None,
        link_destination: None,
        ..left
    })
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.result)?;
        let part = |f: &mut fmt::Formatter<'_>, word: &str, value: Option<&dyn fmt::Display>| {
            value.map_or(Ok(()), |value| write!(f, " {word} {value}"))
        };
        part(f, "for", self.reason.as_ref().map(|value| value as _))?;
        part(f, "by", self.interface.as_ref().map(|value| value as _))?;
        part(f, "via", self.via.as_ref().map(|value| value as _))?;
        part(f, "from", self.source.as_ref().map(|value| value as _))?;
        part(f, "to", self.destination.as_ref().map(|value| value as _))?;
        part(
            f,
            "port",
            self.destination_port.as_ref().map(|value| value as _),
        )
    }
}

/// `forwarded`, `answered`, `dropped`, `dropped REASON`, or `out INTERFACE` with any of `via ADDRESS`, `from ADDRESS`, `to ADDRESS`
/// and `port PORT`.
impl FromStr for Wanted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected forwarded, answered, dropped [REASON], or out INTERFACE [via ADDRESS] [from ADDRESS] [to ADDRESS] [port PORT]";
        let mut words = text.split_whitespace();
        let mut wanted = match words.next() {
            Some("forwarded") => Wanted::only(ProbeResult::Forwarded),
            Some("answered") => Wanted::only(ProbeResult::Answered),
            Some("dropped") => Wanted {
                reason: match words.next() {
                    Some(reason) => Some(known_reason(reason)?),
                    None => None,
                },
                ..Wanted::only(ProbeResult::Dropped)
            },
            Some("out") => Wanted {
                interface: Some(words.next().ok_or(EXPECTED)?.to_owned()),
                ..Wanted::only(ProbeResult::Forwarded)
            },
            _ => return Err(EXPECTED.to_owned()),
        };
        while let Some(word) = words.next() {
            if wanted.result != ProbeResult::Forwarded {
                return Err(EXPECTED.to_owned());
            }
            let value = words.next().ok_or(EXPECTED)?;
            let address = || {
                value
                    .parse()
                    .map_err(|_| format!("expected an address after {word}, found \"{value}\""))
            };
            match word {
                "via" => wanted.via = Some(address()?),
                "from" => wanted.source = Some(address()?),
                "to" => wanted.destination = Some(address()?),
                "port" => {
                    let port = value
                        .parse()
                        .map_err(|_| format!("expected a port, found \"{value}\""))?;
                    wanted.destination_port = Some(port);
                }
                _ => return Err(EXPECTED.to_owned()),
            }
        }
        Ok(wanted)
    }
}

fn known_reason(reason: &str) -> Result<String, String> {
    let mut reasons = rewire_dataplane::DropReason::ALL
        .iter()
        .map(|reason| reason.name());
    match reasons.any(|known| known == reason) {
        true => Ok(reason.to_owned()),
        false => Err(format!("\"{reason}\" is no reason to drop a packet")),
    }
}
