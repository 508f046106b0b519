//! A bundle on its way: written beside its place, and moved there when it is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::BundleError;
use super::manifest::{FileDigest, MANIFEST, Manifest, READ_ME};

/// What is said to whoever finds a bundle.
const ABOUT: &str = "\
This is a bundle of rewire: everything that it takes to replay something again, without the gateway that it comes from.

    rewire replay THIS-FOLDER

manifest.json says how it is replayed, and what failed. journal has the configuration and its history (`rewire journal import`),
packets.pcapng the frames that came in (Wireshark, tshark), routes.jsonl, where it is there, what routing daemons said,
and connections the connections that there were before, in the gateway's own form. Keep it as you keep those.
";

/// A folder that is being filled. Dropped before it is finished, it goes.
pub(super) struct Draft {
    /// Where it will be.
    place: PathBuf,
    /// Where it is.
    pub(super) folder: PathBuf,
    pub(super) files: BTreeMap<String, FileDigest>,
    is_finished: bool,
}

/// Where a bundle is written before it is whole.
fn beside(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Nothing is where a bundle is to be.
///
/// # Errors
///
/// [`BundleError::Exists`].
pub fn expect_free(place: &Path) -> Result<(), BundleError> {
    match fs::symlink_metadata(place) {
        Ok(_) => Err(BundleError::Exists {
            path: place.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

impl Draft {
    /// Begins one. What an earlier one has left half done goes.
    pub(super) fn begin(place: &Path) -> Result<Draft, BundleError> {
        expect_free(place)?;
        let folder = beside(place);
        if folder.join(READ_ME).exists() {
            let _ = fs::remove_dir_all(&folder);
        }
        let draft = Draft {
            place: place.to_owned(),
            folder,
            files: BTreeMap::new(),
            is_finished: false,
        };
        fs::create_dir(&draft.folder).map_err(|source| draft.failed("", source))?;
        let mut draft = draft;
        draft.add(READ_ME, |sink| sink.write_all(ABOUT.as_bytes()))?;
        Ok(draft)
    }

    pub(super) fn failed(&self, name: &str, source: io::Error) -> BundleError {
        BundleError::Write {
            path: self.folder.join(name),
            source,
        }
    }

    /// Writes one file.
    pub(super) fn add(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Digested) -> io::Result<()>,
    ) -> Result<(), BundleError> {
        let written = (|| {
            let mut sink = self.open(name)?;
            write(&mut sink)?;
            sink.finish()
        })();
        let digest = written.map_err(|source| self.failed(name, source))?;
        self.files.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Begins a file, which whoever writes it adds to the others.
    pub(super) fn open(&self, name: &str) -> io::Result<Digested> {
        let file = File::create_new(self.folder.join(name))?;
        Ok(Digested::new(BufWriter::new(file)))
    }

    /// Writes the manifest, and moves all of it to its place.
    pub(super) fn finish(mut self, manifest: &Manifest) -> Result<(), BundleError> {
        let text = serde_json::to_string_pretty(manifest).map_err(io::Error::from);
        let written = text.and_then(|text| fs::write(self.folder.join(MANIFEST), text + "\n"));
        written.map_err(|source| self.failed(MANIFEST, source))?;
        expect_free(&self.place)?;
        let moved = fs::rename(&self.folder, &self.place);
        moved.map_err(|source| BundleError::Write {
            path: self.place.clone(),
            source,
        })?;
        self.is_finished = true;
        Ok(())
    }
}

/// A file that is being written, and its digest so far.
pub(super) struct Digested {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Digested {
    fn new(file: BufWriter<File>) -> Digested {
        Digested {
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    pub(super) fn finish(mut self) -> io::Result<FileDigest> {
        self.file.flush()?;
        Ok(FileDigest {
            bytes: self.bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            // Half a bundle is none.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
