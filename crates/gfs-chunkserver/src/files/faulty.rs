//! [`ChunkFiles`] over a model disk, with faults: errors, torn and altered writes, syncs that do
//! nothing, a full or read-only disk, a process killed at any step, and power loss. Deterministic:
//! the same seed and the same calls give the same disk.

use super::model::{ModelDisk, PAGE};
use super::{Capacity, ChunkFile, ChunkFiles, DirEntry, DirLock, Stamp};
use bytes::Bytes;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a file operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// Opens a file.
    Open,
    /// Creates a file.
    Create,
    /// Creates a directory.
    CreateDir,
    /// Renames a file.
    Rename,
    /// Removes a file.
    Unlink,
    /// Lists a directory.
    List,
    /// Syncs a directory.
    SyncDir,
    /// Syncs the file system.
    SyncFileSystem,
    /// Locks a directory.
    Lock,
    /// Asks for the space.
    Capacity,
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// Syncs a file.
    Sync,
    /// Asks for a length.
    Len,
    /// Asks for a stamp.
    Stamp,
    /// Sets a length.
    SetLen,
    /// Allocates.
    Allocate,
    /// Punches a hole.
    Punch,
    /// Starts writeback, or waits for it.
    Writeback,
}

impl OperationKind {
    const fn changes(self) -> bool {
        !matches!(
            self,
            Self::Open
                | Self::List
                | Self::Lock
                | Self::Capacity
                | Self::Read
                | Self::Len
                | Self::Stamp
                | Self::Writeback
        )
    }
}

/// One file operation, as rules and hooks see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it does.
    pub kind: OperationKind,
    /// The file as it was named when it was opened; for a rename the old name.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fails with this error number and does nothing.
    Error(i32),
    /// A write is cut off somewhere inside, then fails with this error number.
    Torn(i32),
    /// A sync succeeds and does nothing.
    LostSync,
    /// One bit of what is written, or read, is flipped without a word.
    FlippedBit,
}

/// Which operations a fault befalls.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Of this kind.
    pub kind: OperationKind,
    /// On paths that contain this; every path contains the empty text.
    pub path: String,
    /// After so many that match.
    pub skip: u64,
    /// So many times.
    pub times: u64,
    /// What happens to them.
    pub fault: Fault,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the operation.
    Before,
    /// After it, and before its caller knows.
    After,
}

/// Called around each operation.
pub type Hook = Arc<dyn Fn(&Operation, Moment) + Send + Sync>;

struct State {
    disk: ModelDisk,
    rules: Vec<Rule>,
    steps: u64,
    kill_at: Option<u64>,
    killed: bool,
    /// Grows with each restart; handles of an earlier life are dead.
    life: u64,
    locks: BTreeMap<PathBuf, u64>,
    next_lock: u64,
    read_only: bool,
    hook: Option<Hook>,
}

struct Shared(Mutex<State>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyFiles")
    }
}

/// See the module. Clones share the disk.
#[derive(Clone, Debug)]
pub struct FaultyFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct FaultyFile {
    shared: Arc<Shared>,
    path: PathBuf,
    inode: u64,
    life: u64,
}

#[derive(Debug)]
struct FaultyLock {
    shared: Arc<Shared>,
    path: PathBuf,
    token: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the process was killed (injected)")]
struct Killed;

/// Whether an error says that the process is dead: [`FaultyFiles::kill_at`].
#[must_use]
pub fn killed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Killed>())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the step, lets the hook see it, and does `run` unless a fault says otherwise.
    /// `life` is the caller's, `None` for calls on the file system as a whole.
    fn operation<T>(
        &self,
        life: Option<u64>,
        operation: &Operation,
        run: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let call_hook = |moment| {
            let hook = self.lock().hook.clone();
            if let Some(hook) = hook {
                hook(operation, moment);
            }
        };
        call_hook(Moment::Before);
        let result = self.locked_operation(life, operation, run);
        call_hook(Moment::After);
        result
    }

    fn locked_operation<T>(
        &self,
        life: Option<u64>,
        operation: &Operation,
        run: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.lock();
        if state.killed || life.is_some_and(|life| life != state.life) {
            return Err(io::Error::other(Killed));
        }
        state.steps += 1;
        if state.kill_at.is_some_and(|step| state.steps >= step) {
            state.killed = true;
            if operation.kind == OperationKind::Write {
                // Dies inside the write, of which a part may be done.
                let _ = run(state, Some(Fault::Torn(0)));
            }
            return Err(io::Error::other(Killed));
        }
        if state.read_only && operation.kind.changes() {
            return Err(Errno::ROFS.into());
        }
        match state.fault_for(operation) {
            Some(Fault::Error(number)) => Err(io::Error::from_raw_os_error(number)),
            fault => run(state, fault),
        }
    }
}

impl State {
    fn fault_for(&mut self, operation: &Operation) -> Option<Fault> {
        let path = operation.path.to_string_lossy();
        for rule in &mut self.rules {
            if rule.kind == operation.kind && rule.times > 0 && path.contains(&rule.path) {
                if rule.skip > 0 {
                    rule.skip -= 1;
                } else {
                    rule.times -= 1;
                    return Some(rule.fault);
                }
            }
        }
        None
    }

    fn write(
        &mut self,
        inode: u64,
        bytes: &[u8],
        offset: u64,
        fault: Option<Fault>,
    ) -> io::Result<()> {
        match fault {
            Some(Fault::Torn(number)) => {
                // The kernel copies page by page, so a cut lies on a page's border.
                let head = offset % PAGE as u64;
                let pages = (head + bytes.len() as u64) / PAGE as u64;
                let cut = (self.disk.random.below(pages + 1) * PAGE as u64).saturating_sub(head);
                let written = bytes.get(..cut as usize).unwrap_or(bytes);
                self.disk.write(inode, written, offset)?;
                Err(io::Error::from_raw_os_error(number))
            }
            Some(Fault::FlippedBit) => {
                let mut altered = bytes.to_vec();
                self.flip_bit(&mut altered);
                self.disk.write(inode, &altered, offset)
            }
            _ => self.disk.write(inode, bytes, offset),
        }
    }

    fn flip_bit(&mut self, bytes: &mut [u8]) {
        let bit = self.disk.random.below(bytes.len() as u64 * 8);
        if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

impl FaultyFiles {
    /// An empty disk of 1 TiB with the directory `/`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            disk: ModelDisk::new(seed, 1 << 40),
            rules: Vec::new(),
            steps: 0,
            kill_at: None,
            killed: false,
            life: 0,
            locks: BTreeMap::new(),
            next_lock: 0,
            read_only: false,
            hook: None,
        };
        Self { shared: Arc::new(Shared(Mutex::new(state))) }
    }

    /// Adds a rule.
    pub fn inject(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// Drops all rules.
    pub fn clear_rules(&self) {
        self.shared.lock().rules.clear();
    }

    /// File operations so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.lock().steps
    }

    /// Kills the process at the `step`th operation from now (from 1): that one fails, a write in
    /// the middle, and so does each that follows, until [`Self::restart`].
    pub fn kill_at(&self, step: u64) {
        let mut state = self.shared.lock();
        state.kill_at = Some(state.steps + step);
    }

    /// Whether the process was killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.shared.lock().killed
    }

    /// Starts the process again on the disk as it is: locks are free, handles of before are dead.
    pub fn restart(&self) {
        let mut state = self.shared.lock();
        state.life += 1;
        state.killed = false;
        state.kill_at = None;
        state.locks.clear();
    }

    /// Power fails and returns: what was not synced is lost in part, at random. Restarts too.
    pub fn lose_power(&self) {
        self.shared.lock().disk.lose_power();
        self.restart();
    }

    /// Makes the disk read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        self.shared.lock().read_only = read_only;
    }

    /// Sets the free space, in bytes.
    pub fn set_free(&self, free: u64) {
        self.shared.lock().disk.set_free(free);
    }

    /// Calls `hook` around each operation, without a lock held, so that it may take its time or
    /// never return: a slow or hung disk.
    pub fn set_hook(&self, hook: Option<Hook>) {
        self.shared.lock().hook = hook;
    }

    /// Damages a file where it lies, as disks do, which set no time: XORs the byte at `offset` with
    /// `mask`.
    ///
    /// # Errors
    /// When there is no such byte.
    pub fn damage(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let disk = &mut self.shared.lock().disk;
        let inode = disk.inode(path)?;
        let mut byte = [0];
        if disk.read(inode, &mut byte, offset)? != 1 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk.rot(inode, &[byte[0] ^ mask], offset)
    }

    /// Writes into a file where it lies.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = &mut self.shared.lock().disk;
        let inode = disk.inode(path)?;
        disk.next_tick();
        disk.write(inode, bytes, offset)
    }

    /// Cuts a file short where it lies.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let disk = &mut self.shared.lock().disk;
        let inode = disk.inode(path)?;
        disk.next_tick();
        disk.set_len(inode, len)
    }

    /// A file's content, as the page cache holds it.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = &mut self.shared.lock().disk;
        let inode = disk.inode(path)?;
        let mut content = vec![0; disk.len(inode)? as usize];
        disk.read(inode, &mut content, 0)?;
        Ok(content)
    }

    fn on<T>(
        &self,
        kind: OperationKind,
        path: &Path,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let operation = Operation { kind, path: path.to_owned(), offset: 0, len: 0 };
        self.shared.operation(None, &operation, |state, fault| match fault {
            Some(Fault::Torn(number)) => Err(io::Error::from_raw_os_error(number)),
            _ => run(state),
        })
    }

    fn handle(&self, path: &Path, state: &State, inode: u64) -> Arc<dyn ChunkFile> {
        let shared = Arc::clone(&self.shared);
        Arc::new(FaultyFile { shared, path: path.to_owned(), inode, life: state.life })
    }
}

impl ChunkFiles for FaultyFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        self.on(OperationKind::Open, path, |state| {
            let inode = state.disk.inode(path)?;
            Ok(self.handle(path, state, inode))
        })
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        self.on(OperationKind::Create, path, |state| {
            let inode = state.disk.create(path)?;
            Ok(self.handle(path, state, inode))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.on(OperationKind::Rename, from, |state| state.disk.rename(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.on(OperationKind::Unlink, path, |state| state.disk.unlink(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.on(OperationKind::List, dir, |state| state.disk.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.on(OperationKind::CreateDir, dir, |state| state.disk.create_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let path = dir.to_owned();
        let operation = Operation { kind: OperationKind::SyncDir, path, offset: 0, len: 0 };
        self.shared.operation(None, &operation, |state, fault| match fault {
            Some(Fault::LostSync) => Ok(()),
            _ => state.disk.sync_dir(dir),
        })
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        let path = dir.to_owned();
        let operation = Operation { kind: OperationKind::SyncFileSystem, path, offset: 0, len: 0 };
        self.shared.operation(None, &operation, |state, fault| match fault {
            Some(Fault::LostSync) => Ok(()),
            _ => {
                state.disk.sync_all();
                Ok(())
            }
        })
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        self.on(OperationKind::Lock, dir, |state| {
            if !state.disk.is_dir(dir) {
                return Err(Errno::NOENT.into());
            }
            if state.locks.contains_key(dir) {
                return Err(Errno::WOULDBLOCK.into());
            }
            let token = state.next_lock;
            state.next_lock += 1;
            state.locks.insert(dir.to_owned(), token);
            let shared = Arc::clone(&self.shared);
            Ok(Box::new(FaultyLock { shared, path: dir.to_owned(), token }) as Box<dyn DirLock>)
        })
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.on(OperationKind::Stamp, path, |state| {
            let inode = state.disk.inode(path)?;
            state.disk.stamp(inode)
        })
    }

    fn capacity(&self, path: &Path) -> io::Result<Capacity> {
        self.on(OperationKind::Capacity, path, |state| Ok(state.disk.capacity()))
    }
}

impl DirLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.locks.get(&self.path) == Some(&self.token) {
            state.locks.remove(&self.path);
        }
    }
}

impl FaultyFile {
    fn on<T>(
        &self,
        kind: OperationKind,
        offset: u64,
        len: u64,
        run: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let operation = Operation { kind, path: self.path.clone(), offset, len };
        self.shared.operation(Some(self.life), &operation, run)
    }
}

impl ChunkFile for FaultyFile {
    fn write_pieces(&self, pieces: &[Bytes], offset: u64) -> io::Result<()> {
        self.write_all(&pieces.concat(), offset)
    }

    fn write_all(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.on(OperationKind::Write, offset, bytes.len() as u64, |state, fault| {
            state.write(self.inode, bytes, offset, fault)
        })
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.on(OperationKind::Read, offset, buffer.len() as u64, |state, fault| {
            let count = state.disk.read(self.inode, buffer, offset)?;
            if fault == Some(Fault::FlippedBit) {
                state.flip_bit(buffer.get_mut(..count).unwrap_or_default());
            }
            Ok(count)
        })
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read(buffer, offset).map(Some)
    }

    fn sync(&self) -> io::Result<()> {
        self.on(OperationKind::Sync, 0, 0, |state, fault| match fault {
            Some(Fault::LostSync) => Ok(()),
            _ => state.disk.sync(self.inode),
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.on(OperationKind::Len, 0, 0, |state, _| state.disk.len(self.inode))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.on(OperationKind::Stamp, 0, 0, |state, _| state.disk.stamp(self.inode))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.on(OperationKind::SetLen, 0, len, |state, _| state.disk.set_len(self.inode, len))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.on(OperationKind::Allocate, offset, len, |state, _| {
            state.disk.allocate(self.inode, offset, len)
        })
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.on(OperationKind::Punch, offset, len, |state, _| {
            state.disk.punch(self.inode, offset, len)
        })
    }

    fn write_back(&self) -> io::Result<()> {
        self.start_writeback(0, 1 << 40)
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.on(OperationKind::Writeback, offset, len, |state, _| {
            state.disk.write_back_range(self.inode, offset, len)
        })
    }
}
