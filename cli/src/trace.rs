//! Trying packets: where one would go, node by node, and why.
//!
//! [`walk`] lets a packet walk over any tables, without changing anything; [`touched`] makes tables of what it touches of a
//! configuration. What comes out is a [`Walked`], which [`Report`] tells.

pub(crate) mod capture;
pub(crate) mod filter;
pub(crate) mod input;
mod machine;
pub(crate) mod packet_text;
pub(crate) mod parting;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod text;
pub(crate) mod touched;
pub(crate) mod under;
pub(crate) mod words;

use std::net::IpAddr;

use rewire_dataplane::{Trial, Walk};
use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Tables};

use crate::failure::{Code, Failure};
use packet_text::PacketText;
pub(crate) use report::Report;

/// What is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A packet in words.
    Text(Box<PacketText>),
    /// A frame, that an interface receives; or the one that its sender's address belongs to.
    Frame {
        /// The interface.
        interface: Option<String>,
        /// From the Ethernet header on.
        bytes: Vec<u8>,
    },
}

/// A packet that has walked.
#[derive(Clone, Debug)]
pub(crate) struct Walked {
    /// The interface that received it.
    pub(crate) interface: String,
    /// The same, by its index.
    pub(crate) ingress: InterfaceIndex,
    /// The frame as it came.
    pub(crate) frame: Vec<u8>,
    /// Its walk.
    pub(crate) walk: Walk,
}

/// Why a packet cannot be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TraceError {
    /// There is no such interface.
    #[error("there is no interface \"{0}\" in effect")]
    NoInterface(String),
    /// Nobody knows where it comes in.
    #[error(
        "no interface has {0} in its subnets: say which one receives the packet, with `in INTERFACE`"
    )]
    NoSubnet(IpAddr),
    /// Several could receive it.
    #[error(
        "several interfaces have {0} in their subnets: say which one receives the packet, with `in INTERFACE`"
    )]
    SeveralSubnets(IpAddr),
    /// A frame from which no sender can be read.
    #[error("say which interface receives the frame")]
    NoSender,
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        let code = match error {
            TraceError::NoInterface(_) => Code::NoSuchName,
            _ => Code::WrongArguments,
        };
        Failure::new(code, error.to_string())
    }
}

/// Lets a packet walk over tables.
///
/// # Errors
/// It is not known which interface receives it.
pub(crate) fn walk(
    tables: &Tables,
    asked: &Asked,
    trial: &mut Trial,
) -> Result<Walked, TraceError> {
    let (ingress, frame) = prepare(tables, asked)?;
    let interface = tables.interface(ingress);
    Ok(Walked {
        interface: interface.map_or_else(String::new, |interface| interface.name.to_string()),
        ingress,
        walk: trial.walk(tables, ingress, frame.clone()),
        frame,
    })
}

/// A packet as a frame, and the interface that receives it.
///
/// # Errors
/// It is not known which.
pub(crate) fn prepare(
    tables: &Tables,
    asked: &Asked,
) -> Result<(InterfaceIndex, Vec<u8>), TraceError> {
    let (name, source) = match asked {
        Asked::Text(packet) => (packet.interface.as_deref(), Some(packet.source)),
        Asked::Frame { interface, bytes } => {
            let source = PacketText::of_frame(bytes, MacAddress::ZERO).map(|packet| packet.source);
            (interface.as_deref(), source)
        }
    };
    let ingress = ingress(tables, name, source)?;
    let mac = tables
        .interface(ingress)
        .map_or(MacAddress::ZERO, |i| i.mac);
    let frame = match asked {
        Asked::Text(packet) => packet.frame(mac),
        Asked::Frame { bytes, .. } => bytes.clone(),
    };
    Ok((ingress, frame))
}

/// The interface that receives a packet: the one that is named, or the one that has the sender in a subnet.
fn ingress(
    tables: &Tables,
    name: Option<&str>,
    source: Option<IpAddr>,
) -> Result<InterfaceIndex, TraceError> {
    if let Some(name) = name {
        let mut named = tables
            .interfaces()
            .filter(|(_, interface)| &*interface.name == name);
        let found = named.next().map(|(index, _)| index);
        return found.ok_or_else(|| TraceError::NoInterface(name.to_owned()));
    }
    let source = source.ok_or(TraceError::NoSender)?;
    let mut near = tables
        .interfaces()
        .filter(|(_, interface)| interface.on_link(source));
    match (near.next(), near.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(TraceError::NoSubnet(source)),
        (Some(_), Some(_)) => Err(TraceError::SeveralSubnets(source)),
    }
}

/// The tables of a whole configuration, for tests: what others walk over is held against them.
#[cfg(test)]
pub(crate) fn tables(
    configuration: rewire_schema::Configuration,
    revision: u64,
) -> Result<Box<Tables>, rewire_compiler::Errors> {
    let (_, compiled) = rewire_compiler::Compiler::compile(configuration, revision)?;
    let mut tables = Box::<Tables>::default();
    for operation in &compiled.operations {
        tables.apply(operation);
    }
    Ok(tables)
}
