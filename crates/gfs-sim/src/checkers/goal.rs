//! *The cluster comes back to its goal*: once nothing fails any more, every chunk has as many
//! current copies as it should, none of them on a server that is drained, no version change is left
//! half done, and nothing is left over.

use super::extents::{self, version};
use crate::world::World;
use gfs_proto::v1::ServerRecord;
use prost::Message as _;
use std::collections::BTreeSet;

/// What is still missing; empty when the goal is reached.
#[must_use]
pub fn missing(world: &World) -> Vec<String> {
    let (files, _) = extents::of(&world.master.store);
    let copies = usize::from(world.scenario.copies);
    let mut missing = Vec::new();
    let mut wanted = BTreeSet::new();
    let draining = draining(world);
    for (inode, file) in &files {
        for record in file.extents.iter().chain(&file.spare) {
            if record.handle == 0 {
                // A hole.
                continue;
            }
            let current: Vec<u32> = record
                .members
                .iter()
                .copied()
                .filter(|member| {
                    world.servers.iter().any(|server| {
                        server.disk.server == *member
                            && server.disk.chunks.get(&record.handle).is_some_and(|stored| {
                                stored.header.complete == version(record)
                                    && stored.damaged().is_empty()
                            })
                    })
                })
                .collect();
            wanted.extend(current.iter().map(|member| (record.handle, *member)));
            if world.doubtful.contains(&record.handle) {
                // What is left of a chunk that all copies lost is kept wherever it is.
                wanted.extend(world.servers.iter().map(|s| (record.handle, s.disk.server)));
            }
            let lost = world.doubtful.contains(&record.handle);
            if !lost && (current.len() < copies || current.len() < record.members.len()) {
                missing.push(format!(
                    "chunk {} of inode {inode} at version {}: current on {current:?} of members \
                     {:?}, goal {copies}",
                    record.handle,
                    version(record),
                    record.members
                ));
            }
            if record.members.iter().any(|member| draining.contains(member)) {
                missing.push(format!(
                    "chunk {} of inode {inode} is still on {:?}, of which {draining:?} are drained",
                    record.handle, record.members
                ));
            }
            if record.next > version(record) && !lost {
                missing.push(format!(
                    "chunk {} of inode {inode}: change from {} to {} is not done",
                    record.handle,
                    version(record),
                    record.next
                ));
            }
        }
    }
    for (at, server) in world.servers.iter().enumerate() {
        for handle in server.disk.chunks.keys() {
            if !wanted.contains(&(*handle, server.disk.server)) {
                missing.push(format!("server{at} holds chunk {handle}, which it should not"));
            }
        }
    }
    missing
}

/// The servers that are to be emptied.
fn draining(world: &World) -> BTreeSet<u32> {
    let records = world.master.store.records.iter().filter(|(key, _)| key.first() == Some(&b's'));
    records
        .filter_map(|(key, value)| {
            let number = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
            ServerRecord::decode(&value[..]).ok()?.draining.then_some(number)
        })
        .collect()
}
