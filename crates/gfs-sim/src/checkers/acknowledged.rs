//! *No acknowledged byte is lost or changed*: what the ledger says is on the disks of the members,
//! whatever a reader would say.

use super::extents::{self, version};
use crate::content;
use crate::world::World;

/// Looks at every file that must be there.
pub fn check(world: &mut World) {
    let (files, mut wrong) = extents::of(&world.master.store);
    for (number, fact) in world.ctx.ledger.certain() {
        let Some(file) = files.get(&fact.inode) else {
            wrong.push(format!("file {number} (inode {}) has no record", fact.inode));
            continue;
        };
        if let Some(length) = fact.closed
            && file.length != length
            && fact.excused.is_none()
        {
            wrong.push(format!("file {number}: closed at {length}, recorded {}", file.length));
        }
        let mut at = 0;
        for record in &file.extents {
            // What a primary acknowledged of an open chunk may not be recorded yet.
            let best = record
                .members
                .iter()
                .filter_map(|member| world.servers.iter().find(|s| s.disk.server == *member))
                .filter_map(|server| server.disk.chunks.get(&record.handle))
                .filter(|stored| stored.header.complete >= version(record))
                .filter(|stored| stored.damaged().is_empty())
                .max_by_key(|stored| stored.header.length);
            let Some(stored) = best else { break };
            let bytes = stored.bytes(0, stored.header.length);
            if let Some(offset) = content::difference(number, at, &bytes) {
                wrong.push(format!("file {number}: byte {offset} is not what was written"));
            }
            at += u64::from(stored.header.length);
        }
        if at < fact.promised() {
            wrong.push(format!(
                "file {number}: {at} bytes are stored, {} were acknowledged",
                fact.promised()
            ));
        }
        if at > fact.handed {
            wrong.push(format!(
                "file {number}: {at} bytes are stored, {} were written",
                fact.handed
            ));
        }
    }
    for text in wrong {
        world.ctx.violation(text);
    }
}
