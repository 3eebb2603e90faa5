//! [`ChunkFiles`] whose operations are timed while they are under way: what tells a volume that
//! hangs from one that is busy.

use super::{Capacity, ChunkFile, ChunkFiles, DirEntry, DirLock, Stamp};
use crate::io_age::IoAges;
use bytes::Bytes;
use gfs_types::Millis;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A sync waits until everything written before is on the disk, on a slow one for long: it counts as
/// begun so much later. A disk that hangs shows in other operations before.
const SYNC_ALLOWANCE: Millis = Millis(30_000);

/// Files of one volume, and the ages of what is done with them.
#[derive(Debug)]
pub(crate) struct AgedFiles {
    files: Arc<dyn ChunkFiles>,
    ages: IoAges,
}

#[derive(Debug)]
struct AgedFile {
    file: Arc<dyn ChunkFile>,
    ages: IoAges,
}

impl AgedFiles {
    pub(crate) fn new(files: Arc<dyn ChunkFiles>, ages: IoAges) -> Self {
        Self { files, ages }
    }

    fn file(&self, file: Arc<dyn ChunkFile>) -> Arc<dyn ChunkFile> {
        Arc::new(AgedFile { file, ages: self.ages.clone() })
    }
}

impl IoAges {
    fn quick<T>(&self, operation: impl FnOnce() -> T) -> T {
        let _io = self.begin(Millis(0));
        operation()
    }

    fn sync<T>(&self, operation: impl FnOnce() -> T) -> T {
        let _io = self.begin(SYNC_ALLOWANCE);
        operation()
    }
}

impl ChunkFiles for AgedFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        Ok(self.file(self.ages.quick(|| self.files.open(path))?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        Ok(self.file(self.ages.quick(|| self.files.create(path))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ages.quick(|| self.files.rename(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.ages.quick(|| self.files.unlink(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.ages.quick(|| self.files.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.ages.quick(|| self.files.create_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.ages.sync(|| self.files.sync_dir(dir))
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        self.ages.sync(|| self.files.sync_file_system(dir))
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        self.ages.quick(|| self.files.lock_dir(dir))
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.ages.quick(|| self.files.stamp(path))
    }

    fn capacity(&self, path: &Path) -> io::Result<Capacity> {
        self.ages.quick(|| self.files.capacity(path))
    }
}

impl ChunkFile for AgedFile {
    fn write_pieces(&self, pieces: &[Bytes], offset: u64) -> io::Result<()> {
        self.ages.quick(|| self.file.write_pieces(pieces, offset))
    }

    fn write_all(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.ages.quick(|| self.file.write_all(bytes, offset))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.ages.quick(|| self.file.read(buffer, offset))
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.file.read_cached(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.ages.sync(|| self.file.sync())
    }

    fn length(&self) -> io::Result<u64> {
        self.ages.quick(|| self.file.length())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.ages.quick(|| self.file.stamp())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ages.quick(|| self.file.set_len(len))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.ages.quick(|| self.file.allocate(offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.ages.quick(|| self.file.punch(offset, len))
    }

    fn write_back(&self) -> io::Result<()> {
        self.ages.sync(|| self.file.write_back())
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.ages.sync(|| self.file.start_writeback(offset, len))
    }
}
