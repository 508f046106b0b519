//! Why a bundle cannot be used, or not be made.

use std::path::PathBuf;

use crate::capture::CaptureError;
use crate::error::ReplayError;
use crate::history::HistoryError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something is there already.
    #[error("{} is there already", .path.display())]
    Exists {
        /// Where the bundle was to be.
        path: PathBuf,
    },
    /// The folder is no bundle.
    #[error("{} is no bundle: it has no manifest.json", .path.display())]
    NoManifest {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest cannot be read.
    #[error("{} is not the manifest of a bundle: {why}", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The bundle is of a version that this program does not know.
    #[error("{} is of format {found}; this program reads formats up to {ours}", .path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The last one that is read here.
        ours: u32,
    },
    /// A file that the manifest names is not there.
    #[error("{} is missing from the bundle", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is shorter or longer than when the bundle was made.
    #[error("{} has {found} bytes, and had {expected} when the bundle was made", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length by the manifest, in bytes.
        expected: u64,
        /// Its length now.
        found: u64,
    },
    /// A file is not the one that the bundle was made with.
    #[error("{} was changed since the bundle was made: its digest is {found} and not {expected}", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// The digest by the manifest.
        expected: String,
        /// Its digest now.
        found: String,
    },
    /// A line of a file of JSON lines cannot be read.
    #[error("{}, line {line}: {why}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// There are more frames than a bundle is made of.
    #[error(
        "more than {most} bytes of frames come before the failure: no bundle is made of so many"
    )]
    TooLarge {
        /// The most that are packed up.
        most: usize,
    },
    /// The journal of the bundle cannot be used.
    #[error("{}: {source}", .path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        source: HistoryError,
    },
    /// The history cannot be cut.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A capture cannot be read or written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The replay of the bundle cannot go on.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}
