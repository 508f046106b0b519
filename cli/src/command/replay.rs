use std::path::{Path, PathBuf};
use std::str::FromStr;

use rewire_compiler::Compiler;
use rewire_schema::Configuration;
use rewire_tables::InterfaceIndex;
use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::failure::{Code, Failure};
use crate::replay::Replay as Player;
use crate::replay::capture::{CaptureError, Merged, Output};
use crate::number::whole_number;

/// Play captures through a configuration, without a gateway
///
/// Frames go through the same graph as in a gateway, on a clock that their time stamps set: the same configuration and
/// captures always give the same frames, to the byte. Exit code 0 says that every packet is accounted for.
#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Take a document's configuration, instead of the store's
    #[arg(long, value_name = "FILE", conflicts_with = "revision")]
    document: Option<PathBuf>,
    /// Take this revision of the store [default: the last one]
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>)]
    revision: Option<u64>,
    /// Frames that come in by an interface, from a pcap file; several are merged by time
    #[arg(long = "in", value_name = "INTERFACE=PCAP", required = true)]
    inputs: Vec<Capture>,
    /// Write the frames that leave by an interface to a pcap file
    #[arg(long = "out", value_name = "INTERFACE=PCAP")]
    outputs: Vec<Capture>,
    /// Take frames for other stations too: their destination becomes the interface's own MAC address
    #[arg(long)]
    any_mac: bool,
}

/// A capture, and the interface that it belongs to.
#[derive(Clone, Debug)]
struct Capture {
    interface: String,
    path: PathBuf,
}

impl FromStr for Capture {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((interface, path)) if !interface.is_empty() && !path.is_empty() => {
                Ok(Capture { interface: interface.to_owned(), path: path.into() })
            }
            _ => Err("expected an interface and a file, like wan0=wan.pcap"),
        }
    }
}

impl Replay {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (revision, configuration) = self.configuration(context)?;
        let (_, compiled) = Compiler::compile(configuration, revision)
            .map_err(|errors| Failure::new(Code::Refused, format!("revision {revision} does not compile: {errors}")))?;
        let mut player = Player::new(compiled, self.any_mac);
        let interfaces = |captures: &[Capture], player: &Player| -> Result<Vec<InterfaceIndex>, Failure> {
            captures.iter().map(|capture| find(player, &capture.interface)).collect()
        };
        let inputs = interfaces(&self.inputs, &player)?;
        let outputs = interfaces(&self.outputs, &player)?;
        self.refuse_overwriting()?;
        let paths = self.inputs.iter().map(|capture| capture.path.as_path());
        let captures = Merged::open(inputs.into_iter().zip(paths))?;
        for (interface, capture) in outputs.into_iter().zip(&self.outputs) {
            player.write_to(interface, Output::create(&capture.path)?);
        }
        let summary = player.play(captures)?;
        if !summary.is_balanced() {
            return Err(Failure::new(Code::Failed, "packets are not accounted for: this is a fault of rewire")
                .detail("summary", json!(summary)));
        }
        Ok(context.shown(|_| summary.render(), || json!(summary)))
    }

    fn configuration(&self, context: &Context) -> Result<(u64, Configuration), Failure> {
        if let Some(document) = &self.document {
            return Ok((0, document::whole(document, &context.waiting())?.configuration));
        }
        let store = context.open()?;
        match self.revision {
            Some(revision) => Ok((revision, store.configuration_at(revision)?)),
            None => Ok(store.head_and_configuration()?),
        }
    }

    /// A capture is never written over one that is read, nor two into one file.
    fn refuse_overwriting(&self) -> Result<(), Failure> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for (index, output) in self.outputs.iter().enumerate() {
            let others = self.inputs.iter().chain(&self.outputs[..index]);
            let path = real(&output.path);
            let same_interface = self.outputs[..index].iter().any(|other| other.interface == output.interface);
            if same_interface {
                let message = format!("--out names the interface {} twice", output.interface);
                return Err(Failure::new(Code::WrongArguments, message));
            }
            if others.into_iter().any(|other| real(&other.path) == path) {
                let message = format!("--out would write over {}, which is named twice", output.path.display());
                return Err(Failure::new(Code::WrongArguments, message));
            }
        }
        Ok(())
    }
}

fn find(player: &Player, name: &str) -> Result<InterfaceIndex, Failure> {
    player.interface(name).ok_or_else(|| {
        let failure = Failure::new(Code::NoSuchName, format!("the configuration has no interface \"{name}\""));
        let distance = |known: &&str| strsim::osa_distance(known, name);
        match player.interface_names().min_by_key(distance) {
            Some(nearest) if distance(&nearest) <= name.chars().count() / 2 => {
                failure.help(format!("did you mean \"{nearest}\"?"))
            }
            Some(_) => {
                let names: Vec<&str> = player.interface_names().take(20).collect();
                failure.help(format!("its interfaces are {}", names.join(", ")))
            }
            None => failure.help("it has none at all"),
        }
    })
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        let code = match error {
            CaptureError::Write { .. } => Code::Output,
            _ => Code::UnreadableFile,
        };
        let help = match error {
            CaptureError::PcapNg { .. } => Some("`tcpdump -r FILE -w OUT.pcap` turns it into one"),
            _ => None,
        };
        let failure = Failure::new(code, error.to_string());
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}
