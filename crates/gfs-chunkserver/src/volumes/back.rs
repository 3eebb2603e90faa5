//! A volume that left service and does its part again is taken back without a restart of the
//! server: when it is looked at is said by [`gfs_core::volume::Probation`].
//!
//! It is opened anew, as at a start, when nothing is under way any more with what was opened before:
//! a write that hung must not come later. What was not synced when it left counts as after a power
//! loss, whether it is a disk that was pulled out or a file system that was mounted again: the
//! volume is opened under a boot id of its own, under which what is not clean is *suspect*.

use super::start::SCANNERS;
use super::{Bay, Volumes};
use crate::store::{BootId, ChunkState, LogUse, ScanReport, Volume, VolumeOptions};
use gfs_core::volume::SLOW_IO_MS;
use gfs_proto::v1 as pb;
use std::sync::Arc;
use std::time::Duration;

/// So often it is looked whether all that was under way has ended, and so long in between.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(100);

/// A volume that was opened anew, and what is on it.
pub(crate) struct Reopened {
    volume: Arc<Volume>,
    report: ScanReport,
    quarantined: Vec<String>,
    log: LogUse,
}

impl Volumes {
    /// Whether the volume that belongs here is there and can be written to. Touches nothing of it.
    /// Blocks.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn probe(&self, at: usize) -> Result<(), String> {
        let bay = self.bays.get(at).ok_or("there is no such volume")?;
        if bay.io.oldest_ms() >= SLOW_IO_MS {
            return Err("an operation of before is still under way".to_owned());
        }
        let record = Volume::probe(&*bay.files, &bay.dir).map_err(|error| error.to_string())?;
        let server = self.record();
        if record.server != server.server {
            return Err(format!("it belongs to server {}", record.server));
        }
        if record.cluster.is_some() && server.cluster.is_some() && record.cluster != server.cluster
        {
            return Err("it belongs to another cluster".to_owned());
        }
        if bay.uuid().is_some_and(|uuid| uuid != record.volume) {
            return Err(format!("volume {} is in its place", record.volume));
        }
        let elsewhere = |other: &Arc<Bay>| other.uuid() == Some(record.volume);
        if self.bays.iter().enumerate().any(|(other, bay)| other != at && elsewhere(bay)) {
            return Err(format!("it is a copy of volume {}", record.volume));
        }
        if record.epoch > server.epoch {
            return Err(format!("it has seen epoch {}, which this server has not", record.epoch));
        }
        Ok(())
    }

    /// Opens the volume anew and reads what is on it; to be called when it is gone. Blocks.
    ///
    /// # Errors
    /// Something is still under way with it; it is not what [`Self::probe`] found, or fails again.
    pub(crate) fn reopen(&self, at: usize, boot: BootId) -> Result<Reopened, String> {
        let bay = self.bays.get(at).ok_or("there is no such volume")?;
        let mut looks = 0;
        while !bay.let_go() {
            looks += 1;
            if looks == LOOKS {
                return Err("something is still under way with it".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        let server = self.record();
        let options = VolumeOptions { cluster: server.cluster, boot, ..self.options };
        let text = |error: crate::store::StoreError| error.to_string();
        let volume = Volume::open_existing(Arc::clone(&bay.files), &bay.dir, options);
        let volume = volume.map_err(text)?.ok_or("there is no volume")?;
        let record = volume.record();
        if record.server != server.server || bay.uuid().is_some_and(|uuid| uuid != record.volume) {
            return Err(format!("volume {} is in its place", record.volume));
        }
        if let Some(cluster) = server.cluster {
            volume.join(cluster, server.number, server.geometry).map_err(text)?;
        }
        volume.persist_epoch(server.epoch, server.sequence).map_err(text)?;
        let (report, log) = volume.start(SCANNERS).map_err(text)?;
        let quarantined = volume.quarantined().map_err(text)?;
        Ok(Reopened { volume: Arc::new(volume), report, quarantined, log })
    }

    /// Takes the volume back with its replicas, which are returned; the masters are to hear of them.
    /// A chunk that this server made good on another volume since is there twice: the replica in use
    /// stays, the other one goes into quarantine unless it is the better. `known` says what is known
    /// of one in use.
    pub(crate) fn take_back(
        &self,
        at: usize,
        reopened: Reopened,
        boot: BootId,
        known: impl Fn(u64) -> Option<pb::ReplicaState>,
    ) -> (Vec<ChunkState>, LogUse) {
        let Reopened { volume, report, quarantined, log } = reopened;
        let Some(bay) = self.bays.get(at) else { return (Vec::new(), log) };
        let mut back = self.sort_out(bay, report, &quarantined, &log);
        back.retain(|state| {
            let handle = state.handle;
            if self.settle_new(handle, at) {
                return true;
            }
            let complete = if state.flags.incomplete { 0 } else { state.complete.version.0 };
            let merit = (complete, state.complete.serial.0, state.content.length);
            let outdone = known(handle.0).is_some_and(|other| {
                !other.suspect && (other.complete, other.serial, other.length) >= merit
            });
            if !outdone {
                // It may be better than what is being made now. A start compares them again.
                tracing::warn!(volume = bay.name(), %handle, "a second replica is left alone");
                self.cannot_tell_all();
            } else if let Err(error) = volume.quarantine(handle) {
                tracing::error!(volume = bay.name(), %handle, %error, "a second replica stays");
            }
            false
        });
        bay.serve(volume, u128::from_be_bytes(boot.0));
        (back, log)
    }
}
