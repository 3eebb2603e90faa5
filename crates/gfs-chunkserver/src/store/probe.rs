//! Looking whether a volume that left service could do its part again.

use super::layout::VolumeLayout;
use super::record::VolumeRecord;
use super::volume::Volume;
use super::{SLOT, StoreError, StoreResult};
use crate::files::ChunkFiles;
use std::io;
use std::path::Path;

impl Volume {
    /// Reads the record of the volume in `dir`, and writes, syncs, reads and removes a file beside
    /// it. Opens no volume and takes no lock.
    ///
    /// # Errors
    /// There is no volume; the disk fails, is full or read-only.
    pub fn probe(files: &dyn ChunkFiles, dir: &Path) -> StoreResult<VolumeRecord> {
        let layout = VolumeLayout::new(dir);
        let record = VolumeRecord::load(files, &layout)?.ok_or_else(|| StoreError::NotAVolume {
            dir: dir.to_owned(),
            why: "there is no record".to_owned(),
        })?;
        let path = layout.probe();
        let error = |error| StoreError::disk("probe", &path, error);
        match files.unlink(&path) {
            Err(failed) if failed.kind() != io::ErrorKind::NotFound => return Err(error(failed)),
            _ => {}
        }
        let file = files.create(&path).map_err(error)?;
        let (written, mut read) = ([0x5a; SLOT as usize], [0; SLOT as usize]);
        let done = file
            .write_all(&written, 0)
            .and_then(|()| file.sync())
            .and_then(|()| file.read(&mut read, 0))
            .and_then(|_| files.sync_dir(dir));
        let removed = files.unlink(&path);
        done.and(removed).map_err(error)?;
        if read != written {
            return Err(error(io::ErrorKind::InvalidData.into()));
        }
        Ok(record)
    }
}
