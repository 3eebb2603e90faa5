//! Virtual time, and what is to happen when.

use gfs_types::Millis;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// So many milliseconds after the start.
    #[must_use]
    pub const fn of_millis(millis: u64) -> Self {
        Self(millis * 1000)
    }

    /// What a process reads from its clock.
    #[must_use]
    pub const fn millis(self) -> Millis {
        Millis(self.0 / 1000)
    }

    /// This much later, in microseconds.
    #[must_use]
    pub const fn plus(self, micros: u64) -> Self {
        Self(self.0 + micros)
    }
}

struct Entry<E> {
    at: Time,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Events in the order of their time; those of one moment in the order in which they were added.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    added: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }
}

impl<E> Queue<E> {
    /// Adds an event.
    pub fn add(&mut self, at: Time, event: E) {
        self.added += 1;
        self.heap.push(Reverse(Entry { at, order: self.added, event }));
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_then_of_adding() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b')] {
            queue.add(Time(at), event);
        }
        let order: Vec<char> = std::iter::from_fn(|| queue.pop()).map(|(_, e)| e).collect();
        assert_eq!(order, ['a', 'b', 'c', 'd']);
    }
}
