//! Flushes: on the word of a writer every member has on disk what is acknowledged to it.

use super::stream::{Flush, Here, Phase};
use super::{Output, Outputs, PushBody, Replica, ReplyBody, StreamId, failure};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;

/// Flushes of one stream that are not answered.
const MAX_FLUSHES: usize = 8;

impl<P: Clone> Replica<P> {
    /// A flush came up a stream: from the writer, or from the member before this one.
    pub(super) fn flush(
        &mut self,
        id: StreamId,
        token: u64,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let primary = self.role.as_ref().and_then(|role| role.primary.as_ref());
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.phase != Phase::Open || token != stream.flush_token + 1 {
            let text = format!("flush {token} after {}", stream.flush_token);
            return Err(failure(ErrorCode::InvalidArgument, text));
        }
        if stream.flushes.len() >= MAX_FLUSHES {
            let text = format!("more than {MAX_FLUSHES} flushes at once");
            return Err(failure(ErrorCode::ResourceExhausted, text));
        }
        stream.flush_token = token;
        // A member behind is told when all it is to cover is applied there.
        let after = primary.map_or(0, |primary| match primary.writers.get(&stream.writer) {
            Some(writer) if primary.full => writer.ordered,
            // Of what is pushed again over this stream another one has brought the commit.
            Some(writer) => writer.ordered.max(stream.committed.min(stream.taken())),
            None => 0,
        });
        let below = !stream.has_next();
        stream.flushes.push_back(Flush { token, after, here: Here::Waiting, below });
        self.pass_flushes(out);
        Ok(())
    }

    /// Begins, here and below, the flushes for which everything is applied.
    pub(super) fn pass_flushes(&mut self, out: &mut Outputs<P>) {
        let primary = self.role.as_ref().and_then(|role| role.primary.as_ref());
        for (id, stream) in &mut self.streams {
            let known = primary.and_then(|primary| primary.writers.get(&stream.writer));
            let acknowledged = known.map_or(0, |writer| writer.acknowledged);
            for flush in &mut stream.flushes {
                if flush.here != Here::Waiting || flush.after > acknowledged {
                    continue;
                }
                flush.here = Here::Due;
                if !flush.below {
                    let body = PushBody::Flush(pb::Flush { token: flush.token });
                    out.push(Output::SendDown { stream: *id, body, payload: None });
                }
            }
        }
    }

    /// The disk is about to flush: whether, and for whom.
    pub(super) fn take_flushes(&mut self) -> bool {
        let mut any = false;
        for flush in self.streams.values_mut().flat_map(|stream| &mut stream.flushes) {
            if flush.here == Here::Due {
                flush.here = Here::Running;
                any = true;
            }
        }
        any
    }

    /// The disk has flushed.
    pub(super) fn flushed_here(&mut self, out: &mut Outputs<P>) {
        for flush in self.streams.values_mut().flat_map(|stream| &mut stream.flushes) {
            if flush.here == Here::Running {
                flush.here = Here::Done;
            }
        }
        self.answer_flushes(out);
    }

    /// The members behind have flushed.
    pub(super) fn flushed_below(
        &mut self,
        id: StreamId,
        token: u64,
        out: &mut Outputs<P>,
    ) -> Result<(), ()> {
        let stream = self.streams.get_mut(&id).ok_or(())?;
        let asked = |flush: &&mut Flush| flush.token == token && flush.here > Here::Waiting;
        stream.flushes.iter_mut().find(asked).ok_or(())?.below = true;
        self.answer_flushes(out);
        Ok(())
    }

    fn answer_flushes(&mut self, out: &mut Outputs<P>) {
        let hasty = self.settings.mistakes.has(Mistake::PrimaryAnswersFlushBeforeSecondary);
        for (id, stream) in &mut self.streams {
            while let Some(first) = stream.flushes.front()
                && first.here == Here::Done
                && (first.below || hasty)
            {
                let body = ReplyBody::Flushed(pb::Flushed { token: first.token });
                out.push(Output::Reply { stream: *id, body });
                stream.flushes.pop_front();
            }
        }
    }
}
