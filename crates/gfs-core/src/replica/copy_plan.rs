//! What to copy to make one replica equal to another: the blocks whose checksums differ. Serves
//! clones (nothing is here yet) and version changes (almost everything is).

use super::{CopyOutcome, Window};
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, Crc};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a source's answer is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The header contradicts itself or the cluster.
    #[error("the source's header makes no sense: {0}")]
    Header(String),
    /// Blocks that were not asked for, or not what the header says.
    #[error("the source sent {0}")]
    Blocks(String),
}

/// Digest of a replica's content: equal digests are equal replicas.
#[must_use]
pub fn digest(length: u32, sums: &[u32]) -> u32 {
    let crc = Crc::default().append(&length.to_le_bytes());
    sums.iter().fold(crc, |crc, sum| crc.append(&sum.to_le_bytes())).0
}

/// The copy of one replica.
#[derive(Clone, Debug)]
pub struct CopyPlan {
    length: u32,
    serial: u64,
    window: Window,
    sums: Vec<u32>,
    missing: BTreeSet<u32>,
}

impl CopyPlan {
    /// Plans to become what `source` says. `length` and `sums` are this replica's content, `damaged`
    /// its blocks that cannot be trusted.
    ///
    /// # Errors
    /// When the source's header makes no sense.
    pub fn new(
        source: &pb::CopyHeader,
        chunk_size: u32,
        length: u32,
        sums: &[u32],
        damaged: &BTreeSet<u32>,
    ) -> Result<Self, PlanError> {
        let blocks = source.length.div_ceil(BLOCK_SIZE);
        if source.length > chunk_size || source.sums.len() != blocks as usize {
            let text = format!(
                "{} bytes and {} sums in chunks of {chunk_size}",
                source.length,
                source.sums.len()
            );
            return Err(PlanError::Header(text));
        }
        let mut missing = BTreeSet::new();
        for (block, sum) in (0..).zip(&source.sums) {
            let alike = bytes_of(block, length) == bytes_of(block, source.length);
            let same = alike && sums.get(block as usize) == Some(sum);
            if !same || damaged.contains(&block) {
                missing.insert(block);
            }
        }
        Ok(Self {
            length: source.length,
            serial: source.serial,
            window: Window::from_entries(source.window.iter().cloned(), source.forgot),
            sums: source.sums.clone(),
            missing,
        })
    }

    /// Bytes of the content to become.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// The blocks still wanted, as ranges in order.
    #[must_use]
    pub fn wanted(&self) -> Vec<pb::BlockRange> {
        let mut ranges: Vec<pb::BlockRange> = Vec::new();
        for block in &self.missing {
            match ranges.last_mut() {
                Some(last) if last.first + last.count == *block => last.count += 1,
                _ => ranges.push(pb::BlockRange { first: *block, count: 1 }),
            }
        }
        ranges
    }

    /// Bytes still to come.
    #[must_use]
    pub fn wanted_bytes(&self) -> u64 {
        self.missing.iter().map(|block| u64::from(bytes_of(*block, self.length))).sum()
    }

    /// Checks blocks that arrived: wanted, whole, and (their sums verified against the bytes by the
    /// receiver) exactly what the header promised.
    ///
    /// # Errors
    /// When they are not; nothing of them may be used.
    pub fn check(&self, blocks: &pb::CopyBlocks) -> Result<(), PlanError> {
        let count = blocks.sums.len() as u32;
        if count == 0 {
            return Err(PlanError::Blocks("no blocks".to_owned()));
        }
        let mut bytes = 0u64;
        for (block, sum) in (blocks.first..blocks.first.saturating_add(count)).zip(&blocks.sums) {
            if !self.missing.contains(&block) {
                return Err(PlanError::Blocks(format!("block {block}, which is not wanted")));
            }
            if self.sums.get(block as usize) != Some(sum) {
                return Err(PlanError::Blocks(format!("block {block} with another checksum")));
            }
            bytes += u64::from(bytes_of(block, self.length));
        }
        if bytes != u64::from(blocks.length) {
            return Err(PlanError::Blocks(format!("{} bytes in {count} blocks", blocks.length)));
        }
        Ok(())
    }

    /// These blocks are written.
    pub fn written(&mut self, first: u32, count: u32) {
        for block in first..first.saturating_add(count) {
            self.missing.remove(&block);
        }
    }

    /// Whether every block is here.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.missing.is_empty()
    }

    /// The checksum of the last block if that is not whole; 0 otherwise.
    #[must_use]
    pub fn tail(&self) -> u32 {
        if self.length.is_multiple_of(BLOCK_SIZE) {
            0
        } else {
            self.sums.last().copied().unwrap_or(0)
        }
    }

    /// What the replica is once all is written.
    #[must_use]
    pub fn outcome(&self) -> CopyOutcome {
        CopyOutcome {
            length: self.length,
            tail: self.tail(),
            serial: self.serial,
            window: self.window.clone(),
        }
    }
}

/// Bytes of a block in a chunk of this length.
fn bytes_of(block: u32, length: u32) -> u32 {
    let start = u64::from(block) * u64::from(BLOCK_SIZE);
    u64::from(length).saturating_sub(start).min(u64::from(BLOCK_SIZE)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: u32 = BLOCK_SIZE;

    fn source(length: u32, sums: &[u32]) -> pb::CopyHeader {
        pb::CopyHeader { length, sums: sums.to_vec(), serial: 7, ..Default::default() }
    }

    #[test]
    fn only_differing_blocks_are_copied() {
        // Here: two whole blocks and a tail; there: the tail has grown, and one block more.
        let there = source(3 * B + 5, &[1, 2, 33, 4]);
        let here = [1, 9, 3];
        let plan = CopyPlan::new(&there, 8 * B, 2 * B + 5, &here, &BTreeSet::from([0])).unwrap();
        assert_eq!(plan.wanted(), [pb::BlockRange { first: 0, count: 4 }]);
        let plan = CopyPlan::new(&there, 8 * B, 2 * B + 5, &[1, 2, 33], &BTreeSet::new()).unwrap();
        assert_eq!(
            plan.wanted(),
            [pb::BlockRange { first: 2, count: 2 }],
            "same sum, other length"
        );
        assert_eq!(plan.wanted_bytes(), u64::from(B) + 5);
        let same = CopyPlan::new(&there, 8 * B, 3 * B + 5, &[1, 2, 33, 4], &BTreeSet::new());
        assert!(same.unwrap().is_done());
    }

    #[test]
    fn what_was_not_promised_is_refused() {
        let there = source(B + 5, &[1, 2]);
        let mut plan = CopyPlan::new(&there, 8 * B, 0, &[], &BTreeSet::new()).unwrap();
        let blocks =
            |first, length, sums: &[u32]| pb::CopyBlocks { first, length, sums: sums.to_vec() };
        assert!(plan.check(&blocks(0, B, &[3])).is_err());
        assert!(plan.check(&blocks(1, B, &[2])).is_err(), "longer than the chunk");
        assert!(plan.check(&blocks(u32::MAX, 5, &[2])).is_err());
        assert!(plan.check(&blocks(0, 0, &[])).is_err());
        assert!(plan.check(&blocks(0, B + 5, &[1, 2])).is_ok());
        plan.written(0, 1);
        assert!(plan.check(&blocks(0, B, &[1])).is_err(), "no longer wanted");
        assert_eq!((plan.is_done(), plan.tail()), (false, 2));
        assert!(CopyPlan::new(&source(9 * B, &[0; 9]), 8 * B, 0, &[], &BTreeSet::new()).is_err());
        assert!(CopyPlan::new(&source(B, &[]), 8 * B, 0, &[], &BTreeSet::new()).is_err());
    }

    #[test]
    fn digests_tell_length_and_sums_apart() {
        assert_ne!(digest(1, &[5]), digest(2, &[5]));
        assert_ne!(digest(1, &[5]), digest(1, &[6]));
        assert_eq!(digest(1, &[5]), digest(1, &[5]));
    }
}
