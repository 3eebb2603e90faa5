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
    fn answering_prepare_during_a_write_is_caught() {
        caught(Mistake::ReplicaAnswersPrepareDuringWrite);
    }
}
