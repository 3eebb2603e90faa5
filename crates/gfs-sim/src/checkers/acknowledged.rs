//! *No acknowledged byte is lost or changed*: what the ledger says is on the disks of the members,
//! whatever a reader would say; records that were appended once each, slots that were overwritten
//! as they were written last.

use super::extents::{self, Extents, version};
use crate::ledger::Content;
use crate::world::World;
use gfs_types::Millis;

/// Looks at every file that must be there.
pub fn check(world: &mut World) {
    let (files, mut wrong) = extents::of(&world.master.store);
    let numbers: Vec<u64> = world.ctx.ledger.certain().map(|(number, _)| number).collect();
    for number in numbers {
        let Some(fact) = world.ctx.ledger.files.get(&number) else { continue };
        let Some(file) = files.get(&fact.inode) else {
            wrong.push(format!("file {number} (inode {}) has no record", fact.inode));
            continue;
        };
        let parts = stored(world, file);
        let Some(fact) = world.ctx.ledger.file(number) else { continue };
        let mut say = |text: String| wrong.push(format!("file {number}: {text}"));
        if let Some(length) = fact.closed
            && file.length != length
            && fact.excused.is_none()
        {
            say(format!("closed at {length}, recorded {}", file.length));
        }
        let at = parts.last().map_or(0, |(start, bytes)| start + bytes.len() as u64);
        let (promised, excused, least) = (fact.promised(), fact.excused, fact.acknowledged);
        if at < promised {
            say(format!("{at} bytes are stored, {promised} were acknowledged"));
        }
        if at > fact.handed {
            say(format!("{at} bytes are stored, {} were written", fact.handed));
        }
        match &mut fact.content {
            Content::Written(layout) => {
                for (start, bytes) in parts {
                    // Behind what is lost nobody knows where what begins.
                    let wrong = layout.difference(start, &bytes);
                    if let Some(offset) = wrong.filter(|at| excused.is_none_or(|from| *at < from)) {
                        say(format!("byte {offset} is not what was written"));
                    }
                }
            }
            Content::Records(records) => {
                let all: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
                records.check(&all, true, false, excused, least).into_iter().for_each(say);
            }
            Content::Slots(slots) => {
                for (start, bytes) in parts {
                    slots.check(start, &bytes, Millis(0), true).into_iter().for_each(&mut say);
                }
            }
        }
    }
    for text in wrong {
        world.ctx.violation(text);
    }
}

/// What is stored of a file, extent by extent: where each begins, and its bytes. It ends where one
/// is not to be had.
fn stored(world: &World, file: &Extents) -> Vec<(u64, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut at = 0;
    for record in &file.extents {
        let bytes = if record.handle == 0 {
            vec![0; record.length as usize]
        } else {
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
            stored.bytes(0, stored.header.length).to_vec()
        };
        let start = at;
        at += bytes.len() as u64;
        parts.push((start, bytes));
    }
    parts
}
