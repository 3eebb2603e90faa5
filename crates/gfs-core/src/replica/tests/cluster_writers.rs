//! The writers of the cluster in miniature: they push slices, some of them twice, and wait for
//! another version when a stream fails.

use super::cluster::{Above, Checked, Cluster, Down, Link, SLICES, Up, server};
use super::*;

impl Cluster {
    pub(super) fn write(&mut self) {
        let w = self.dice.roll(self.writers.len());
        let version = self.master.version;
        let writer = &mut self.writers[w];
        if writer.stale.is_some_and(|stale| stale >= version) {
            return;
        }
        writer.stale = None;
        let Some(link) = writer.link.and_then(|link| self.links.get_mut(&link)) else {
            return self.open(w);
        };
        let flying = writer.next.saturating_sub(writer.acknowledged);
        if writer.opened && writer.next <= SLICES && flying < 5 {
            let (offset, bytes) = &writer.slices[writer.next as usize - 1];
            let (body, payload) = slice(writer.next, *offset, bytes);
            link.down.push_back(Down::Push(body, Some(payload)));
            // Sometimes the same again.
            if self.dice.roll(6) == 0 {
                let (body, payload) = slice(writer.next, *offset, bytes);
                link.down.push_back(Down::Push(body, Some(payload)));
            }
            writer.next += 1;
        }
    }

    pub(super) fn open(&mut self, w: usize) {
        let mut chain: Vec<u32> = self.master.members.iter().map(|n| server(*n)).collect();
        let primary = chain.remove(0) as usize - 1;
        if self.dice.roll(2) == 0 {
            chain.reverse();
        }
        let body = open(self.master.version, w as u64 + 1, 0, &chain);
        let link = self.link(Above::Writer(w), primary, body);
        self.writers[w].link = Some(link);
        self.writers[w].opened = false;
        self.writers[w].version = self.master.version;
    }

    pub(super) fn link(&mut self, above: Above, node: usize, body: PushBody) -> usize {
        let id = self.id();
        let down = VecDeque::from([Down::Push(body, None)]);
        let link = Link {
            above,
            node,
            stream: StreamId(id),
            down,
            up: VecDeque::new(),
            ended: (false, false),
        };
        self.links.insert(id as usize, link);
        id as usize
    }

    pub(super) fn writer_hears(&mut self, w: usize, up: Up) -> Checked {
        let again = self.dice.roll(4);
        let writer = &mut self.writers[w];
        let version = writer.version;
        match up {
            Up::Reply(ReplyBody::Opened(opened)) => {
                if opened.sequence < writer.acknowledged {
                    return Err(format!(
                        "writer {w}: {} acknowledged, {opened:?}",
                        writer.acknowledged
                    ));
                }
                writer.opened = true;
                // Also what is acknowledged is pushed again at times.
                writer.next = (writer.acknowledged + 1).saturating_sub(again as u64).max(1);
            }
            Up::Reply(ReplyBody::Acknowledged(ack)) => {
                writer.acknowledged = writer.acknowledged.max(ack.through);
            }
            Up::Reply(ReplyBody::Failed(failed)) => {
                writer.link = None;
                let code = failed.error.unwrap_or_default().error_code();
                if code == ErrorCode::Conflict {
                    return Err(format!("writer {w}: a repeat was taken for another slice"));
                }
                if !matches!(code, ErrorCode::WrongOffset | ErrorCode::Cancelled) {
                    writer.stale = Some(version);
                }
            }
            Up::End => {
                writer.link = None;
                writer.stale = (again > 0).then_some(version);
            }
            Up::Reply(_) => {}
        }
        Ok(())
    }
}
