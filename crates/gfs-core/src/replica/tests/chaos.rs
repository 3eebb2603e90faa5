//! Many seeds of the cluster in miniature; and each planted mistake is found by one of them.

use super::cluster::Cluster;
use crate::mistakes::Mistakes;

#[test]
fn replicas_agree_and_nothing_acknowledged_is_lost() {
    for seed in 0..1_500 {
        if let Err(broken) = Cluster::new(seed, Mistakes::default()).run() {
            panic!("seed {seed}: {broken}");
        }
    }
}

#[cfg(feature = "planted-mistakes")]
mod planted {
    use super::*;
    use crate::mistakes::Mistake;

    /// A mistake counts as caught when some seed shows a broken promise, or stands still.
    fn caught(mistake: Mistake) {
        let mistakes = Mistakes::default().with(mistake);
        let found = (0..300)
            .find_map(|seed| Cluster::new(seed, mistakes).run().err().map(|broken| (seed, broken)));
        let (seed, broken) = found.unwrap_or_else(|| panic!("{mistake:?} was not caught"));
        println!("{mistake:?}: seed {seed}: {broken}");
    }

    #[test]
    fn acknowledging_before_the_last_secondary_is_caught() {
        caught(Mistake::PrimaryAcknowledgesBeforeLastSecondary);
    }

    #[test]
    fn skipping_a_gap_is_caught() {
        caught(Mistake::SecondarySkipsSerialGap);
    }

    #[test]
    fn accepting_an_old_version_is_caught() {
        caught(Mistake::ReplicaAcceptsOldVersion);
    }

    #[test]
    fn forgetting_the_window_is_caught() {
        caught(Mistake::ReplicaForgetsWindow);
    }

    #[test]
    fn taking_a_writer_up_where_it_says_is_caught() {
        caught(Mistake::PrimaryReappliesRetriedRecord);
    }

    #[test]
    fn giving_an_offset_twice_is_caught() {
        caught(Mistake::PrimaryGivesOffsetTwice);
    }

    #[test]
    fn sealing_before_what_is_in_flight_is_done_is_caught() {
        caught(Mistake::PrimarySealsBeforeInFlightIsDone);
    }

    #[test]
    fn answering_a_flush_before_a_secondary_is_caught() {
        caught(Mistake::PrimaryAnswersFlushBeforeSecondary);
    }

    #[test]
    fn applying_half_a_mutation_is_caught() {
        caught(Mistake::ReplicaAppliesHalfAMutation);
    }

    #[test]
    fn showing_what_may_be_taken_back_is_caught() {
        caught(Mistake::ReplicaShowsUnsettledBytes);
    }

    #[test]
    fn trusting_a_forgotten_writer_is_caught() {
        use super::super::writers::{forgetful, in_doubt};
        assert!(in_doubt(&mut forgetful(Mistakes::default()), 1, 4, 5));
        let mistakes = Mistakes::default().with(Mistake::PrimaryTrustsForgottenWriter);
        assert!(!in_doubt(&mut forgetful(mistakes), 1, 4, 5), "not planted");
    }

    #[test]
    fn answering_prepare_during_a_write_is_caught() {
        caught(Mistake::ReplicaAnswersPrepareDuringWrite);
    }
}
