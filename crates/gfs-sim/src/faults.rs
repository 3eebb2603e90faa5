//! What goes wrong, and how it is put right again.

use crate::context::Process;
use crate::network::{Node, Weather};
use crate::server::DiskManners;

/// One thing done to the world.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A process ends.
    Kill(Node, Process),
    /// A server ends and its disk with it, for good.
    Lose(usize),
    /// The machine of a server loses power.
    Power(usize),
    /// Every machine of the cluster does, the master's too, whose store is durable.
    PowerOfAll,
    /// A process that ended begins a new life.
    Start(Node),
    /// A process is stopped (SIGSTOP).
    Pause(Node),
    /// It goes on.
    Resume(Node),
    /// Nothing gets through in this direction.
    Block(Node, Node),
    /// It does again.
    Clear(Node, Node),
    /// The network behaves like this from now on.
    Weather(Weather),
    /// The disk of a server behaves like this from now on.
    Disk(usize, DiskManners),
    /// Commits behave like this from now on.
    Store(crate::master::StoreManners),
    /// An administrator has a server emptied, or takes that back.
    Drain(usize, bool),
    /// An administrator has servers made equally full, or stops that.
    Rebalance(bool),
    /// A bit flips in something that a server holds.
    Rot(usize),
}

impl Fault {
    /// Whether it makes things worse (rather than better).
    #[must_use]
    pub const fn harms(&self) -> bool {
        matches!(
            self,
            Self::Kill(..)
                | Self::Lose(_)
                | Self::Power(_)
                | Self::PowerOfAll
                | Self::Pause(_)
                | Self::Block(..)
                | Self::Rot(_)
        )
    }
}
