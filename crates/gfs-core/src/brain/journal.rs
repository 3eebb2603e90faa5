//! What is not durable yet, and who waits for it.
//!
//! State is changed in memory at once; each event's changes go to the store as one
//! [`Effect::Commit`] with the next [`Ordinal`]. Ordinals become durable in order, so everything
//! that waits waits for one number: the highest ordinal that touched what it rests on. For that
//! the journal remembers of each name, inode and directory that has uncommitted changes the last
//! one ([`Fact`]). A reader of anything else does not wait at all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use gfs_types::{ClientId, InodeId};

use super::{Effect, Ordinal};

/// Something an answer may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// What a name in a directory is bound to, or that it is free. The name by its hash: two of
    /// one hash only make a reader wait for nothing.
    Name(InodeId, u64),
    /// Attributes, extents and existence of an inode.
    Inode(InodeId),
    /// The entries of a directory.
    Children(InodeId),
    /// The outcomes of a client's operations.
    Client(ClientId),
}

impl Fact {
    /// The binding of a name.
    pub(crate) fn name(directory: InodeId, name: &str) -> Self {
        // FNV-1a: the same on every machine, unlike the standard hasher.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::Name(directory, hash)
    }
}

/// The journal of a term.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    last: Ordinal,
    committed: Ordinal,
    /// The last uncommitted ordinal of each fact.
    recent: BTreeMap<Fact, Ordinal>,
    /// The same in the order of ordinals, for forgetting them.
    order: VecDeque<(Ordinal, Fact)>,
    held: BTreeMap<Ordinal, Vec<Effect>>,
    held_count: usize,
}

impl Journal {
    /// The last ordinal given out.
    pub(crate) fn last(&self) -> Ordinal {
        self.last
    }

    /// Groups and effects that wait.
    pub(crate) fn waiting(&self) -> usize {
        let groups = self.last.0 - self.committed.0;
        self.held_count.saturating_add(usize::try_from(groups).unwrap_or(usize::MAX))
    }

    /// The ordinal that must be durable before anybody may hear of this fact.
    pub(crate) fn depends(&self, fact: Fact) -> Ordinal {
        if self.recent.is_empty() {
            return Ordinal(0);
        }
        self.recent.get(&fact).copied().unwrap_or_default()
    }

    /// Sends a group of mutations to the store. `facts` are what they change.
    pub(crate) fn commit(
        &mut self,
        mutations: Vec<(Bytes, Option<Bytes>)>,
        counters: Bytes,
        facts: impl Iterator<Item = Fact>,
        out: &mut Vec<Effect>,
    ) {
        self.last = Ordinal(self.last.0 + 1);
        for fact in facts {
            if self.recent.insert(fact, self.last) != Some(self.last) {
                self.order.push_back((self.last, fact));
            }
        }
        out.push(Effect::Commit { ordinal: self.last, mutations, counters });
    }

    /// Lets an effect out when `after` is durable: now, or later.
    pub(crate) fn hold(&mut self, after: Ordinal, effect: Effect, out: &mut Vec<Effect>) {
        if after <= self.committed {
            out.push(effect);
        } else {
            self.held.entry(after).or_default().push(effect);
            self.held_count += 1;
        }
    }

    /// Everything through this ordinal is durable: lets out what waited for it.
    pub(crate) fn committed(&mut self, through: Ordinal, out: &mut Vec<Effect>) {
        self.committed = self.committed.max(through.min(self.last));
        while let Some((ordinal, fact)) = self.order.front().copied() {
            if ordinal > self.committed {
                break;
            }
            self.order.pop_front();
            if self.recent.get(&fact) == Some(&ordinal) {
                self.recent.remove(&fact);
            }
        }
        while let Some(first) = self.held.first_entry() {
            if *first.key() > self.committed {
                break;
            }
            let effects = first.remove();
            self.held_count -= effects.len();
            out.extend(effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> Effect {
        Effect::Note { severe: false, text: text.into() }
    }

    fn texts(out: &mut Vec<Effect>) -> Vec<String> {
        out.drain(..)
            .filter_map(|effect| match effect {
                Effect::Note { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_reader_waits_for_what_it_read_and_no_more() {
        let (mut journal, mut out) = (Journal::default(), Vec::new());
        let (a, b) = (Fact::Inode(InodeId(7)), Fact::name(InodeId(1), "b"));
        journal.commit(vec![], Bytes::new(), [a].into_iter(), &mut out);
        journal.commit(vec![], Bytes::new(), [b].into_iter(), &mut out);
        out.clear();
        journal.hold(journal.depends(b), note("b"), &mut out);
        journal.hold(journal.depends(a), note("a"), &mut out);
        journal.hold(journal.depends(Fact::Children(InodeId(1))), note("none"), &mut out);
        assert_eq!(texts(&mut out), ["none"]);
        journal.committed(Ordinal(1), &mut out);
        assert_eq!(texts(&mut out), ["a"]);
        journal.hold(journal.depends(a), note("a again"), &mut out);
        assert_eq!(texts(&mut out), ["a again"]);
        journal.committed(Ordinal(2), &mut out);
        assert_eq!(texts(&mut out), ["b"]);
        assert!(journal.recent.is_empty() && journal.waiting() == 0);
    }
}
