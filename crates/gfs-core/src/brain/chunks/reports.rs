//! What servers say they hold. A report comes in pages and counts as a whole, once its last page
//! has come and its digest is right; until then nothing is known of the server's replicas.

use super::change::plausible;
use super::rollback::is_plausible;
use super::servers::{Report, Server};
use super::strays::{Stray, StrayKind};
use super::{Chunks, Now, Outbox};
use crate::brain::{Response, SessionId, Token};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, Crc, ErrorCode, GfsError, ServerNumber};
use std::collections::BTreeMap;

/// Replicas in a page, and in a report.
const MAX_PAGE: usize = 4_096;
const MAX_REPLICAS: usize = 16 << 20;

/// The digest of a report so far with one more replica: CRC-32C over handle, complete, promised,
/// each as 8 bytes big endian.
#[must_use]
pub fn report_digest(digest: Crc, replica: &pb::ReplicaState) -> Crc {
    digest
        .append(&replica.handle.to_be_bytes())
        .append(&replica.complete.to_be_bytes())
        .append(&replica.promised.to_be_bytes())
}

/// The pages of a report so far.
#[derive(Debug, Default)]
pub(super) struct Pages {
    report: u64,
    next_page: u32,
    digest: Crc,
    replicas: Vec<Reported>,
}

/// What is kept of a reported replica.
#[derive(Clone, Copy, Debug)]
struct Reported {
    handle: ChunkHandle,
    promised: u64,
    complete: u64,
    inode: u64,
    index: u32,
    lease: bool,
    suspect: bool,
    damaged: bool,
}

impl From<&pb::ReplicaState> for Reported {
    fn from(state: &pb::ReplicaState) -> Self {
        Self {
            handle: ChunkHandle(state.handle),
            promised: state.promised,
            complete: state.complete,
            inode: state.inode,
            index: state.index,
            lease: state.lease,
            suspect: state.suspect,
            damaged: !state.damaged.is_empty(),
        }
    }
}

impl Chunks {
    /// A page of a report. Answered through [`Outbox::replies`].
    pub fn report(
        &mut self,
        now: Now,
        token: Token,
        page: &pb::ReportRequest,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) {
        let reply = match self.take_page(page) {
            Ok(None) => Ok(()),
            Ok(Some((server, pages))) => {
                self.reported(now, server, pages, counters, out);
                Ok(())
            }
            Err(error) => Err(pb::ErrorDetail::from(error)),
        };
        let epoch = self.epoch;
        out.replies.push((token, reply.map(|()| Response::Report(pb::ReportResponse { epoch }))));
        self.settle(now, out);
    }

    /// Adds a page; the whole report with the last one.
    fn take_page(
        &mut self,
        page: &pb::ReportRequest,
    ) -> Result<Option<(ServerNumber, Pages)>, GfsError> {
        let stale =
            || GfsError::new(ErrorCode::StaleSession, "the session is over; register again");
        let number = self.servers.by_session(SessionId(page.session)).ok_or_else(stale)?;
        let session =
            self.servers.get_mut(number).and_then(|s| s.session.as_mut()).ok_or_else(stale)?;
        if page.replicas.len() > MAX_PAGE {
            return Err(GfsError::invalid(format!("a page holds at most {MAX_PAGE} replicas")));
        }
        if matches!(session.report, Report::Complete) {
            // A repeat of the last page. What a server does after its report, the master knows.
            return Ok(None);
        }
        if page.page == 0 {
            session.report = Report::Coming(Pages { report: page.report, ..Pages::default() });
        }
        let Report::Coming(pages) = &mut session.report else {
            return Err(GfsError::invalid("a report starts with page 0"));
        };
        if page.report == pages.report && page.page.checked_add(1) == Some(pages.next_page) {
            // A repeat of a page whose answer was lost.
            return Ok(None);
        }
        if page.report != pages.report || page.page != pages.next_page {
            session.report = Report::Awaited;
            return Err(GfsError::invalid("a page of the report is missing; start a new report"));
        }
        if pages.replicas.len() + page.replicas.len() > MAX_REPLICAS {
            session.report = Report::Awaited;
            return Err(GfsError::new(
                ErrorCode::ResourceExhausted,
                format!("a server holds at most {MAX_REPLICAS} replicas"),
            ));
        }
        pages.next_page += 1;
        for replica in &page.replicas {
            pages.digest = report_digest(pages.digest, replica);
            pages.replicas.push(replica.into());
        }
        if !page.last {
            return Ok(None);
        }
        if pages.replicas.len() as u64 != page.count || pages.digest.0 != page.digest {
            session.report = Report::Awaited;
            return Err(GfsError::new(
                ErrorCode::Corrupt,
                "the report does not match its digest; start a new report",
            ));
        }
        let pages = std::mem::take(pages);
        session.report = Report::Complete;
        Ok(Some((number, pages)))
    }

    /// All that the server holds is known.
    fn reported(
        &mut self,
        now: Now,
        server: ServerNumber,
        pages: Pages,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) {
        // What was known of it is over.
        self.forget_strays_of(server);
        if let Some(server) = self.servers.get_mut(server) {
            server.was_known = true;
        }
        self.check_promises(now, server, &pages.replicas, out);
        let mut held: Vec<ChunkHandle> = Vec::new();
        let mut damaged: Vec<ChunkHandle> = Vec::new();
        for replica in &pages.replicas {
            if !is_plausible(replica.handle.0, counters) {
                let text = format!("server {server} reports chunk {}: ignored", replica.handle);
                out.notes.push((true, text));
            } else if replica.handle.0 >= counters.handle.max(1) {
                let why = format!("{server} holds chunk {}, which was never made", replica.handle);
                self.enter_rollback(&why, out);
                counters.handle = counters.handle.max(replica.handle.0.saturating_add(1));
                self.orphan(replica.handle, server, replica.promised.max(replica.complete));
            } else {
                let had = self.table.get(replica.handle).is_some_and(|slot| slot.holds(server));
                if self.take_replica(now, server, replica, out) {
                    held.push(replica.handle);
                } else if had && replica.damaged {
                    damaged.push(replica.handle);
                }
            }
        }
        self.send_owed_grants(server, out);
        held.sort_unstable();
        let lost: Vec<ChunkHandle> = self
            .table
            .iter()
            .filter(|(handle, slot)| slot.holds(server) && held.binary_search(handle).is_err())
            .map(|(handle, _)| handle)
            .collect();
        let cause = self.servers.get(server).and_then(Server::failing_volume);
        if let Some(cause) = &cause {
            // Copies on a volume that fails are reported as damaged, if at all.
            let gone = lost.iter().chain(&damaged).copied().collect::<Vec<_>>();
            for handle in gone {
                self.set_holds(handle, server, false);
                if let Some(slot) = self.table.get(handle) {
                    self.incidents.disk_lost(now, handle, &slot, cause);
                }
            }
        }
        for handle in lost {
            self.set_holds(handle, server, false);
            self.refresh(now, handle);
        }
        for replica in &pages.replicas {
            self.refresh(now, replica.handle);
        }
        out.notes.push((
            false,
            format!(
                "server {server} holds {} replicas, {} of them current",
                pages.replicas.len(),
                held.len()
            ),
        ));
        self.check_caution(now, out);
        self.server_usable(now, server, out);
    }

    /// What a server answered in a change that is under way holds in its next session, too, unless
    /// it lost power in between: then it may have forgotten its promise, or what it copied.
    fn check_promises(
        &mut self,
        now: Now,
        server: ServerNumber,
        replicas: &[Reported],
        out: &mut Outbox,
    ) {
        let asked = self.changes.iter().filter_map(|(h, change)| Some((*h, change.asks(server)?)));
        let mut broken: BTreeMap<ChunkHandle, u64> = asked.collect();
        for replica in replicas {
            let kept = |next: &u64| replica.promised >= *next && !replica.suspect;
            if broken.get(&replica.handle).is_some_and(kept) {
                broken.remove(&replica.handle);
            }
        }
        for (handle, next) in broken {
            self.member_failed(now, handle, server, next, "it forgot its promise", out);
        }
    }

    /// Takes note of one replica. Whether it is current.
    fn take_replica(
        &mut self,
        now: Now,
        server: ServerNumber,
        replica: &Reported,
        out: &mut Outbox,
    ) -> bool {
        let handle = replica.handle;
        let Some(slot) = self.table.get(handle) else {
            self.orphan(handle, server, replica.promised.max(replica.complete));
            return false;
        };
        let foreign =
            replica.inode != 0 && (replica.inode, replica.index) != (slot.inode, slot.index);
        let next = self.changes.get(&handle).map_or(0, |c| c.next).max(slot.version);
        if foreign || replica.complete > slot.version || replica.promised > next {
            let why = format!(
                "{server} holds chunk {handle} at version {} (promised {}) of file {} at {}; the \
                 record says {} (next {next}) of file {} at {}",
                replica.complete,
                replica.promised,
                replica.inode,
                replica.index,
                slot.version,
                slot.inode,
                slot.index
            );
            self.enter_rollback(&why, out);
            if !foreign && replica.promised > next && plausible(replica.promised, slot.version) {
                // The number is taken, whoever gave it: the next one is above.
                self.burn(now, handle, replica.promised, out);
            }
            if foreign || replica.complete > slot.version {
                return false;
            }
        }
        let member = slot.is_member(server);
        let believed = self.config.mistakes.has(Mistake::BelievesStaleReplicas);
        let complete = replica.complete == slot.version || believed;
        // What it was made equal to may have been lost with the power since.
        let owed = replica.promised == slot.version && !complete && !replica.suspect;
        if member && slot.first() == Some(server) && !owed {
            let lease = replica.lease && complete;
            // Who overwrote the chunk, only the master knew that gave the lease: it ends.
            let unknown = lease && slot.is_capped() && !slot.lease;
            if unknown && !self.changes.contains_key(&handle) {
                let mut change = super::change::Change::new(0, false, now);
                change.fixes = true;
                self.changes.insert(handle, Box::new(change));
            }
            self.set_lease(handle, lease && !unknown);
        }
        let kind = if !member || !complete {
            if member && owed {
                // Made equal under this number; only its Grant was lost. It is sent again, before
                // anything else.
                self.set_holds(handle, server, true);
                self.grants_owed.insert((server, handle));
                return true;
            }
            if replica.complete != 0 {
                self.leave_out(server, handle, slot.version);
            }
            if member && replica.suspect && replica.complete != 0 {
                // A member was made equal under this number, and then the power went: whether what it
                // was made equal to is there is not known, and it may have forgotten the number, too.
                // As doubtful as if its Grant had come.
                StrayKind::Suspect
            } else {
                StrayKind::Stale
            }
        } else if replica.suspect {
            StrayKind::Suspect
        } else if replica.damaged {
            StrayKind::Damaged
        } else {
            self.set_holds(handle, server, true);
            return true;
        };
        self.set_holds(handle, server, false);
        self.add_stray(handle, server, Stray::new(kind, replica.complete, replica.promised));
        false
    }
}
