//! Bytes of the content that were overwritten by mutations not known to be acknowledged: a version
//! change may still take them back, so nobody is shown them.

use std::collections::VecDeque;

/// Ranges remembered one by one; with more the oldest are taken together.
const MAX_RANGES: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// Its last mutation.
    serial: u64,
    start: u32,
    end: u32,
}

/// What of the content may be taken back, at the version the replica is complete at.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// In the order of serials.
    ranges: VecDeque<Range>,
    acknowledged: u64,
}

impl Unsettled {
    /// A mutation is about to replace these bytes.
    pub(super) fn overwritten(&mut self, serial: u64, start: u32, end: u32) {
        if serial <= self.acknowledged || start >= end {
            return;
        }
        if self.ranges.len() == MAX_RANGES
            && let (Some(first), Some(second)) = (self.ranges.pop_front(), self.ranges.front_mut())
        {
            second.start = second.start.min(first.start);
            second.end = second.end.max(first.end);
        }
        self.ranges.push_back(Range { serial, start, end });
    }

    /// Every mutation through this serial is acknowledged.
    pub(super) fn settle(&mut self, through: u64) {
        self.acknowledged = self.acknowledged.max(through);
        while self.ranges.front().is_some_and(|range| range.serial <= self.acknowledged) {
            self.ranges.pop_front();
        }
    }

    /// Last serial known to be acknowledged.
    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether something of these bytes may be taken back.
    pub(super) fn touches(&self, start: u32, end: u32) -> bool {
        self.ranges.iter().any(|range| range.start < end && start < range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_settled() {
        let mut unsettled = Unsettled::default();
        unsettled.overwritten(3, 10, 20);
        unsettled.overwritten(5, 15, 30);
        unsettled.overwritten(6, 40, 40);
        let touched = |u: &Unsettled| {
            [(0, 10), (10, 11), (19, 25), (29, 40), (30, 50)].map(|(a, b)| u.touches(a, b))
        };
        assert_eq!(touched(&unsettled), [false, true, true, true, false]);
        unsettled.settle(4);
        assert_eq!(touched(&unsettled), [false, false, true, true, false]);
        unsettled.settle(2);
        assert_eq!(unsettled.acknowledged(), 4);
        unsettled.settle(5);
        unsettled.overwritten(5, 0, 100);
        assert_eq!(touched(&unsettled), [false; 5]);
    }

    #[test]
    fn ranges_are_bounded_and_none_is_forgotten() {
        let mut unsettled = Unsettled::default();
        for serial in 1..=5_000u32 {
            unsettled.overwritten(u64::from(serial), serial * 10, serial * 10 + 5);
        }
        assert_eq!(unsettled.ranges.len(), MAX_RANGES);
        assert!((1..=5_000).all(|serial| unsettled.touches(serial * 10, serial * 10 + 1)));
        unsettled.settle(4_999);
        assert!(!unsettled.touches(0, 50_000) && unsettled.touches(50_004, 50_005));
    }
}
