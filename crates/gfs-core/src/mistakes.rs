//! Switches that break one rule each, so that tests can show that the checkers notice.
//!
//! Without the feature `planted-mistakes`, which no release enables, [`Mistakes::has`] is constantly
//! false and the set cannot be filled.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mistake {
    /// A primary acknowledges before the members behind it have applied.
    AcknowledgeBeforeLastSecondary,
    /// A secondary applies what it has although an earlier serial is missing.
    SkipSerialGap,
    /// A replica goes on at a version that it promised to leave.
    AcceptOldVersion,
    /// A replica forgets which mutations it applied when its version changes.
    ForgetWindow,
    /// A replica answers Prepare while a write is still under way.
    AnswerPrepareDuringWrite,
}

/// A set of mistakes; empty by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(u64);

impl Mistakes {
    /// This set and one more.
    #[cfg(feature = "planted-mistakes")]
    #[must_use]
    pub const fn with(self, mistake: Mistake) -> Self {
        Self(self.0 | 1 << mistake as u8)
    }

    /// Whether this mistake is made.
    #[must_use]
    pub const fn has(self, mistake: Mistake) -> bool {
        cfg!(feature = "planted-mistakes") && self.0 & (1 << mistake as u8) != 0
    }
}
