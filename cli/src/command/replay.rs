use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rewire_replay::bundle::{self, Bundle, Limits, Packing};
use rewire_replay::check::{self, Checks};
use rewire_replay::{
    Captures, Check, Expected, Generator, GeneratorOptions, History, MOST_FLOWS, Options, Output, Pace, Report, Traffic,
};
use serde_json::json;

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::live::seconds;
use crate::probes;
use crate::number::whole_number_in;
use crate::replay::bundle::{Packed, Replayed};
use crate::replay::source;
use crate::replay::summary::Summary;
use crate::replay::told::{Teller, failed};
use crate::terminal;
use crate::view::Revision;

/// Play a journal and captures through the gateway's graph, without a gateway
///
/// Every revision is applied as a gateway applies it, from what it changes; frames go through the same graph as in a gateway, on
/// a clock that their time stamps set. The same journal and captures always give the same frames and the same report, to
/// the byte. Exit code 0 says that every check has passed, 7 that one has failed, 8 that one has which only a fault of rewire
/// can make fail. Of what has failed, --bundle makes a folder that replays alone, and fails alike.
#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Instead of the store: a journal file, as `rewire journal export` writes it; or the folder of a bundle, which says by itself how
    /// it is replayed
    #[arg(value_name = "FILE|BUNDLE", value_hint = clap::ValueHint::AnyPath)]
    file: Option<PathBuf>,
    /// Take a document's configuration, instead of the store's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "revision", "from", "to"])]
    document: Option<PathBuf>,
    /// Take this revision alone, as a whole
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with_all = ["from", "to"], add = completion::revisions())]
    revision: Option<Revision>,
    /// The first revision, whose state is taken as a whole [default: the oldest that there is]
    #[arg(long, value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    from: Option<Revision>,
    /// The last revision [default: the last one]
    #[arg(long, value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    to: Option<Revision>,
    /// Frames that come in by an interface, from a pcap or pcapng file; several are merged by time
    #[arg(long = "in", value_name = "INTERFACE=CAPTURE")]
    inputs: Vec<Capture>,
    /// Frames that come in by the interfaces that a pcapng file names
    #[arg(long, value_name = "PCAPNG", value_hint = clap::ValueHint::FilePath)]
    packets: Vec<PathBuf>,
    /// Generate so many frames, between the networks that the configuration has
    #[arg(long, value_name = "FRAMES", value_parser = whole_number_in(1..=1u64 << 40), conflicts_with_all = ["inputs", "packets"])]
    generate: Option<u64>,
    /// What the generated frames are drawn from: the same number, the same frames
    #[arg(long, value_name = "N", default_value_t = GeneratorOptions::default().seed, requires = "generate")]
    seed: u64,
    /// How many generated flows there are at a time
    #[arg(long, value_name = "N", default_value_t = GeneratorOptions::default().flows, requires = "generate", value_parser = whole_number_in(1..=MOST_FLOWS))]
    flows: usize,
    /// How many generated frames come in a second, on the replay's clock
    #[arg(long, value_name = "N", default_value_t = GeneratorOptions::default().rate, requires = "generate", value_parser = whole_number_in(1..=1_000_000_000u64))]
    rate: u64,
    /// Write the frames that leave by an interface to a pcap file
    #[arg(long = "out", value_name = "INTERFACE=PCAP")]
    outputs: Vec<Capture>,
    /// Frames that must leave by an interface: these, in this order, to the byte
    #[arg(long = "expect", value_name = "INTERFACE=CAPTURE")]
    expected: Vec<Capture>,
    /// Take frames for other stations too: their destination becomes the interface's own MAC address
    #[arg(long)]
    any_mac: bool,
    /// When revisions become live: `even`ly among the frames, when they were `committed`, or one every so many frames
    #[arg(long, value_name = "PACE", default_value_t = Pace::Even)]
    pace: Pace,
    /// What to check, of tables, state, intents, probes, outputs, accounting, invariants, connections, time, memory [default: all of it]
    #[arg(long = "check", value_name = "NAMES", value_delimiter = ',')]
    checks: Vec<Check>,
    /// Compile the whole state after each so many revisions, to hold the tables against it [default: the more rows, the more
    /// seldom]
    #[arg(long, value_name = "N", value_parser = whole_number_in(1..=u64::MAX))]
    whole_every: Option<u64>,
    /// The longest that a revision may take until it is live, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    revision_time: Option<Duration>,
    /// The longest that the replay may take, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    total_time: Option<Duration>,
    /// The most memory that routes and ACLs may take, in MiB
    #[arg(long, value_name = "MIB", value_parser = whole_number_in(1..=1u64 << 32))]
    tables_memory: Option<u64>,
    /// The most memory that the process may take, in MiB
    #[arg(long, value_name = "MIB", value_parser = whole_number_in(1..=1u64 << 32))]
    resident_memory: Option<u64>,
    /// Where a check fails, pack up into this folder what it takes to see that again, and as little of it as that needs
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    bundle: Option<PathBuf>,
    /// Write what was checked of each revision to a file, as JUnit XML
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    junit: Option<PathBuf>,
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
        self.refuse_overwriting()?;
        if let Some(place) = &self.bundle {
            bundle::expect_free(place)?;
        }
        let bundle = match &self.file {
            Some(file) if bundle::is_bundle(file) => Some(self.open_bundle(file)?),
            _ => None,
        };
        let (history, first) = match &bundle {
            Some(bundle) => (bundle.history.clone(), bundle.manifest.revisions.first),
            None => self.history(context)?,
        };
        let options = match &bundle {
            Some(bundle) => Options { probes: Some(probes::failing), ..bundle.options() },
            None => self.options(),
        };
        let mut replay = rewire_replay::Replay::new(&history, &options);
        for expected in self.expectations(bundle.as_ref())? {
            replay.expect(expected);
        }
        if let Some(bundle) = &bundle
            && let Some(recorded) = bundle.recorded()?
        {
            replay.compare(recorded);
        }
        for output in &self.outputs {
            replay.write_to(&output.interface, Output::new(&output.path));
        }
        let revisions = history.last() - first + 1;
        let mut traffic = self.traffic(bundle.as_ref())?;
        let report = replay.run(first, traffic.as_mut(), &mut Teller::new(context, revisions as usize))?;
        let given: u64 = report.steps.iter().map(|step| step.packets_in).sum();
        if self.generate.is_some() && given + report.undelivered == 0 {
            let message = "nothing can be generated: no revision has an interface with a port and an address";
            let help = "frames come from hosts in the subnets of such interfaces; without --generate, the revisions alone are checked";
            return Err(Failure::new(Code::WrongArguments, message).help(help));
        }
        if let Some(junit) = &self.junit {
            std::fs::write(junit, rewire_replay::junit::junit(&report)).map_err(|error| {
                Failure::new(Code::Output, format!("cannot write {}: {error}", junit.display()))
            })?;
        }
        let packed = match &self.bundle {
            Some(place) if !report.passed() => {
                let mut again = self.traffic(bundle.as_ref())?;
                let packing = Packing {
                    history: &history,
                    first,
                    options: &options,
                    traffic: again.as_mut(),
                    expected: self.expectations(bundle.as_ref())?,
                    report: &report,
                    rewire: env!("CARGO_PKG_VERSION"),
                    limits: Limits::default(),
                };
                Some(Packed::of(place, &bundle::pack(packing, place)?))
            }
            _ => None,
        };
        let summary = Summary::of(&report).with(bundle.as_ref().map(|bundle| Replayed::of(bundle, &report)), packed);
        told(&report, summary, self.bundle.is_some(), context)
    }

    /// Opens a bundle. It says by itself how it is replayed.
    fn open_bundle(&self, path: &Path) -> Result<Bundle, Failure> {
        let given = [
            ("--revision", self.revision.is_some()),
            ("--from", self.from.is_some()),
            ("--to", self.to.is_some()),
            ("--in", !self.inputs.is_empty()),
            ("--packets", !self.packets.is_empty()),
            ("--generate", self.generate.is_some()),
            ("--expect", !self.expected.is_empty()),
            ("--any-mac", self.any_mac),
            ("--pace", self.pace != Pace::Even),
            ("--check", !self.checks.is_empty()),
            ("--whole-every", self.whole_every.is_some()),
            ("--revision-time", self.revision_time.is_some()),
            ("--total-time", self.total_time.is_some()),
            ("--tables-memory", self.tables_memory.is_some()),
            ("--resident-memory", self.resident_memory.is_some()),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            let message = format!("{option} is not for a bundle: its manifest says how it is replayed");
            let help = "its parts can be replayed as you like: `rewire replay FOLDER/journal --packets FOLDER/packets.pcapng`";
            return Err(Failure::new(Code::WrongArguments, message).help(help));
        }
        Ok(Bundle::open(path)?)
    }

    /// What must leave.
    fn expectations(&self, bundle: Option<&Bundle>) -> Result<Vec<Expected>, Failure> {
        if let Some(bundle) = bundle {
            return Ok(bundle.expected()?);
        }
        let expected = self.expected.iter();
        let open = expected.map(|expected| Expected::open(&expected.interface, &expected.path));
        Ok(open.collect::<Result<_, _>>()?)
    }

    /// Where frames come from.
    fn traffic(&self, bundle: Option<&Bundle>) -> Result<Box<dyn Traffic>, Failure> {
        if let Some(bundle) = bundle {
            return Ok(Box::new(bundle.traffic()?));
        }
        if let Some(packets) = self.generate {
            return Ok(Box::new(Generator::new(GeneratorOptions {
                seed: self.seed,
                packets,
                flows: self.flows,
                rate: self.rate,
            })));
        }
        let mut captures = Captures::new();
        for input in &self.inputs {
            captures.add(Some(&input.interface), &input.path)?;
        }
        for packets in &self.packets {
            captures.add(None, packets)?;
        }
        Ok(Box::new(captures))
    }

    /// What is replayed, and the revision that it begins with.
    fn history(&self, context: &Context) -> Result<(History, u64), Failure> {
        if let Some(document) = &self.document {
            return Ok((source::of_document(document, context)?, 1));
        }
        let (from, to) = match &self.revision {
            Some(revision) => (Some(revision), Some(revision)),
            None => (self.from.as_ref(), self.to.as_ref()),
        };
        match &self.file {
            Some(file) => source::of_file(file, from, to),
            None => source::of_store(&context.open()?, from, to),
        }
    }

    fn options(&self) -> Options {
        let checks: Checks = match self.checks.is_empty() {
            true => check::all(),
            false => self.checks.iter().copied().collect(),
        };
        let mebibytes = |number: u64| number << 20;
        Options {
            pace: self.pace,
            any_mac: self.any_mac,
            checks,
            probes: Some(probes::failing),
            whole_every: self.whole_every,
            revision_time: self.revision_time,
            total_time: self.total_time,
            tables_memory: self.tables_memory.map(mebibytes),
            resident_memory: self.resident_memory.map(mebibytes),
            ..Options::default()
        }
    }

    /// A capture is never written over one that is read, nor two into one file.
    fn refuse_overwriting(&self) -> Result<(), Failure> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let read = self.inputs.iter().chain(&self.expected).map(|capture| &capture.path);
        let read: Vec<&PathBuf> = read.chain(&self.packets).chain(&self.file).chain(&self.document).collect();
        for (index, output) in self.outputs.iter().enumerate() {
            let before = &self.outputs[..index];
            if before.iter().any(|other| other.interface == output.interface) {
                let message = format!("--out names the interface {} twice", output.interface);
                return Err(Failure::new(Code::WrongArguments, message));
            }
            let path = real(&output.path);
            let mut others = before.iter().map(|other| &other.path).chain(read.iter().copied());
            if others.any(|other| real(other) == path) {
                let message = format!("--out would write over {}, which is named twice", output.path.display());
                return Err(Failure::new(Code::WrongArguments, message));
            }
        }
        Ok(())
    }
}

/// The report, or what failed.
fn told(report: &Report, summary: Summary, is_packed: bool, context: &Context) -> Result<Answer, Failure> {
    if report.passed() {
        return Ok(context.shown(|_| summary.render(), || json!(summary)));
    }
    let mut text = String::new();
    for failure in &report.failures {
        text.push_str(&format!("{}\n", failed(failure)));
        for line in &failure.details {
            text.push_str(&format!("    {}\n", terminal::clean(line)));
        }
    }
    if !context.json {
        terminal::print(&format!("{}\n{text}\n", summary.render()))?;
    }
    let failed: u64 = report.checks.iter().map(|checked| checked.failed).sum();
    let bad = report.checks.iter().filter(|checked| checked.failed > 0);
    let (code, whose) = match bad.clone().any(|checked| checked.check.is_of_ours()) {
        true => (Code::Fault, ": this is a fault of rewire"),
        false => (Code::CheckFailed, ""),
    };
    let names: Vec<&str> = bad.map(|checked| checked.check.name()).collect();
    let message = format!("{failed} of the checks failed, of {}{whose}", names.join(", "));
    let failure = Failure::new(code, message).detail("report", json!(summary));
    Err(match is_packed || summary.is_of_bundle() {
        true => failure,
        false => failure.help("`--bundle FOLDER` packs up what it takes to see this again, elsewhere"),
    })
}
