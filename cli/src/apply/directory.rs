//! The documents of a directory, read at one moment.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rewire_schema::source::LARGEST_DOCUMENT;

use crate::document;
use crate::failure::{Code, Failure};

/// How a document's name ends.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The most documents that are read as one configuration.
const MOST_DOCUMENTS: usize = 100_000;
/// How deep directories may stand in each other.
const DEEPEST: usize = 32;

/// Documents with their names, in the order of the names.
pub(crate) struct Documents {
    files: Vec<(String, Vec<u8>)>,
    digest: blake3::Hash,
}

impl Documents {
    fn new(files: Vec<(String, Vec<u8>)>) -> Documents {
        let mut hasher = blake3::Hasher::new();
        for (name, bytes) in &files {
            for part in [name.as_bytes(), bytes] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        let digest = hasher.finalize();
        Documents { files, digest }
    }

    /// Tells these documents from all others: their names and what they say.
    pub(crate) fn digest(&self) -> blake3::Hash {
        self.digest
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    /// The names, and what they say.
    pub(crate) fn into_files(self) -> Vec<(String, Vec<u8>)> {
        self.files
    }
}

/// Whether a file of this name is a document: its name ends like one, and it is not hidden. The files that editors and
/// writers keep beside the one that they write have other names.
pub(crate) fn is_document(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    !is_hidden(name) && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Reads a document, or all documents of a directory and those below it. Hidden directories, such as `.git`, are left out,
/// and links to directories.
///
/// # Errors
///
/// What cannot be read; a directory without documents; too many of them, or too much in them.
pub(crate) fn read(place: &Path) -> Result<Documents, Failure> {
    let is_directory = fs::metadata(place).is_ok_and(|found| found.is_dir());
    let paths = match is_directory {
        true => list(place).map_err(|(path, error)| unreadable(&path, &error))?,
        false => vec![place.to_owned()],
    };
    if paths.is_empty() {
        let message = format!("{} has no documents", place.display());
        return Err(Failure::new(Code::UnreadableFile, message).help(
            "documents end in .yaml, .yml or .json; an empty configuration is one that says {}",
        ));
    }
    if paths.len() > MOST_DOCUMENTS {
        let message = format!(
            "{} has more than {MOST_DOCUMENTS} documents",
            place.display()
        );
        return Err(Failure::new(Code::BadDocument, message));
    }
    let mut files = Vec::new();
    let mut length = 0;
    for path in paths {
        let bytes = document::read(&path)?;
        length += bytes.len();
        if length > LARGEST_DOCUMENT {
            let message = format!(
                "the documents in {} have more than {LARGEST_DOCUMENT} bytes together",
                place.display()
            );
            return Err(Failure::new(Code::BadDocument, message));
        }
        files.push((document::name(&path), bytes));
    }
    Ok(Documents::new(files))
}

/// Reads like [`read`], twice: none where something changed meanwhile.
///
/// # Errors
///
/// Those of [`read`], where they come twice.
pub(crate) fn read_settled(place: &Path) -> Result<Option<Documents>, Failure> {
    match (read(place), read(place)) {
        (Ok(once), Ok(twice)) if once.digest == twice.digest => Ok(Some(twice)),
        (Err(_), Err(failure)) => Err(failure),
        _ => Ok(None),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot read {}: {error}", path.display());
    Failure::new(Code::UnreadableFile, message)
}

/// The documents below a directory, in the order of their names.
fn list(directory: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let failed = |error| (directory.clone(), error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().map_err(|error| (path.clone(), error))?;
            if kind.is_dir() && !is_hidden(&name) {
                if depth == DEEPEST {
                    let error = format!("directories stand in each other more than {DEEPEST} deep");
                    return Err((path, io::Error::new(ErrorKind::InvalidInput, error)));
                }
                open.push((path, depth + 1));
            } else if is_document(&name) && (kind.is_file() || leads_to_a_file(&path)) {
                found.push(path);
            }
        }
        if found.len() > MOST_DOCUMENTS {
            break;
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a link leads to a file. One that leads nowhere is taken for one that does, and is an error when it is read.
fn leads_to_a_file(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_keep_beside_a_document_is_none() {
        for name in ["a.yaml", "b.yml", "c.json", "a.b.yaml"] {
            assert!(is_document(OsStr::new(name)), "{name}");
        }
        for name in [
            ".a.yaml.swp",
            ".a.yaml",
            "a.yaml~",
            "#a.yaml#",
            ".#a.yaml",
            "4913",
            "a.yaml.tmp",
            "yaml",
            ".yaml",
            "a.YAML.bak",
        ] {
            assert!(!is_document(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn documents_are_those_below_the_directory_but_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for directory in ["conf/site/lab", "conf/.git", "conf/empty.yaml"] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        for name in [
            "conf/z.yaml",
            "conf/site/b.json",
            "conf/site/lab/c.yml",
            "conf/.git/d.yaml",
            "conf/README",
            "real",
        ] {
            fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink(path("real"), path("conf/link.yaml")).unwrap();
        std::os::unix::fs::symlink(path("conf"), path("conf/round")).unwrap();
        let documents = read_settled(&path("conf")).unwrap().unwrap();
        let (digest, count) = (documents.digest(), documents.count());
        assert_eq!(count, 4);
        let names: Vec<String> = documents
            .into_files()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "conf/link.yaml",
            "conf/site/b.json",
            "conf/site/lab/c.yml",
            "conf/z.yaml",
        ];
        assert_eq!(names, expected.map(|name| path(name).display().to_string()));
        // What a document says, and what it is called, both count.
        fs::rename(path("conf/z.yaml"), path("conf/zz.yaml")).unwrap();
        assert_ne!(read(&path("conf")).unwrap().digest(), digest);
    }

    #[test]
    fn a_directory_without_documents_is_no_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let failure = read(folder.path()).err().unwrap();
        assert!(failure.render(false).contains("has no documents"));
    }
}
