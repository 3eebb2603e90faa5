//! *Replicas are identical*: all members of a chunk that are complete at its version hold the same
//! bytes, the same checksums that match them, and remember the same mutations.

use super::extents::{self, version};
use crate::ledger::Content;
use crate::world::World;

/// Looks at every chunk. `settled`: the cluster had time to make every member complete.
pub fn check(world: &mut World, settled: bool) {
    let (files, mut wrong) = extents::of(&world.master.store);
    let by_inode: std::collections::BTreeMap<u64, u64> = world
        .ctx
        .ledger
        .files
        .iter()
        .filter(|(_, fact)| fact.inode != 0)
        .map(|(file, fact)| (fact.inode, *file))
        .collect();
    for (inode, file) in &files {
        let mut start = 0;
        for record in &file.extents {
            let handle = record.handle;
            let settled = settled && !world.doubtful.contains(&handle);
            let mut first: Option<(usize, &crate::disk::Stored)> = None;
            for number in &record.members {
                let holder = world.servers.iter().position(|s| s.disk.server == *number);
                let stored = holder.and_then(|at| {
                    let server = world.servers.get(at)?;
                    server.disk.chunks.get(&handle).map(|stored| (at, stored))
                });
                let Some((at, stored)) =
                    stored.filter(|(_, stored)| stored.header.complete == version(record))
                else {
                    if settled {
                        wrong.push(format!(
                            "chunk {handle} of inode {inode}: member {number} is not complete at \
                             version {}",
                            version(record)
                        ));
                    }
                    continue;
                };
                let length = stored.header.length;
                let damaged = stored.damaged();
                if settled && !damaged.is_empty() {
                    wrong.push(format!("chunk {handle} on server{at}: blocks {damaged:?} damaged"));
                }
                if settled && record.sealed && length != record.length {
                    wrong.push(format!(
                        "chunk {handle} on server{at} has {length} bytes, the record says {}",
                        record.length
                    ));
                }
                if settled
                    && damaged.is_empty()
                    && let Some(number) = by_inode.get(inode)
                    && let Some(offset) = world
                        .ctx
                        .ledger
                        .files
                        .get(number)
                        .and_then(|fact| match &fact.content {
                            Content::Written(layout) => Some(layout),
                            _ => None,
                        })
                        .and_then(|layout| layout.difference(start, &stored.bytes(0, length)))
                {
                    wrong.push(format!(
                        "chunk {handle} on server{at}: byte {offset} of file {number} is wrong"
                    ));
                }
                let Some((other, before)) = first else {
                    first = Some((at, stored));
                    continue;
                };
                // What a writer that vanished left unacknowledged at the end of an open chunk is
                // made equal by the next version change.
                let open = file.writer != 0 && !record.sealed;
                if settled && damaged.is_empty() {
                    let common = length.min(before.header.length);
                    let same = (open || before.header.length == length)
                        && before.bytes(0, common) == stored.bytes(0, common);
                    if !same {
                        wrong.push(format!(
                            "chunk {handle} differs between server{other} ({} bytes) and \
                             server{at} ({length} bytes) at version {}",
                            before.header.length,
                            version(record)
                        ));
                    }
                    if !open && before.header.window != stored.header.window {
                        wrong.push(format!(
                            "chunk {handle}: server{other} and server{at} remember different \
                             mutations"
                        ));
                    }
                }
            }
            start += u64::from(record.length);
        }
    }
    for text in wrong {
        world.ctx.violation(text);
    }
}
