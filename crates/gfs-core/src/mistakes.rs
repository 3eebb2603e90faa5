//! Planted mistakes: switches that each break one rule, so that the checkers of the simulation and
//! of the property tests can show that they notice. Only a build with the feature
//! `planted-mistakes` can switch one on; in every other build [`Mistakes`] is empty and all
//! questions to it are answered *no* at compile time.

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Mistake {
    /// The writer numbers slices anew when it pushes them again.
    WriterResendsWithNewSequences = 0,
    /// The writer lets go of a slice when it was sent, not when it was acknowledged.
    WriterReleasesBeforeAcknowledged = 1,
    /// The reader hands out bytes without verifying their checksums.
    ReaderBelievesUnverifiedBytes = 2,
    /// The master changes the members of a chunk without a new version.
    SkipsTheVersionBump = 48,
    /// The master concludes a version change when the first member has answered.
    GrantsBeforeAllMembersAnswered = 49,
    /// The master relies on copies of servers that are suspected, when it deletes others.
    CountsSuspectsAsLive = 50,
    /// The master takes a replica at an older version for a current one.
    BelievesStaleReplicas = 51,
    /// The master deletes other replicas for the sake of a clone that is not finished.
    TrimsBeforeTheCloneIsVerified = 52,
    /// The master believes results of commands of an older term.
    AcceptsResultsOfOlderEpochs = 53,

    /// A primary acknowledges before the members behind it have applied.
    PrimaryAcknowledgesBeforeLastSecondary = 16,
    /// A secondary applies what it has although an earlier serial is missing.
    SecondarySkipsSerialGap = 17,
    /// A replica goes on at a version that it promised to leave.
    ReplicaAcceptsOldVersion = 18,
    /// A replica forgets which mutations it applied when its version changes.
    ReplicaForgetsWindow = 19,
    /// A replica answers Prepare while a write is still under way.
    ReplicaAnswersPrepareDuringWrite = 20,
    /// A primary takes up a writer where that says it is, not where the window knows it to be.
    PrimaryReappliesRetriedRecord = 21,
    /// A primary gives the next record the offset of the one before.
    PrimaryGivesOffsetTwice = 22,
    /// A primary seals a full chunk while mutations of it are in flight.
    PrimarySealsBeforeInFlightIsDone = 23,
    /// A primary says that all is on disk when it is on its own.
    PrimaryAnswersFlushBeforeSecondary = 24,
    /// A replica takes the first part of a mutation for the whole.
    ReplicaAppliesHalfAMutation = 25,
    /// A replica shows bytes that a version change may take back.
    ReplicaShowsUnsettledBytes = 26,
    /// A primary goes on with a writer that it forgot, although something is in doubt.
    PrimaryTrustsForgottenWriter = 27,

    /// The master answers before what the answer rests on is durable.
    MasterRepliesBeforeCommit = 32,
    /// The master mints a chunk handle twice.
    MasterReusesHandle = 33,
    /// The master forgets the outcomes of operations: a repeat takes effect again.
    MasterForgetsOutcomes = 34,
}

/// The mistakes that are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    #[cfg(feature = "planted-mistakes")]
    planted: u64,
}

impl Mistakes {
    /// These mistakes and one more.
    #[cfg(feature = "planted-mistakes")]
    #[must_use]
    pub const fn with(self, mistake: Mistake) -> Self {
        Self { planted: self.planted | 1 << mistake as u32 }
    }

    /// Whether this rule is to be broken.
    #[must_use]
    #[cfg_attr(not(feature = "planted-mistakes"), expect(unused_variables))]
    pub const fn has(self, mistake: Mistake) -> bool {
        #[cfg(feature = "planted-mistakes")]
        return self.planted & 1 << mistake as u32 != 0;
        #[cfg(not(feature = "planted-mistakes"))]
        false
    }
}
