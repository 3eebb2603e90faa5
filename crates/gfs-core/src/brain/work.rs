//! What one event changes and answers: gathered while the event is handled, then sent on.

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{ClientId, InodeId};

use super::chunks::Outbox;
use super::journal::{Fact, Journal};
use super::namespace::Node;
use super::records::{self, page_of};
use super::{Now, Ordinal, Response, Token};

/// An answer to a call.
pub(crate) type Answer = Result<Response, pb::ErrorDetail>;

/// The work of one event. Kept from event to event for its buffers.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// The time of the event.
    pub(crate) now: Now,
    /// What the replies rest on, apart from what this event changes.
    pub(crate) after: Ordinal,
    /// What this event changes, for later readers.
    pub(crate) facts: Vec<Fact>,
    /// Entries to be written again.
    pub(crate) entries: Vec<InodeId>,
    /// Pages of extents to be written again.
    pub(crate) pages: Vec<(InodeId, u32)>,
    /// Clients whose outcomes are to be written again.
    pub(crate) clients: Vec<ClientId>,
    /// The cluster record is to be written again.
    pub(crate) cluster: bool,
    /// Records to be deleted, unless written again.
    pub(crate) deleted: Vec<Bytes>,
    /// What the chunk side wants.
    pub(crate) chunks: Outbox,
    /// Answers.
    pub(crate) replies: Vec<(Token, Answer)>,
}

impl Work {
    /// Begins the work of an event. All answers rest on `floor` at least.
    pub(crate) fn begin(&mut self, now: Now, floor: Ordinal) {
        self.now = now;
        self.after = floor;
    }

    /// The answer rests on this.
    pub(crate) fn rests_on(&mut self, journal: &Journal, fact: Fact) {
        self.after = self.after.max(journal.depends(fact));
    }

    /// A name was bound or freed.
    pub(crate) fn bound(&mut self, directory: InodeId, name: &str, inode: InodeId) {
        self.facts.extend([
            Fact::name(directory, name),
            Fact::Children(directory),
            Fact::Inode(inode),
        ]);
    }

    /// An entry is new or changed.
    pub(crate) fn entry(&mut self, inode: InodeId) {
        self.entries.push(inode);
        self.facts.push(Fact::Inode(inode));
    }

    /// An entry is gone from where it was.
    pub(crate) fn unbound(&mut self, inode: InodeId, node: &Node) {
        self.deleted.push(records::entry_key(node.parent, &node.name));
        self.bound(node.parent, node.name(), inode);
    }

    /// The extent at this index of a file changed, or its spare (an index past its extents).
    pub(crate) fn extent(&mut self, inode: InodeId, index: usize, extents: usize) {
        self.entry(inode);
        if index < extents && page_of(index) > 0 {
            self.pages.push((inode, page_of(index)));
        }
    }

    /// Takes over what is left of another work whose changes are committed.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.replies.extend(other.replies);
        self.chunks.absorb(other.chunks);
    }

    /// Whether this event changes anything that is persisted.
    pub(crate) fn is_dirty(&self) -> bool {
        self.cluster
            || !self.entries.is_empty()
            || !self.pages.is_empty()
            || !self.clients.is_empty()
            || !self.deleted.is_empty()
            || !self.chunks.touched.is_empty()
            || !self.chunks.touched_servers.is_empty()
            || !self.chunks.garbage.is_empty()
    }
}
