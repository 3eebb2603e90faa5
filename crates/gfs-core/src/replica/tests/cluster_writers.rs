//! The writers of the cluster in miniature: they push mutations, some of them twice, have them
//! flushed, and wait for another version when a stream fails.

use super::cluster::{Above, Checked, Cluster, Down, Link, MUTATIONS, Manner, Up, server};
use super::*;

/// The slices of a mutation, cut at random.
fn slices(
    cut: usize,
    sequence: u64,
    (place, bytes): &(Option<u32>, Payload),
    append: bool,
) -> Vec<(PushBody, Payload)> {
    let start = place.filter(|_| !append).unwrap_or(0);
    let pieces: Vec<_> = bytes.chunks(cut).collect();
    let mut at = start;
    let mut slices = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let slice = pb::Slice {
            sequence,
            offset: at * BLOCK_SIZE,
            length: piece.len() as u32 * BLOCK_SIZE,
            sums: vec![0; piece.len()],
            commit: true,
            append,
            more: n + 1 < pieces.len(),
        };
        at += piece.len() as u32;
        slices.push((PushBody::Slice(slice), piece.to_vec()));
    }
    slices
}

impl Cluster {
    pub(super) fn write(&mut self) {
        let w = self.dice.roll(self.writers.len());
        let (version, sealed) = (self.master.version, self.master.sealed);
        let (cut, again, flush) = (1 + self.dice.roll(5), self.dice.roll(6), self.dice.roll(9));
        let end = self.nodes.iter().map(|n| n.replica.confirmed() / BLOCK_SIZE).max().unwrap_or(0);
        let anywhere = self.dice.roll(end as usize + 1) as u32;
        let writer = &mut self.writers[w];
        if writer.done || writer.gave_up || writer.stale.is_some_and(|stale| stale >= version) {
            return;
        }
        writer.stale = None;
        let Some(link) = writer.link.and_then(|link| self.links.get_mut(&link)) else {
            return if sealed { self.ask_outcomes(w) } else { self.open(w) };
        };
        if !writer.opened {
            return;
        }
        let flying = writer.next.saturating_sub(writer.acknowledged);
        if writer.next <= MUTATIONS && flying < 5 {
            let mutation = &mut writer.mutations[writer.next as usize - 1];
            let append = writer.manner == Manner::Append;
            if !append {
                mutation.0.get_or_insert(anywhere);
            }
            // Sometimes the same again.
            for _ in 0..if again == 0 { 2 } else { 1 } {
                for (body, payload) in slices(cut, writer.next, mutation, append) {
                    link.down.push_back(Down::Push(body, Some(payload)));
                }
            }
            writer.next += 1;
            writer.fresh = writer.fresh.max(writer.next);
        }
        if flush == 0 && writer.flushes.len() < 3 {
            writer.flush_token += 1;
            writer.flushes.push_back((writer.flush_token, writer.next - 1));
            let body = PushBody::Flush(pb::Flush { token: writer.flush_token });
            link.down.push_back(Down::Push(body, None));
        }
    }

    /// The chunk is sealed: what became of what was not acknowledged?
    fn ask_outcomes(&mut self, w: usize) {
        let n = self.master.members[self.dice.roll(self.master.members.len())];
        let answer = self.nodes[n].replica.outcomes(self.master.version, w as u64 + 1);
        let writer = &mut self.writers[w];
        if let Ok(answer) = answer
            && answer.sealed
        {
            writer.acknowledged = writer.acknowledged.max(answer.sequence);
            writer.done = true;
        }
    }

    pub(super) fn open(&mut self, w: usize) {
        let mut chain: Vec<u32> = self.master.members.iter().map(|n| server(*n)).collect();
        let primary = chain.remove(0) as usize - 1;
        if self.dice.roll(2) == 0 {
            chain.reverse();
        }
        let body = pb::PushOpen {
            version: self.master.version,
            writer: w as u64 + 1,
            chain: members(&chain),
            acknowledged: self.writers[w].acknowledged,
            committed: self.writers[w].fresh - 1,
            ..Default::default()
        };
        let link = self.link(Above::Writer(w), primary, PushBody::Open(body));
        let writer = &mut self.writers[w];
        writer.link = Some(link);
        writer.opened = false;
        writer.version = self.master.version;
        (writer.flush_token, writer.flushes) = (0, VecDeque::new());
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
                writer.acknowledged = opened.sequence;
                writer.opened = true;
                // Also what is acknowledged is pushed again at times.
                writer.next = (writer.acknowledged + 1).saturating_sub(again as u64).max(1);
            }
            Up::Reply(ReplyBody::Acknowledged(ack)) => {
                writer.acknowledged = writer.acknowledged.max(ack.through);
            }
            Up::Reply(ReplyBody::Finished(finished)) => {
                writer.link = None;
                // It counts once the master has accepted it, at the version it has.
                if finished.version == self.master.version && self.master.change.is_none() {
                    self.master.sealed = true;
                    writer.done = true;
                } else {
                    writer.stale = Some(version);
                }
            }
            Up::Reply(ReplyBody::Flushed(flushed)) => {
                let asked = writer.flushes.pop_front();
                if asked.is_none_or(|(token, _)| token != flushed.token) {
                    return Err(format!("writer {w}: flush {} was not due", flushed.token));
                }
            }
            Up::Reply(ReplyBody::Failed(failed)) => {
                writer.link = None;
                let error = failed.error.unwrap_or_default();
                let code = error.error_code();
                if matches!(code, ErrorCode::Conflict | ErrorCode::OutcomeUnknown) {
                    return Err(format!("writer {w}: {}", error.message));
                }
                if !matches!(code, ErrorCode::WrongOffset | ErrorCode::Cancelled) {
                    writer.stale = Some(version);
                }
                // A plan that does not fit the chunk. What it has in flight may still be applied.
                writer.gave_up |= code == ErrorCode::OutOfRange;
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
