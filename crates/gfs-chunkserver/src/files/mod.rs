//! The file operations that the chunk store is built on, as a trait, so that the same store runs
//! over the operating system's files ([`OsFiles`]) and over a model disk that fails as real disks
//! and kernels do ([`FaultyFiles`]); [`WitnessFiles`] watch either for acknowledgements that come
//! before the syncs they need.
//!
//! All calls block, but for [`ChunkFile::read_cached`]. None may be made while a lock is held that
//! more than one chunk needs.

mod aged;
mod faulty;
mod model;
mod os;
mod witness;

pub(crate) use aged::AgedFiles;
pub use faulty::{Fault, FaultyFiles, Hook, Moment, Operation, OperationKind, Rule, killed};
pub use os::OsFiles;
pub use witness::{When, WitnessFiles};

use bytes::Bytes;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Space of the file system that holds a volume, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Size of the file system.
    pub total: u64,
    /// What an unprivileged process can still allocate.
    pub free: u64,
}

impl Capacity {
    /// Used space in percent, rounded up; an empty file system counts as full.
    #[must_use]
    pub fn used_percent(self) -> u64 {
        let used = u128::from(self.total.saturating_sub(self.free));
        match self.total {
            0 => 100,
            total => (used * 100).div_ceil(u128::from(total)) as u64,
        }
    }
}

/// What tells a file from another one of its name, and from itself before something was written to
/// it: as git's index does. Names, owners and modes may change without it, and so may a file within
/// one tick of the file system's clock (milliseconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The file's number in its file system.
    pub inode: u64,
    /// Its length in bytes.
    pub length: u64,
    /// When it was last written to: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name. One that is not UTF-8 is shown with replacement characters: no file of ours.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Holds an exclusive lock for as long as it lives.
pub trait DirLock: Send + Sync + Debug {}

/// A directory tree of files, as the chunk store needs it. Errors carry the operating system's
/// error number where there is one ([`io::Error::raw_os_error`]).
pub trait ChunkFiles: Send + Sync + Debug {
    /// Opens an existing file for reading and writing; for reading alone where the file system is
    /// read-only (writes then fail with `EROFS`).
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>>;

    /// Creates a file, which must not exist.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>>;

    /// Renames a file. An existing target is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name, without `.` and `..`.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a directory, which must not exist; its parent must.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes everything durable that was written to the file system that holds `dir`, files and
    /// names, and whoever wrote it (`syncfs`). Kernels before 5.8 do not tell here of data that
    /// could not be written: [`ChunkFile::write_back`] does.
    fn sync_file_system(&self, dir: &Path) -> io::Result<()>;

    /// Locks a directory against every other process and every other holder in this one, without
    /// touching what is in it. `EWOULDBLOCK` when it is taken.
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;

    /// The stamp of a file, which is not opened for that.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;

    /// Space of the file system that holds `path`.
    fn capacity(&self, path: &Path) -> io::Result<Capacity>;
}

/// An open file. Offsets and lengths are in bytes.
pub trait ChunkFile: Send + Sync + Debug {
    /// Writes all of `pieces`, one after the other, at `offset`, in as few calls as the system
    /// allows. On an error any part of the range may have been written.
    fn write_pieces(&self, pieces: &[Bytes], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, in one call unless the system takes only a part.
    fn write_all(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads into `buffer` until it is full or the file ends; the count tells.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads like [`Self::read`], but only what is in memory already: `None` where the disk would
    /// have to be waited for, or the system cannot tell. Does not block.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Makes content and length durable (`fdatasync`). After an error what was written since the
    /// last success may be gone, and a later success says nothing about it.
    fn sync(&self) -> io::Result<()>;

    /// The file's length.
    fn length(&self) -> io::Result<u64>;

    /// Its stamp.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Cuts or extends the file; what is added reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Allocates space for a range and extends the file to its end where it is shorter. Where the
    /// file system cannot allocate ahead, it only extends.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Gives a range's space back; it reads as zeros then. Does nothing where the file system
    /// cannot.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Writes all dirty pages to the disk and waits for them; an error is as bad as one of
    /// [`Self::sync`]. Success does not make them durable: the disk may hold them in a cache, and
    /// metadata is not written.
    fn write_back(&self) -> io::Result<()>;

    /// Starts to write a range's dirty pages to the disk without waiting for them. A hint:
    /// promises nothing.
    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()>;
}
