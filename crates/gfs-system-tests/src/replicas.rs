//! Replicas as they lie on a server's disk, read past the server.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use gfs_chunkserver::store::{Header, SLOT, Slot};

use crate::content::Content;

/// A chunk file with its header.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: Header,
}

impl Replica {
    /// All replicas in a server's data directory, by path. Files that vanish meanwhile, or have no
    /// header yet, are left out: nothing was acknowledged of those.
    ///
    /// # Errors
    /// Where a directory cannot be read, or a file has no valid header.
    pub fn all(data: &Path, chunk_size: u32) -> anyhow::Result<Vec<Self>> {
        let mut found = Vec::new();
        let chunks = data.join("chunks");
        for shard in
            fs::read_dir(&chunks).with_context(|| format!("reading {}", chunks.display()))?
        {
            for entry in fs::read_dir(shard?.path())? {
                let path = entry?.path();
                if path.extension().is_none_or(|extension| extension != "chunk") {
                    continue;
                }
                match File::open(&path) {
                    Ok(file) => {
                        found.push(Self { header: header(&file, chunk_size, &path)?, path })
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error).context(path.display().to_string()),
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The replica of one chunk, if there is one.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn of(data: &Path, handle: u64, chunk_size: u32) -> anyhow::Result<Option<Self>> {
        let path = Self::path(data, handle);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { header: header(&file, chunk_size, &path)?, path })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(path.display().to_string()),
        }
    }

    /// Where the chunk's file is.
    #[must_use]
    pub fn path(data: &Path, handle: u64) -> PathBuf {
        data.join(format!("chunks/{:02x}/{handle:016x}.chunk", handle & 0xff))
    }

    /// The bytes that its header counts.
    ///
    /// # Errors
    /// Where the file is shorter, or cannot be read.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; self.header.content.length as usize];
        File::open(&self.path)?
            .read_exact_at(&mut bytes, 0)
            .with_context(|| format!("{} has fewer bytes than it says", self.path.display()))?;
        Ok(bytes)
    }

    /// Compares it with what it should be: `content`, as far as it goes, and at least `least` bytes
    /// of it.
    ///
    /// # Errors
    /// Where it is not.
    pub fn check(&self, content: Content, least: u64) -> anyhow::Result<()> {
        let bytes = self.bytes()?;
        let start = self.header.place.chunk_start;
        if let Some(place) = content.differs(start, &bytes) {
            bail!("{} differs from byte {place} of the file on", self.path.display());
        }
        ensure!(
            bytes.len() as u64 >= least,
            "{} has {} bytes, {least} were acknowledged: {:?}",
            self.path.display(),
            bytes.len(),
            self.header
        );
        Ok(())
    }
}

/// The newer of the valid header slots.
fn header(file: &File, chunk_size: u32, path: &Path) -> anyhow::Result<Header> {
    let mut newest: Option<Header> = None;
    for slot in 0..2 {
        let mut bytes = vec![0; SLOT as usize];
        // A file that is just being made ends before.
        if file.read_exact_at(&mut bytes, u64::from(chunk_size) + slot * SLOT).is_err() {
            continue;
        }
        if let Slot::Valid { header, .. } = Header::decode(&bytes)
            && newest.as_ref().is_none_or(|newest| newest.generation < header.generation)
        {
            newest = Some(*header);
        }
    }
    newest.with_context(|| format!("{} has no valid header", path.display()))
}
