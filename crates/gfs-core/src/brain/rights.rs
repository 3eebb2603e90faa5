//! Who may change a file's end: one writer, or any number of clients that append records.
//!
//! The right is in the file's record. It is given with Open (or Create) and given up by Close:
//!
//! | who asks | while a writer holds it | while appenders hold it |
//! |---|---|---|
//! | Open for write | BUSY | BUSY |
//! | Open to append | BUSY | shares it, up to 1 024 |
//!
//! A client renews its right by calling every third of `writer_idle`, whether it writes or not. It
//! has *vanished* when it has made no call for `writer_idle` and the primary of the last chunk says
//! that it has neither a stream nor made a mutation for 60 s; or, where no primary says so, when it
//! has been silent for `client_idle`. When nobody is left, and not the one
//! writer has closed and said how long the file is, a version change without a lease finds that out,
//! and the spare after it if that counts; then the right is given up. That is *ending*: the record
//! keeps the last client until then, so that a new leader takes it up again.
//!
//! Who wants the right need not wait for all that: a writer that has made no call for `writer_idle`
//! is displaced, and so are appenders of whom that is true and for whom no primary speaks (it says
//! that they are gone, or there was none for as long). The version change that comes with it ends
//! what they could still do.

use std::collections::BTreeMap;

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ClientId, ErrorCode, GfsError, InodeId, Millis};

use super::Effect;
use super::step::Brain;
use super::work::Work;

/// Appenders that a file may have.
pub(crate) const MAX_APPENDERS: usize = 1_024;
/// Open files looked at per tick.
const EXAMINED: usize = 1_000;

/// A file that is open for write or to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writing {
    /// Who holds the right: one, or all who append. Never empty.
    pub(crate) clients: BTreeMap<ClientId, Holder>,
    /// They append records.
    pub(crate) appends: bool,
    /// The one made the file and has not closed it: it may abandon it.
    pub(crate) created: bool,
    /// The next chunk, asked for early. Of appenders: what a writer before them left, until it is
    /// known whether it counts.
    pub(crate) spare: Option<ChunkHandle>,
    /// Nobody is left; the right goes when the length is known.
    pub(crate) ending: bool,
    /// When the last chunk was last seen to have a primary, which speaks for its writers.
    pub(crate) led: Millis,
}

/// A client that holds the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its last call for this file.
    seen: Millis,
    /// A primary said since that it has vanished.
    gone: bool,
}

impl Writing {
    /// One client holds the right.
    pub(crate) fn new(client: ClientId, appends: bool, now: Millis) -> Self {
        Self {
            clients: BTreeMap::from([(client, Holder { seen: now, gone: false })]),
            appends,
            created: false,
            spare: None,
            ending: false,
            led: now,
        }
    }

    /// The right as a record has it; `None` if nobody holds it.
    pub(crate) fn load(writer: u64, appenders: &[u64], now: Millis) -> Option<Self> {
        let mut clients = appenders.iter().chain([&writer]).filter(|id| **id != 0);
        let mut writing = Self::new(ClientId(*clients.next()?), writer == 0, now);
        for client in clients {
            writing.clients.insert(ClientId(*client), Holder { seen: now, gone: false });
        }
        Some(writing)
    }

    /// Whether this client holds it.
    pub(crate) fn is_held_by(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// Who holds it, for people.
    fn holder(&self) -> String {
        match (self.appends, self.clients.first_key_value()) {
            (false, Some((client, _))) => format!("client {client} writes"),
            _ => format!("{} clients append to", self.clients.len()),
        }
    }

    /// What the record says: the writer, and the appenders.
    pub(crate) fn record(&self) -> (u64, Vec<u64>) {
        let mut clients = self.clients.keys().map(|client| client.0);
        if self.appends { (0, clients.collect()) } else { (clients.next().unwrap_or(0), vec![]) }
    }
}

impl Brain {
    /// The file that this client writes or appends to; notes a sign of life.
    pub(super) fn written_by(
        &mut self,
        inode: InodeId,
        client: ClientId,
        now: Millis,
    ) -> Result<&mut Writing, GfsError> {
        match self.writers.get_mut(&inode) {
            Some(writing) if writing.is_held_by(client) => {
                writing.clients.insert(client, Holder { seen: now, gone: false });
                // Whoever was believed gone is back.
                writing.ending = false;
                Ok(writing)
            }
            _ => Err(GfsError::new(
                ErrorCode::Conflict,
                format!("client {client} does not hold the right to write inode {inode}: open it"),
            )),
        }
    }

    /// The same, of a client that only says that it is there: a primary that said that it had gone
    /// will not say so again before it writes, and so its word stands for when it falls silent.
    pub(super) fn renewed_by(
        &mut self,
        inode: InodeId,
        client: ClientId,
        now: Millis,
    ) -> Result<(), GfsError> {
        let holder = self.writers.get(&inode).and_then(|writing| writing.clients.get(&client));
        let gone = holder.is_some_and(|holder| holder.gone);
        let writing = self.written_by(inode, client, now)?;
        writing.clients.insert(client, Holder { seen: now, gone });
        Ok(())
    }

    /// Why another client cannot have the right now; `None` if all who hold it have vanished.
    pub(super) fn held(&self, inode: InodeId, now: Millis) -> Option<GfsError> {
        let writing = self.writers.get(&inode)?;
        let vanished = writing.ending
            || writing.clients.iter().all(|(client, holder)| {
                let silent = self.is_silent(*client, holder, now);
                silent && (!writing.appends || self.is_unspoken_for(writing, holder, now))
            });
        (!vanished)
            .then(|| GfsError::new(ErrorCode::Busy, format!("{} inode {inode}", writing.holder())))
    }

    /// How long ago a client made its last call.
    fn silence(&self, client: ClientId, holder: &Holder, now: Millis) -> Millis {
        let seen = self.outcomes.last_seen(client).unwrap_or_default();
        now.since(seen.max(holder.seen))
    }

    /// Whether that is longer than a writer may be silent.
    fn is_silent(&self, client: ClientId, holder: &Holder, now: Millis) -> bool {
        self.silence(client, holder, now) >= self.config.limits.writer_idle
    }

    /// Whether no primary speaks for it either.
    fn is_unspoken_for(&self, writing: &Writing, holder: &Holder, now: Millis) -> bool {
        holder.gone || now.since(writing.led) >= self.config.limits.writer_idle
    }

    /// Gives a client the right to write a file, or to append to it. Whether that is new to it.
    ///
    /// # Errors
    /// BUSY while others hold it and do not share it; CONFLICT if the client itself holds it in the
    /// other way; RESOURCE_EXHAUSTED if there are too many appenders.
    pub(super) fn acquire(
        &mut self,
        work: &mut Work,
        inode: InodeId,
        client: ClientId,
        append: bool,
    ) -> Result<bool, GfsError> {
        let now = work.now.mono;
        let held = self.held(inode, now);
        let mut spare = None;
        if let Some(writing) = self.writers.get_mut(&inode) {
            if writing.appends == append && writing.is_held_by(client) {
                writing.clients.insert(client, Holder { seen: now, gone: false });
                writing.ending = false;
                return Ok(false);
            }
            if let Some(busy) = held {
                if writing.is_held_by(client) {
                    let text = format!(
                        "client {client} has inode {inode} open for {}: close it first",
                        if append { "write" } else { "append" }
                    );
                    return Err(GfsError::new(ErrorCode::Conflict, text));
                }
                if !append || !writing.appends {
                    return Err(busy);
                }
                if writing.clients.len() >= MAX_APPENDERS {
                    return Err(GfsError::new(
                        ErrorCode::ResourceExhausted,
                        format!("{MAX_APPENDERS} clients append to inode {inode} already"),
                    ));
                }
                writing.clients.insert(client, Holder { seen: now, gone: false });
                work.entry(inode);
                return Ok(true);
            }
            spare = writing.spare;
        }
        self.writers.insert(inode, Writing { spare, ..Writing::new(client, append, now) });
        work.entry(inode);
        Ok(true)
    }

    /// A client gives up its right without saying how long the file is.
    pub(super) fn leave(&mut self, work: &mut Work, inode: InodeId, client: ClientId) {
        let Some(writing) = self.writers.get_mut(&inode) else { return };
        if !writing.is_held_by(client) {
            return;
        }
        if writing.clients.len() > 1 {
            writing.clients.remove(&client);
            work.entry(inode);
        } else {
            self.end_writing(work, inode);
        }
    }

    /// Nobody is left who writes: finds out how long the file is, then gives up the right.
    pub(super) fn end_writing(&mut self, work: &mut Work, inode: InodeId) {
        if let Some(writing) = self.writers.get_mut(&inode) {
            writing.ending = true;
            self.go_on_ending(work, inode, None);
        }
    }

    /// The next step of that. `fixed`: the length of this chunk is known for sure now.
    fn go_on_ending(&mut self, work: &mut Work, inode: InodeId, fixed: Option<ChunkHandle>) {
        let before = self.namespace.file(inode).map(|file| self.length_of(file));
        // A spare becomes the last chunk once at most.
        for _ in 0..2 {
            match self.last_chunk(inode) {
                Some(open) if !self.is_sealed(open) => {
                    if fixed != Some(open) {
                        self.chunks.fix(work.now, open, &mut work.chunks);
                        return;
                    }
                    break;
                }
                Some(full) if self.chunks.length(full) == self.geometry.chunk_size() => {
                    self.promote(work, inode);
                }
                _ => break,
            }
        }
        self.drop_empty_last(work, inode);
        self.give_up_right(work, inode);
        if before != self.namespace.file(inode).map(|file| self.length_of(file)) {
            self.modified(work, inode);
        }
    }

    /// A version change that nobody called for has found the length of a chunk.
    pub(super) fn fixed(&mut self, work: &mut Work, handle: ChunkHandle) {
        let Some(inode) = self.chunks.info(handle).map(|info| info.inode) else { return };
        if self.writers.get(&inode).is_some_and(|writing| writing.ending) {
            self.seal_if_full(work, inode, handle);
            self.go_on_ending(work, inode, Some(handle));
        }
    }

    /// A primary says that a client has neither a stream nor made a mutation of the chunk for a
    /// while. Nothing above `length` is acknowledged.
    pub(super) fn writer_vanished(
        &mut self,
        work: &mut Work,
        handle: ChunkHandle,
        client: ClientId,
        length: u32,
    ) {
        let Some(inode) = self.chunks.info(handle).map(|info| info.inode) else { return };
        if self.writers.get(&inode).is_none_or(|writing| !writing.is_held_by(client)) {
            self.overwriter_vanished(work, handle, client);
            return;
        }
        let last = self.last_chunk(inode);
        let spare = self.writers.get(&inode).and_then(|writing| writing.spare);
        let ended = if last == Some(handle) {
            if length == self.geometry.chunk_size() {
                // The client may have gone on in the next one. (This one may have another version
                // by now: then a new primary will say the same.)
                let version = self.chunks.version(handle);
                let full = pb::FinishedChunk { handle: handle.0, version, length };
                let _ = self.finish(work, inode, &full, true);
                return;
            }
            true
        } else {
            spare == Some(handle) && last.is_some_and(|last| !self.chunks.has_primary(last))
        };
        if ended
            && let Some(writing) = self.writers.get_mut(&inode)
            && let Some(holder) = writing.clients.get_mut(&client)
        {
            holder.gone = true;
            self.look_at_holders(work, inode);
        }
    }

    /// Takes the right from clients that have vanished. Whether there were any.
    fn look_at_holders(&mut self, work: &mut Work, inode: InodeId) -> bool {
        let now = work.now.mono;
        let open = self.open_chunk(inode);
        let spare = self.writers.get(&inode).and_then(|writing| writing.spare);
        let led = open.into_iter().chain(spare).any(|chunk| self.chunks.has_primary(chunk));
        if let Some(writing) = self.writers.get_mut(&inode).filter(|_| led || open.is_none()) {
            writing.led = now;
        }
        let Some(writing) = self.writers.get(&inode).filter(|w| !w.ending) else { return false };
        let idle = self.config.limits.client_idle;
        let has_vanished = |client: ClientId, holder: &Holder| {
            let told = holder.gone && self.is_silent(client, holder, now);
            told || self.silence(client, holder, now) >= idle
        };
        let vanished: Vec<ClientId> = writing
            .clients
            .iter()
            .filter(|(client, holder)| has_vanished(**client, holder))
            .map(|(client, _)| *client)
            .collect();
        for client in &vanished {
            let text = format!("client {client} has vanished and left inode {inode} open");
            work.chunks.notes.push((false, text));
            self.leave(work, inode, *client);
        }
        !vanished.is_empty()
    }

    /// Looks at some more open files. What becomes of each is a commit of its own.
    pub(super) fn find_vanished(&mut self, work: &mut Work, out: &mut Vec<Effect>) {
        let some: Vec<InodeId> =
            self.writers.range(self.writers_from..).map(|(id, _)| *id).take(EXAMINED).collect();
        self.writers_from = match some.last() {
            Some(last) if some.len() == EXAMINED => InodeId(last.0.saturating_add(1)),
            _ => InodeId(0),
        };
        for inode in some {
            if self.look_at_holders(work, inode) {
                self.carry_on(work);
                self.flush(work, usize::MAX, out);
            }
        }
    }
}
