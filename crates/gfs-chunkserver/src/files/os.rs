//! [`ChunkFiles`] on the operating system's files.

use super::{Capacity, ChunkFile, ChunkFiles, DirEntry, DirLock, Stamp};
use bytes::Bytes;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat, fallocate,
    fdatasync, flock, fstat, fsync, ftruncate, mkdir, open, rename, statat, statvfs, syncfs,
    unlink,
};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwrite, pwritev};
use std::io::{self, IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

/// How many pieces one `pwritev` takes (Linux: `UIO_MAXIOV`).
const MAX_PIECES: usize = 1024;

/// The operating system's files. Has no state: bounding how many files are open is the store's
/// business, which knows which of them it may close.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

#[derive(Debug)]
struct OsFile {
    fd: OwnedFd,
    read_only: bool,
}

#[derive(Debug)]
struct OsDirLock {
    _fd: OwnedFd,
}

impl DirLock for OsDirLock {}

const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
const DIR_MODE: Mode = Mode::from_raw_mode(0o750);

fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    Ok(open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

impl ChunkFiles for OsFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match retry(|| open(path, flags | OFlags::RDWR, Mode::empty())) {
            Ok(fd) => Ok(Arc::new(OsFile { fd, read_only: false })),
            Err(Errno::ROFS) => {
                let fd = retry(|| open(path, flags | OFlags::RDONLY, Mode::empty()))?;
                Ok(Arc::new(OsFile { fd, read_only: true }))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn ChunkFile>> {
        let flags =
            OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = retry(|| open(path, flags, FILE_MODE))?;
        Ok(Arc::new(OsFile { fd, read_only: false }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rename(from, to)?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        Ok(unlink(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(open_dir(dir)?)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let is_dir = match entry.file_type() {
                FileType::Directory => true,
                // Some file systems do not say.
                FileType::Unknown => {
                    let path = dir.join(std::ffi::OsStr::new(&*name.to_string_lossy()));
                    let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }
                _ => false,
            };
            entries.push(DirEntry { name: name.to_string_lossy().into_owned(), is_dir });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(mkdir(dir, DIR_MODE)?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(fsync(open_dir(dir)?)?)
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        Ok(syncfs(open_dir(dir)?)?)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let fd = open_dir(dir)?;
        flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(OsDirLock { _fd: fd }))
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        Ok(stamp(&statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn capacity(&self, path: &Path) -> io::Result<Capacity> {
        let stat = statvfs(path)?;
        Ok(Capacity {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        inode: stat.st_ino,
        length: u64::try_from(stat.st_size).unwrap_or(0),
        modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
    }
}

impl OsFile {
    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(Errno::ROFS.into()) } else { Ok(()) }
    }

    fn write_batch(&self, batch: &[Bytes], mut offset: u64) -> io::Result<u64> {
        let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0); // drops leading empty pieces
        while !rest.is_empty() {
            let written = retry(|| pwritev(&self.fd, rest, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(offset)
    }
}

impl ChunkFile for OsFile {
    fn write_pieces(&self, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
        self.writable()?;
        for batch in pieces.chunks(MAX_PIECES) {
            offset = self.write_batch(batch, offset)?;
        }
        Ok(())
    }

    fn write_all(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        self.writable()?;
        while !bytes.is_empty() {
            let written = retry(|| pwrite(&self.fd, bytes, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let read = retry(|| pread(&self.fd, &mut *rest, offset + done as u64))?;
            if read == 0 {
                break;
            }
            done += read;
        }
        Ok(done)
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let mut rest = [IoSliceMut::new(rest)];
            let at = offset + done as u64;
            match retry(|| preadv2(&self.fd, &mut rest, at, ReadWriteFlags::NOWAIT)) {
                Ok(0) => break,
                Ok(read) => done += read,
                // Not in memory, or a file system that cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(done))
    }

    fn sync(&self) -> io::Result<()> {
        // Not repeated when interrupted or failed: see the trait.
        Ok(fdatasync(&self.fd)?)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(fstat(&self.fd)?.st_size).unwrap_or(0))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(stamp(&fstat(&self.fd)?))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        Ok(retry(|| ftruncate(&self.fd, len))?)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.writable()?;
        match retry(|| fallocate(&self.fd, FallocateFlags::empty(), offset, len)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let end = offset.saturating_add(len);
                if self.length()? < end { self.set_len(end) } else { Ok(()) }
            }
            done => Ok(done?),
        }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.writable()?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match retry(|| fallocate(&self.fd, flags, offset, len)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
            return Err(Errno::INVAL.into());
        };
        self.sync_file_range(offset, len, libc::SYNC_FILE_RANGE_WRITE)
    }

    fn write_back(&self) -> io::Result<()> {
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        self.sync_file_range(0, 0, flags) // a length of 0 means to the end
    }
}

impl OsFile {
    fn sync_file_range(&self, offset: i64, len: i64, flags: libc::c_uint) -> io::Result<()> {
        // SAFETY: the call takes integers only and touches no memory of ours; the descriptor is
        // open for as long as `self.fd` is borrowed.
        #[allow(unsafe_code)]
        let result =
            unsafe { libc::sync_file_range(self.fd.as_fd().as_raw_fd(), offset, len, flags) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
