//! The demo's input: real files that every machine which built this has.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

/// What must be there.
const LEAST_BYTES: u64 = 500_000_000;
const LEAST_FILES: usize = 2_000;
/// One file of three chunks, or more.
const LARGE: u64 = 128 << 20;
/// What is taken beyond that.
const SMALL: u64 = 256 << 10;
const SMALL_FILES: usize = 2_000;

/// A file's content, by its SHA-256.
pub type Fingerprint = [u8; 32];

/// A file of the input.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// Where it lies.
    pub source: PathBuf,
    /// Its path in the tree that is stored, relative.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its content.
    pub fingerprint: Fingerprint,
}

/// A tree of files. Their order does not depend on the file system.
#[derive(Debug)]
pub struct Corpus {
    /// The files, in the order of their names.
    pub files: Vec<InputFile>,
    /// All directories they lie in, parents before children.
    pub directories: Vec<String>,
}

impl Corpus {
    /// Chooses from the Rust toolchain and the sources of the crates that cargo fetched: the largest
    /// file, thousands of small ones, and of the rest as many as make 500 MB.
    ///
    /// # Errors
    /// Where there is not enough.
    pub fn choose() -> anyhow::Result<Self> {
        let toolchain = sysroot()?;
        let crates = cargo_home()?.join("registry/src");
        let mut found = Vec::new();
        collect(&toolchain.join("bin"), "toolchain/bin", &mut found)?;
        collect(&toolchain.join("lib"), "toolchain/lib", &mut found)?;
        if crates.is_dir() {
            collect(&crates, "crates", &mut found)?;
        }
        let chosen = select(found);
        let bytes: u64 = chosen.iter().map(|file| file.bytes).sum();
        ensure!(
            bytes >= LEAST_BYTES && chosen.len() >= LEAST_FILES,
            "too little input: {} files of {} MB in {} and {}",
            chosen.len(),
            bytes / 1_000_000,
            toolchain.display(),
            crates.display()
        );
        ensure!(
            chosen.iter().any(|file| file.bytes > LARGE),
            "no file over {} MiB in {}",
            LARGE >> 20,
            toolchain.display()
        );
        Self::read(chosen)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The largest file, of which there is always one.
    ///
    /// # Errors
    /// Where the corpus is empty.
    pub fn largest(&self) -> anyhow::Result<&InputFile> {
        self.files.iter().max_by_key(|file| file.bytes).context("the corpus is empty")
    }

    /// The largest files, up to the first one that makes it this many bytes or more.
    #[must_use]
    pub fn largest_files(&self, bytes: u64) -> Self {
        let mut by_size: Vec<&InputFile> = self.files.iter().collect();
        by_size.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let mut files = Vec::new();
        let mut taken = 0;
        for file in by_size {
            if taken >= bytes {
                break;
            }
            taken += file.bytes;
            files.push(file.clone());
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let directories = directories_of(&files);
        Self { files, directories }
    }

    /// The places of all files: of the largest one, then of the others in the order of their names.
    #[must_use]
    pub fn largest_first(&self) -> Vec<usize> {
        let largest =
            (0..self.files.len()).max_by_key(|place| self.files.get(*place).map(|file| file.bytes));
        largest.into_iter().chain((0..self.files.len()).filter(|p| Some(*p) != largest)).collect()
    }

    fn read(chosen: Vec<Candidate>) -> anyhow::Result<Self> {
        let mut files = Vec::with_capacity(chosen.len());
        for Candidate { source, name, .. } in chosen {
            let (bytes, fingerprint) = fingerprint(&source)?;
            files.push(InputFile { source, name, bytes, fingerprint });
        }
        let directories = directories_of(&files);
        Ok(Self { files, directories })
    }
}

/// All directories the files lie in, parents before children.
fn directories_of(files: &[InputFile]) -> Vec<String> {
    let mut directories: Vec<String> = Vec::new();
    for file in files {
        for (end, _) in file.name.match_indices('/') {
            directories.push(file.name.chars().take(end).collect());
        }
    }
    directories.sort();
    directories.dedup();
    directories
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    source: PathBuf,
    name: String,
    bytes: u64,
}

/// The largest one, then small ones, then any, each in the order of their names, until there is
/// enough.
fn select(mut found: Vec<Candidate>) -> Vec<Candidate> {
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let largest = found.iter().map(|file| file.bytes).max().unwrap_or(0);
    let place = found.iter().position(|file| file.bytes == largest);
    let mut chosen: Vec<Candidate> = place.map(|place| found.remove(place)).into_iter().collect();
    let (small, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|file| file.bytes <= SMALL);
    chosen.extend(small.into_iter().take(SMALL_FILES));
    let mut bytes: u64 = chosen.iter().map(|file| file.bytes).sum();
    for file in rest {
        if bytes >= LEAST_BYTES {
            break;
        }
        bytes += file.bytes;
        chosen.push(file);
    }
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    chosen
}

/// Regular files below `directory`; links and names that are not UTF-8 are passed over.
fn collect(directory: &Path, name: &str, found: &mut Vec<Candidate>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(child) = file_name.to_str().map(|child| format!("{name}/{child}")) else {
            continue;
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &child, found)?;
        } else if kind.is_file() {
            let bytes = entry.metadata()?.len();
            found.push(Candidate { source: entry.path(), name: child, bytes });
        }
    }
    Ok(())
}

/// A file's length and SHA-256.
///
/// # Errors
/// Where it cannot be read.
pub fn fingerprint(path: &Path) -> anyhow::Result<(u64, Fingerprint)> {
    let read = || -> io::Result<(u64, Fingerprint)> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0_u64;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok((bytes, hash.finalize().into()));
            }
            hash.update(buffer.get(..count).unwrap_or_default());
            bytes += count as u64;
        }
    };
    read().with_context(|| format!("reading {}", path.display()))
}

fn sysroot() -> anyhow::Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("asking rustc where the toolchain lies")?;
    ensure!(output.status.success(), "rustc --print sysroot: {}", output.status);
    let path = String::from_utf8(output.stdout).context("the toolchain's path")?;
    Ok(PathBuf::from(path.trim()))
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    home("CARGO_HOME")
        .or_else(|| home("HOME").map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64) -> Candidate {
        Candidate { source: name.into(), name: name.to_owned(), bytes }
    }

    #[test]
    fn selection_takes_the_largest_then_small_ones_then_what_is_missing() {
        let mut found = vec![file("z", 200 << 20)];
        found.extend((0..5_000).map(|n| file(&format!("s/{n:04}"), 10)));
        found.extend((0..9).map(|n| file(&format!("m/{n}"), 100 << 20)));
        let chosen = select(found.clone());
        found.reverse();
        assert_eq!(chosen, select(found), "the order found in does not matter");
        assert_eq!(chosen.iter().filter(|f| f.name.starts_with("s/")).count(), SMALL_FILES);
        assert_eq!(chosen.iter().filter(|f| f.name.starts_with("m/")).count(), 3);
        assert!(chosen.iter().any(|f| f.name == "z"));
    }

    #[test]
    fn a_tree_is_read_with_its_directories_and_contents() {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir_all(root.path().join("a/b")).expect("made");
        fs::write(root.path().join("a/b/c"), "hello").expect("written");
        fs::write(root.path().join("d"), "").expect("written");
        let mut found = Vec::new();
        collect(root.path(), "x", &mut found).expect("collected");
        let corpus = Corpus::read(select(found)).expect("read");
        assert_eq!(corpus.directories, ["x", "x/a", "x/a/b"]);
        let names: Vec<_> = corpus.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["x/a/b/c", "x/d"]);
        assert_eq!(corpus.bytes(), 5);
        let hash: Fingerprint = Sha256::digest(b"hello").into();
        assert_eq!(corpus.files.first().expect("a file").fingerprint, hash);
    }
}
