//! The start: all volumes are read, and of a chunk that is on two of them the better replica counts.

use super::{Bay, Volumes};
use crate::store::{ChunkState, LogUse, ScanEntry, ScanReport};
use gfs_types::ChunkHandle;
use std::collections::BTreeMap;

/// Threads that read headers of one volume.
pub(super) const SCANNERS: usize = 4;

/// What a start found.
pub(crate) struct Started {
    /// The replicas.
    pub(crate) replicas: Vec<ChunkState>,
    /// Of each volume that could be read, its name and what its start-up log was good for.
    pub(crate) logs: Vec<(String, LogUse)>,
}

impl Volumes {
    /// Reads what is on all volumes, side by side, and returns the replicas found. A volume that
    /// cannot be read leaves service; one that is gone meanwhile is not waited for.
    pub(crate) async fn scan(&self) -> Started {
        let mut reading = Vec::new();
        for (at, bay) in self.bays.iter().enumerate() {
            if let Ok(volume) = bay.volume() {
                let read = move || {
                    volume.start(SCANNERS).and_then(|found| Ok((found, volume.quarantined()?)))
                };
                reading.push((at, bay, bay.blocking(read)));
            }
        }
        let mut reports = Vec::with_capacity(reading.len());
        for (at, bay, report) in reading {
            tokio::select! {
                report = report => reports.push((at, bay, report)),
                () = bay.gone() => {}
            }
        }
        reports.retain(|(_, bay, _)| !bay.service().is_gone());
        let mut found: BTreeMap<ChunkHandle, (usize, ChunkState)> = BTreeMap::new();
        let mut logs = Vec::with_capacity(reports.len());
        for (at, bay, report) in reports {
            let volume = bay.name();
            let ((report, log), quarantined) = match report {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => {
                    tracing::error!(volume, %error, "a volume cannot be read");
                    bay.fail(format!("it cannot be read: {error}"));
                    continue;
                }
                Err(_) => {
                    bay.fail("reading it panicked".to_owned());
                    continue;
                }
            };
            for state in self.sort_out(bay, report, &quarantined, &log) {
                self.found(&mut found, at, state);
            }
            logs.push((volume, log));
        }
        let homes = found.iter().map(|(handle, (at, _))| (*handle, *at)).collect();
        *self.homes.write().unwrap_or_else(std::sync::PoisonError::into_inner) = homes;
        self.count();
        Started { replicas: found.into_values().map(|(_, state)| state).collect(), logs }
    }

    /// What was read of a volume: notes and tells what is no replica, and returns those.
    pub(super) fn sort_out(
        &self,
        bay: &Bay,
        report: ScanReport,
        quarantined: &[String],
        log: &LogUse,
    ) -> Vec<ChunkState> {
        let volume = bay.name();
        if !report.unreadable.is_empty() || !quarantined.is_empty() {
            self.cannot_tell_all();
        }
        for (handle, why) in &report.unreadable {
            tracing::error!(volume, %handle, why, "a chunk's file cannot be read");
        }
        for name in &report.strangers {
            tracing::warn!(volume, name, "a file that is none of ours was left alone");
        }
        let mut states = Vec::with_capacity(report.entries.len());
        for entry in report.entries {
            match entry {
                ScanEntry::Chunk(state) => states.push(state),
                ScanEntry::Garbled { handle, why } => {
                    tracing::error!(volume, %handle, why, "a garbled chunk file was put into quarantine");
                }
            }
        }
        let replicas = states.len();
        match log {
            LogUse::Used(known) => {
                tracing::info!(volume, replicas, known, "the volume was read by its start-up log");
            }
            LogUse::Missing => {
                tracing::info!(volume, replicas, "the volume was read; it had no start-up log");
            }
            LogUse::Unusable(why) | LogUse::Disagrees(why) => tracing::warn!(
                volume,
                replicas,
                why,
                "all of the volume was read: its start-up log was of no use"
            ),
        }
        states
    }

    /// Adds a replica. There is a second one of its chunk when a volume comes back after its
    /// replicas were made good on another one of this server: the better one is kept, the other goes
    /// into quarantine.
    fn found(
        &self,
        found: &mut BTreeMap<ChunkHandle, (usize, ChunkState)>,
        at: usize,
        state: ChunkState,
    ) {
        let handle = state.handle;
        let (worse, kept) = match found.get(&handle) {
            None => {
                found.insert(handle, (at, state));
                return;
            }
            Some((_, other)) if merit(other) >= merit(&state) => (at, other.clone()),
            Some((other_at, _)) => {
                let other_at = *other_at;
                found.insert(handle, (at, state.clone()));
                (other_at, state)
            }
        };
        let Some(bay) = self.bays.get(worse) else { return };
        let done = bay.volume().and_then(|volume| volume.quarantine(handle));
        let volume = bay.name();
        match done {
            Ok(()) => tracing::warn!(
                volume,
                %handle,
                version = %kept.complete.version,
                "another volume has a later replica of the chunk: this one was put into quarantine"
            ),
            Err(error) => tracing::error!(volume, %handle, %error, "a second replica stays"),
        }
    }
}

/// What makes one replica of a chunk better than another: what it is complete at, whether that is
/// known to be on disk, and how far it goes.
fn merit(state: &ChunkState) -> impl Ord + use<> {
    let complete = if state.flags.incomplete {
        (0, 0)
    } else {
        (state.complete.version.0, state.complete.serial.0)
    };
    (complete.0, !state.flags.suspect, complete.1, state.content.length, state.promised.0)
}
