//! What became of clients' operations, so that a repeat changes nothing.
//!
//! A call is named by (client id, sequence). The outcome of one that changed the tree (Mkdir,
//! Create, Close, Rename, Remove, Truncate, RestoreTrash, EmptyTrash) is written in the same commit as the
//! change itself. Calls that are idempotent by their nature (Open, Allocate, Recover, Lease, Sync) and
//! calls that failed for good changed nothing that a repeat could change again after a restart of
//! the master; their outcomes are kept in memory only, against repeats that a broken connection
//! delivers late. A call that failed in a way that may pass (BUSY, TOO_FEW_SERVERS, ...) has no
//! outcome: its repeat is a new attempt.

use std::collections::{BTreeMap, BTreeSet};

use gfs_proto::v1 as pb;
use gfs_types::{ClientId, ErrorCode, GfsError, Millis};

use super::Token;

/// What is known of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Never heard of.
    New,
    /// It ended so.
    Ended(pb::Outcome),
    /// It waits; the repeat waits with it.
    UnderWay(Token),
}

#[derive(Debug, Default)]
struct Client {
    /// By sequence. `true`: persisted.
    outcomes: BTreeMap<u64, (pb::Outcome, bool)>,
    under_way: BTreeMap<u64, Token>,
    /// Ended without effect, to be tried again: these are not forgotten with those around them.
    open: BTreeSet<u64>,
    /// Outcomes up to here are forgotten.
    forgotten: u64,
    seen: Millis,
    /// The store has a record of it (maybe with outcomes that are forgotten here).
    stored: bool,
}

/// Outcomes of all clients.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    clients: BTreeMap<ClientId, Client>,
    /// When idle clients were last looked for.
    swept: Millis,
}

impl Outcomes {
    /// Notes a sign of life.
    pub(crate) fn seen(&mut self, client: ClientId, now: Millis) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.seen = now;
        }
    }

    /// Clients of which something is known.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// When a client was last heard of.
    pub(crate) fn last_seen(&self, client: ClientId) -> Option<Millis> {
        self.clients.get(&client).map(|client| client.seen)
    }

    /// What became of an operation. Forgets what the client says it has heard of.
    ///
    /// # Errors
    /// OUTCOME_UNKNOWN when it is too old to tell, unless a repeat is `harmless`.
    pub(crate) fn look(
        &mut self,
        id: ClientId,
        sequence: u64,
        answered_through: u64,
        harmless: bool,
        now: Millis,
    ) -> Result<Known, GfsError> {
        let client = self.clients.entry(id).or_default();
        client.seen = now;
        while let Some(first) = client.outcomes.first_entry() {
            if *first.key() > answered_through {
                break;
            }
            first.remove();
        }
        client.forgotten = client.forgotten.max(answered_through);
        while client.open.first().is_some_and(|first| *first <= answered_through) {
            client.open.pop_first();
        }
        if let Some((outcome, _)) = client.outcomes.get(&sequence) {
            return Ok(Known::Ended(outcome.clone()));
        }
        if let Some(token) = client.under_way.get(&sequence) {
            return Ok(Known::UnderWay(*token));
        }
        let answered = sequence <= answered_through;
        if answered || sequence <= client.forgotten && !harmless && !client.open.contains(&sequence)
        {
            return Err(GfsError::new(
                ErrorCode::OutcomeUnknown,
                format!("operation {sequence} of client {id} is too old to tell what became of it"),
            ));
        }
        Ok(Known::New)
    }

    /// An operation waits for something.
    pub(crate) fn begin(&mut self, id: ClientId, sequence: u64, token: Token) {
        if sequence != 0 {
            self.clients.entry(id).or_default().under_way.insert(sequence, token);
        }
    }

    /// It waits no more.
    pub(crate) fn end(&mut self, id: ClientId, sequence: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.under_way.remove(&sequence);
        }
    }

    /// It ended without effect and may be tried again. At most `limit` are kept.
    pub(crate) fn reopen(&mut self, id: ClientId, sequence: u64, limit: usize) {
        let client = self.clients.entry(id).or_default();
        client.open.insert(sequence);
        if client.open.len() > limit {
            client.open.pop_first();
        }
    }

    /// Records an outcome. At most `limit` are kept.
    pub(crate) fn record(
        &mut self,
        id: ClientId,
        outcome: pb::Outcome,
        persisted: bool,
        limit: usize,
    ) {
        let client = self.clients.entry(id).or_default();
        client.stored |= persisted;
        client.open.remove(&outcome.sequence);
        client.outcomes.insert(outcome.sequence, (outcome, persisted));
        while client.outcomes.len() > limit {
            if let Some((sequence, _)) = client.outcomes.pop_first() {
                client.forgotten = client.forgotten.max(sequence);
            }
        }
    }

    /// What is to be persisted of a client; `None`: nothing, delete the record.
    pub(crate) fn persisted(&self, id: ClientId) -> Option<pb::OutcomeRecord> {
        let outcomes: Vec<_> = self
            .clients
            .get(&id)?
            .outcomes
            .values()
            .filter(|(_, persisted)| *persisted)
            .map(|(outcome, _)| outcome.clone())
            .collect();
        (!outcomes.is_empty()).then_some(pb::OutcomeRecord { outcomes })
    }

    /// Takes over what is persisted of a client. `limit` as when it was recorded.
    pub(crate) fn load(
        &mut self,
        id: ClientId,
        record: pb::OutcomeRecord,
        limit: usize,
        now: Millis,
    ) {
        let client = self.clients.entry(id).or_default();
        client.seen = now;
        client.stored = true;
        if record.outcomes.len() >= limit {
            // Older ones may have been dropped.
            let first = record.outcomes.iter().map(|o| o.sequence).min().unwrap_or(0);
            client.forgotten = first.saturating_sub(1);
        }
        for outcome in record.outcomes {
            client.outcomes.insert(outcome.sequence, (outcome, true));
        }
    }

    /// Forgets clients that were silent for `idle`, and above `limit` the most silent ones.
    /// Returns those of whom the store has a record. Looks only now and then.
    pub(crate) fn sweep(&mut self, now: Millis, idle: Millis, limit: usize) -> Vec<ClientId> {
        const EVERY: Millis = Millis(10_000);
        if now.since(self.swept) < EVERY && self.clients.len() <= limit {
            return Vec::new();
        }
        self.swept = now;
        let mut gone: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, c)| c.under_way.is_empty() && now.since(c.seen) >= idle)
            .map(|(id, _)| *id)
            .collect();
        let over = (self.clients.len() - gone.len()).saturating_sub(limit);
        if over > 0 {
            let mut by_age: Vec<_> = self
                .clients
                .iter()
                .filter(|(id, c)| c.under_way.is_empty() && gone.binary_search(id).is_err())
                .map(|(id, c)| (c.seen, *id))
                .collect();
            by_age.sort_unstable();
            // A tenth at once, so that this does not happen at every step.
            gone.extend(by_age.iter().take(over + limit / 10).map(|(_, id)| *id));
        }
        gone.retain(|id| self.clients.remove(id).is_some_and(|client| client.stored));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId(7);

    fn look(outcomes: &mut Outcomes, sequence: u64, answered: u64) -> Result<Known, ErrorCode> {
        outcomes.look(CLIENT, sequence, answered, false, Millis(0)).map_err(|error| error.code)
    }

    fn outcome(sequence: u64) -> pb::Outcome {
        pb::Outcome { sequence, inode: sequence + 100, ..Default::default() }
    }

    #[test]
    fn what_is_answered_or_too_old_is_forgotten() {
        let mut outcomes = Outcomes::default();
        // The second fails for the moment, while many others succeed.
        outcomes.reopen(CLIENT, 2, 4);
        for sequence in [1, 3, 4, 5, 6, 7] {
            outcomes.record(CLIENT, outcome(sequence), true, 4);
        }
        assert_eq!(look(&mut outcomes, 1, 0), Err(ErrorCode::OutcomeUnknown));
        assert_eq!(look(&mut outcomes, 3, 0), Err(ErrorCode::OutcomeUnknown));
        assert_eq!(look(&mut outcomes, 2, 0), Ok(Known::New), "it never took effect");
        let harmless = outcomes.look(CLIENT, 3, 0, true, Millis(0));
        assert_eq!(harmless, Ok(Known::New));
        assert_eq!(look(&mut outcomes, 7, 0), Ok(Known::Ended(outcome(7))));
        assert_eq!(look(&mut outcomes, 8, 6), Ok(Known::New));
        assert_eq!(outcomes.persisted(CLIENT).unwrap().outcomes, [outcome(7)]);
        assert_eq!(look(&mut outcomes, 2, 6), Err(ErrorCode::OutcomeUnknown));
        assert_eq!(look(&mut outcomes, 6, 0), Err(ErrorCode::OutcomeUnknown));
    }

    #[test]
    fn silent_clients_are_forgotten() {
        let mut outcomes = Outcomes::default();
        outcomes.record(CLIENT, outcome(1), true, 4);
        outcomes.record(ClientId(8), outcome(1), false, 4);
        outcomes.begin(ClientId(9), 1, Token(3));
        let hour = Millis(3_600_000);
        assert!(outcomes.sweep(Millis(20_000), hour, 100).is_empty());
        assert_eq!(outcomes.sweep(Millis(3_700_000), hour, 100), [CLIENT]);
        assert_eq!(outcomes.clients.len(), 1, "one of them waits for an answer");
        for id in 100..300 {
            outcomes.record(ClientId(id), outcome(1), true, 4);
            outcomes.seen(ClientId(id), Millis(3_700_000 + id));
        }
        let gone = outcomes.sweep(Millis(3_700_400), hour, 100);
        assert!(gone.contains(&ClientId(100)) && !gone.contains(&ClientId(299)));
        assert!(outcomes.clients.len() <= 100);
    }
}
