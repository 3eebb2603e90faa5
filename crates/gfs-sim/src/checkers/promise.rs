//! What a loss of power leaves of the promises. An acknowledged byte survives the loss of all but one
//! of its copies. A copy whose server lost power before it was synced counts as lost; if no other
//! one is left, the byte may be gone, and so may all behind it in the file: the ledger takes that
//! down *before* anything goes on, so that nothing else is excused by it.

use super::extents::{self, version};
use crate::ledger::Content;
use crate::server::Server;
use crate::world::World;

/// Whether the server has a copy of the chunk that is current, undamaged, and lost nothing.
#[must_use]
pub fn is_good(server: &Server, handle: u64, version: u64) -> bool {
    server.disk.chunks.get(&handle).is_some_and(|stored| {
        // One that was made equal and has not heard of it yet counts as well.
        (stored.header.complete == version || stored.header.promised == version)
            && !stored.is_suspect()
            && stored.damaged().is_empty()
    })
}

/// Goes through all files after a loss: what no copy has for sure is not promised any more.
pub fn recall(world: &mut World) {
    let (files, _) = extents::of(&world.master.store);
    let facts: Vec<(u64, u64, u64)> = (world.ctx.ledger.files.iter())
        .filter(|(_, fact)| fact.inode != 0)
        .map(|(file, fact)| (*file, fact.inode, fact.handed))
        .collect();
    for (number, inode, handed) in facts {
        let Some(file) = files.get(&inode) else { continue };
        let mut start = 0;
        for record in file.extents.iter().chain(&file.spare) {
            let (handle, version) = (record.handle, version(record));
            let (from, to) = (start, start + u64::from(record.length));
            start = to;
            if handle == 0 {
                continue;
            }
            let members =
                || world.servers.iter().filter(|s| record.members.contains(&s.disk.server));
            if members().any(|server| is_good(server, handle, version)) {
                continue;
            }
            let Some(fact) = world.ctx.ledger.files.get_mut(&number) else { continue };
            // *Not asked for yet*: what was acknowledged to be on disk. A copy whose header is newer
            // than its bytes may win over one that has them, and a loss of power in the middle of a
            // version change leaves every copy below the record.
            let lost = from;
            world.doubtful.insert(handle);
            if from < handed {
                fact.excused = Some(fact.excused.map_or(lost, |before| before.min(lost)));
                match &mut fact.content {
                    Content::Written(_) => {}
                    Content::Records(records) => records.forget_seen(lost),
                    Content::Slots(slots) => slots.excuse(from, to),
                }
            }
        }
    }
}
