//! Leadership: who may commit, and for how long.

use gfs_types::{Epoch, Millis};

/// Names one term in the store: every commit is guarded by it. In etcd the create revision of the
/// leader key, on one machine the epoch itself. Never equal for two terms of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaderToken(pub u64);

/// One term as leader. Whoever holds it may try to commit; the store refuses once the term is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// The term's number: above that of every earlier term, durable before it was handed out.
    pub epoch: Epoch,
    /// What the store compares at every commit.
    pub token: LeaderToken,
}

/// How long a term may still be acted upon, as judged by the holder's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Until it is said to be over: nobody else can begin a term unnoticed (one process owns the
    /// store).
    Indefinite,
    /// At least this long from now: the lease was renewed recently enough, a margin for clock drift
    /// taken off. More when it is renewed meanwhile.
    For(Millis),
    /// Over, or possibly over: answer nothing as leader. Commits may still be tried and will be
    /// refused if it is truly over.
    Over,
}

impl Tenure {
    /// Whether answers may be given as leader now.
    #[must_use]
    pub const fn holds(self) -> bool {
        match self {
            Self::Indefinite => true,
            Self::For(span) => span.0 > 0,
            Self::Over => false,
        }
    }
}

/// The current term as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderRecord {
    /// What the leader passed to [`acquire`](crate::MetaStore::acquire): where to reach it.
    pub who: String,
    /// Its epoch.
    pub epoch: Epoch,
}
