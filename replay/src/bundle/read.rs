//! A bundle that is there: opened, held against its manifest, and replayed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::BundleError;
use super::manifest::{
    CONNECTIONS, FORMAT, FileDigest, JOURNAL, MANIFEST, Manifest, PACKETS, ROUTES, Settings,
};
use super::routes;
use crate::capture::Captures;
use crate::compared::LeftFrames;
use crate::expected::Expected;
use crate::heard::HeardRoute;
use crate::history::History;
use crate::options::Options;

/// The most workers of a gateway, by far.
const MOST_WORKERS: u16 = 1024;
/// The longest manifest that is read, in bytes.
const LONGEST_MANIFEST: u64 = 256 << 20;

/// A bundle, whole and as it was made.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The revisions that are replayed.
    pub history: History,
    /// What routing daemons say to the gateway.
    heard: Arc<[HeardRoute]>,
    /// The connections that there are from the beginning.
    connections: Arc<[u8]>,
}

/// Whether there is a folder here: then it is meant to be a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.is_dir()
}

impl Bundle {
    /// Opens a bundle. Every file is read and held against its digest. Cost: the files.
    ///
    /// # Errors
    ///
    /// [`BundleError`]: it is none, of another version, not whole, or not as it was made.
    pub fn open(folder: &Path) -> Result<Bundle, BundleError> {
        let manifest = read_manifest(folder)?;
        for (name, digest) in &manifest.files {
            expect_as_made(&folder.join(name), digest)?;
        }
        Bundle::draft(folder, manifest)
    }

    /// One that has just been written, whose manifest is not there yet.
    pub(super) fn draft(folder: &Path, manifest: Manifest) -> Result<Bundle, BundleError> {
        let history = Bundle::history_in(folder, &manifest)?;
        let heard = match manifest.files.contains_key(ROUTES) {
            true => routes::read(&folder.join(ROUTES))?.into(),
            false => Arc::default(),
        };
        let connections = match manifest.files.contains_key(CONNECTIONS) {
            true => {
                let path = folder.join(CONNECTIONS);
                let read = std::fs::read(&path);
                read.map_err(|source| BundleError::Read { path, source })?
            }
            false => Vec::new(),
        };
        Ok(Bundle {
            folder: folder.to_owned(),
            manifest,
            history,
            heard,
            connections: connections.into(),
        })
    }

    fn history_in(folder: &Path, manifest: &Manifest) -> Result<History, BundleError> {
        let path = folder.join(JOURNAL);
        let file = open(&path)?;
        let wrong = |source| BundleError::Journal {
            path: path.clone(),
            source,
        };
        let history = History::read(BufReader::new(file)).map_err(wrong)?;
        let range = manifest.revisions;
        history.between(range.first, range.last).map_err(wrong)
    }

    /// How it is replayed. Probes are the caller's to add.
    pub fn options(&self) -> Options {
        let Manifest {
            schedule,
            beginning_ns,
            settings,
            ..
        } = &self.manifest;
        let schedule = schedule.iter().map(|one| (one.revision, one.when));
        Options {
            schedule: schedule.collect(),
            beginning: Some(*beginning_ns),
            neighbors: self.manifest.neighbors.clone(),
            heard: Arc::clone(&self.heard),
            connections: Arc::clone(&self.connections),
            ..settings.options()
        }
    }

    /// The frames that come in.
    ///
    /// # Errors
    ///
    /// [`BundleError::Capture`].
    pub fn traffic(&self) -> Result<Captures, BundleError> {
        let mut captures = Captures::new();
        captures.add_padded(&self.folder.join(PACKETS))?;
        Ok(captures)
    }

    /// The frames that left the gateway while it was recorded; none where it was not, or not every frame was.
    ///
    /// # Errors
    ///
    /// [`BundleError::Capture`].
    pub fn recorded(&self) -> Result<Option<LeftFrames>, BundleError> {
        let recording = self.manifest.recording.as_ref();
        let Some(recording) = recording.filter(|recording| recording.is_whole()) else {
            return Ok(None);
        };
        Ok(Some(LeftFrames::read(
            &self.folder.join(PACKETS),
            recording.snap,
        )?))
    }

    /// The frames that must leave, by each interface of which that is known.
    ///
    /// # Errors
    ///
    /// [`BundleError::Capture`].
    pub fn expected(&self) -> Result<Vec<Expected>, BundleError> {
        let files = self.manifest.expected.iter();
        let open = files.map(|one| Expected::open(&one.interface, &self.folder.join(&one.file)));
        Ok(open.collect::<Result<_, _>>()?)
    }
}

impl Settings {
    /// What of the options is the same in every replay of a bundle.
    pub(super) fn of(options: &Options) -> Settings {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Settings {
            any_mac: options.any_mac,
            checks: options.checks.iter().copied().collect(),
            burst: options.burst,
            workers: options.workers,
            hash_seed: format!("{:016x}", options.hash_seed),
            whole_every: options.whole_every,
            revision_time_ns: options.revision_time.map(nanoseconds),
            total_time_ns: options.total_time.map(nanoseconds),
            tables_memory: options.tables_memory,
            resident_memory: options.resident_memory,
        }
    }

    fn options(&self) -> Options {
        Options {
            any_mac: self.any_mac,
            checks: self.checks.iter().copied().collect(),
            burst: self.burst.clamp(1, crate::options::MOST_IN_A_BURST),
            workers: self.workers.clamp(1, MOST_WORKERS),
            hash_seed: u64::from_str_radix(&self.hash_seed, 16).unwrap_or(0),
            whole_every: self.whole_every,
            revision_time: self.revision_time_ns.map(Duration::from_nanos),
            total_time: self.total_time_ns.map(Duration::from_nanos),
            tables_memory: self.tables_memory,
            resident_memory: self.resident_memory,
            ..Options::default()
        }
    }
}

fn open(path: &Path) -> Result<File, BundleError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => BundleError::Missing {
            path: path.to_owned(),
        },
        _ => BundleError::Read {
            path: path.to_owned(),
            source,
        },
    })
}

fn read_manifest(folder: &Path) -> Result<Manifest, BundleError> {
    let path = folder.join(MANIFEST);
    let mut text = String::new();
    let read =
        File::open(&path).and_then(|file| file.take(LONGEST_MANIFEST).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let path = folder.to_owned();
            return Err(BundleError::NoManifest { path });
        }
        Err(source) => return Err(BundleError::Read { path, source }),
    }
    let wrong = |why: String| BundleError::Manifest {
        path: path.clone(),
        why,
    };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    let found = format.ok_or_else(|| wrong("it has no format".to_owned()))?;
    if found == 0 || found > FORMAT.into() {
        let ours = FORMAT;
        return Err(BundleError::Format { path, found, ours });
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    let expected = manifest.expected.iter().map(|one| one.file.as_str());
    let names: BTreeSet<&str> = manifest.files.keys().map(String::as_str).collect();
    for name in [JOURNAL, PACKETS].into_iter().chain(expected) {
        if !names.contains(name) {
            return Err(wrong(format!("it does not say what \"{name}\" is")));
        }
    }
    // What a bundle names is in it, and nowhere else.
    let is_plain = |name: &&str| {
        let mut parts = Path::new(name).components();
        matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        )
    };
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        return Err(wrong(format!("\"{name}\" is no name of a file in it")));
    }
    Ok(manifest)
}

/// A file is the one that the bundle was made with.
fn expect_as_made(path: &Path, digest: &FileDigest) -> Result<(), BundleError> {
    let mut file = open(path)?;
    let failed = |source| BundleError::Read {
        path: path.to_owned(),
        source,
    };
    let found = file.metadata().map_err(failed)?.len();
    if found != digest.bytes {
        return Err(BundleError::Length {
            path: path.to_owned(),
            expected: digest.bytes,
            found,
        });
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(failed(source)),
        }
    }
    let found = hasher.finalize().to_hex().to_string();
    match found == digest.blake3 {
        true => Ok(()),
        false => Err(BundleError::Altered {
            path: path.to_owned(),
            expected: digest.blake3.clone(),
            found,
        }),
    }
}
