//! The file under the store, and the lock on its directory.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, fstatvfs};

use super::FILE_NAME;
use super::format::HEADER_BYTES;
use crate::StoreError;

/// What the store needs of a file; tests put faults here.
pub(crate) trait StoreFile: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads all of `out`, or fails.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data`, or fails.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts or extends it; what is new reads as zero.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Returns when everything written is on the disk.
    fn sync(&self) -> io::Result<()>;
    /// Bytes it occupies on the device.
    fn allocated(&self) -> io::Result<u64>;
    /// Bytes free on its device for us.
    fn available(&self) -> io::Result<u64>;
    /// Lets others open the store. Nothing is written through this any more.
    fn release(&self);
}

/// A real file. Its directory is locked until this is released or gone.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    locked_directory: File,
}

impl DiskFile {
    /// Opens the store's file in `directory`, locking the directory, which is created when missing.
    ///
    /// A file that is not there is created empty under another name: [`Draft::publish`] gives it
    /// its name once it is a valid store, so that a crash never leaves half of one.
    pub(crate) fn open_or_create(
        directory: &Path,
    ) -> Result<(Arc<Self>, Option<Draft>), StoreError> {
        create_directory(directory)?;
        let locked = lock(directory)?;
        let path = directory.join(FILE_NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match options.open(&path) {
            Ok(file) => Ok((Arc::new(Self { file, locked_directory: locked }), None)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let draft = directory.join(format!("{FILE_NAME}.new"));
                // A draft that is there already was abandoned in a crash.
                let file = options
                    .create(true)
                    .truncate(true)
                    .open(&draft)
                    .map_err(|e| failed("creating", &draft, e))?;
                let file = Arc::new(Self { file, locked_directory: locked });
                Ok((file, Some(Draft { draft, path, directory: directory.to_owned() })))
            }
            Err(e) => Err(failed("opening", &path, e)),
        }
    }
}

/// How a new file gets its name.
#[derive(Debug)]
pub(crate) struct Draft {
    draft: PathBuf,
    path: PathBuf,
    directory: PathBuf,
}

impl Draft {
    /// Gives the (synced) file its name, durably.
    pub(crate) fn publish(self) -> Result<(), StoreError> {
        std::fs::rename(&self.draft, &self.path).map_err(|e| failed("naming", &self.path, e))?;
        sync_directory(&self.directory)
    }
}

impl StoreFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocated(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.file.metadata()?.blocks().saturating_mul(512).max(HEADER_BYTES))
    }

    fn available(&self) -> io::Result<u64> {
        let device = fstatvfs(&self.file)?;
        Ok(device.f_bavail.saturating_mul(device.f_frsize))
    }

    fn release(&self) {
        // Fails for no lock that we hold; the lock ends with the file at the latest.
        let _ = flock(&self.locked_directory, FlockOperation::Unlock);
    }
}

/// Creates a directory and what is missing above it, durably.
fn create_directory(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => directory,
    };
    if parent != directory {
        create_directory(parent)?;
    }
    match std::fs::create_dir(directory) {
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(e) => Err(failed("creating the directory", directory, e)),
        Ok(()) => sync_directory(parent),
    }
}

/// Locks the directory against other openers, in this process or another; released with the file.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let file = File::open(directory).map_err(|e| failed("opening", directory, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse { path: directory.to_owned() }),
        Err(e) => Err(failed("locking", directory, e.into())),
    }
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| failed("syncing the directory", directory, e))
}

/// An I/O error with what was being done to which file.
pub(crate) fn failed(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { context: format!("{doing} {}", path.display()), source }
}
