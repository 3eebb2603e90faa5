//! [`ChunkFiles`] that remember what is not durable yet, over any others: they say whether an
//! acknowledgement that promises the disk came too early.
//!
//! A change counts as durable when a sync that began after the change had ended has succeeded: of
//! the file for its bytes, of the directory for a name, of the file system for both. Moments count
//! operations, so a test can ask for what happened up to one while more goes on.

use super::{Capacity, ChunkFile, ChunkFiles, DirEntry, DirLock, Stamp};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Clone, Debug)]
pub struct WitnessFiles {
    files: Arc<dyn ChunkFiles>,
    seen: Arc<Mutex<Seen>>,
}

/// A moment: everything that began before it has a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(u64);

/// What is not durable, by file: the names it goes by change, the file does not.
#[derive(Debug, Default)]
struct Seen {
    moments: u64,
    files: u64,
    /// Which file has this name now.
    names: BTreeMap<PathBuf, u64>,
    changes: BTreeMap<u64, Vec<Change>>,
}

#[derive(Clone, Debug)]
struct Change {
    begun: u64,
    /// `None` while it is under way.
    ended: Option<u64>,
    /// The directory whose sync makes it durable; of bytes, none.
    dir: Option<PathBuf>,
    what: String,
}

impl Seen {
    fn tick(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    fn file(&mut self, path: &Path) -> u64 {
        if let Some(file) = self.names.get(path) {
            return *file;
        }
        self.files += 1;
        self.names.insert(path.to_owned(), self.files);
        self.files
    }

    fn begin(&mut self, file: u64, dir: Option<&Path>, what: String) -> u64 {
        let begun = self.tick();
        let change = Change { begun, ended: None, dir: dir.map(Path::to_owned), what };
        self.changes.entry(file).or_default().push(change);
        begun
    }

    /// Also one that failed may have done something.
    fn end(&mut self, file: u64, begun: u64) {
        let now = self.tick();
        let changes = self.changes.entry(file).or_default();
        if let Some(change) = changes.iter_mut().find(|change| change.begun == begun) {
            change.ended = Some(now);
        }
    }

    /// A sync that began then has succeeded, of what `covers` says.
    fn synced(&mut self, began: u64, covers: impl Fn(u64, &Change) -> bool) {
        for (file, changes) in &mut self.changes {
            changes.retain(|change| {
                change.ended.is_none_or(|ended| ended > began) || !covers(*file, change)
            });
        }
    }
}

impl WitnessFiles {
    /// Watches these.
    #[must_use]
    pub fn new(files: Arc<dyn ChunkFiles>) -> Self {
        Self { files, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> When {
        When(self.seen().tick())
    }

    /// What was begun before `when` in the file that has this name now, and is not durable.
    #[must_use]
    pub fn volatile(&self, path: &Path, when: When) -> Vec<String> {
        let seen = self.seen();
        let changes = seen.names.get(path).and_then(|file| seen.changes.get(file));
        let changes = changes.into_iter().flatten().filter(|change| change.begun < when.0);
        changes.map(|change| change.what.clone()).collect()
    }

    /// Runs a change of names around what it does to them.
    fn naming(
        &self,
        path: &Path,
        what: String,
        run: impl FnOnce() -> io::Result<()>,
        renamed: Option<&Path>,
    ) -> io::Result<()> {
        let (file, begun) = {
            let mut seen = self.seen();
            let file = seen.file(path);
            (file, seen.begin(file, renamed.unwrap_or(path).parent(), what))
        };
        let result = run();
        let mut seen = self.seen();
        seen.end(file, begun);
        if let (Ok(()), Some(to)) = (&result, renamed) {
            seen.names.remove(path);
            seen.names.insert(to.to_owned(), file);
        }
        result
    }

    fn watched(&self, path: &Path, file: Arc<dyn ChunkFile>) -> Arc<dyn ChunkFile> {
        let id = self.seen().file(path);
        Arc::new(WitnessFile { files: self.clone(), id, file })
    }
}

impl ChunkFiles for WitnessFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        Ok(self.watched(path, self.files.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        self.seen().names.remove(path);
        let mut created = None;
        let run = || self.files.create(path).map(|file| created = Some(file));
        self.naming(path, format!("created {}", path.display()), run, None)?;
        created.map(|file| self.watched(path, file)).ok_or_else(|| io::ErrorKind::Other.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let run = || self.files.rename(from, to);
        self.naming(from, format!("renamed to {}", to.display()), run, Some(to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.naming(path, "unlinked".to_owned(), || self.files.unlink(path), None)?;
        self.seen().names.remove(path);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.files.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let began = self.seen().tick();
        self.files.sync_dir(dir)?;
        self.seen().synced(began, |_, change| change.dir.as_deref() == Some(dir));
        Ok(())
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        let began = self.seen().tick();
        self.files.sync_file_system(dir)?;
        self.seen().synced(began, |_, _| true);
        Ok(())
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        self.files.lock_dir(dir)
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.files.stamp(path)
    }

    fn capacity(&self, path: &Path) -> io::Result<Capacity> {
        self.files.capacity(path)
    }
}

#[derive(Debug)]
struct WitnessFile {
    files: WitnessFiles,
    id: u64,
    file: Arc<dyn ChunkFile>,
}

impl WitnessFile {
    fn change(&self, what: String, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let begun = self.files.seen().begin(self.id, None, what);
        let result = run();
        self.files.seen().end(self.id, begun);
        result
    }
}

impl ChunkFile for WitnessFile {
    fn write_pieces(&self, pieces: &[Bytes], offset: u64) -> io::Result<()> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let what = format!("wrote {len} bytes at {offset}");
        self.change(what, || self.file.write_pieces(pieces, offset))
    }

    fn write_all(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let what = format!("wrote {} bytes at {offset}", bytes.len());
        self.change(what, || self.file.write_all(bytes, offset))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read(buffer, offset)
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.file.read_cached(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let began = self.files.seen().tick();
        self.file.sync()?;
        let id = self.id;
        self.files.seen().synced(began, |file, change| file == id && change.dir.is_none());
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.file.stamp()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(format!("set the length to {len}"), || self.file.set_len(len))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(format!("allocated {len} at {offset}"), || self.file.allocate(offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(format!("punched {len} at {offset}"), || self.file.punch(offset, len))
    }

    fn write_back(&self) -> io::Result<()> {
        self.file.write_back()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.start_writeback(offset, len)
    }
}
