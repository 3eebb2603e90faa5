//! What is in a directory, in byte order of the names: sorted blocks of inode ids.
//!
//! The names themselves stand once, in the nodes; a comparison looks there. So an entry costs
//! eight bytes and the slack of its block.

use gfs_types::InodeId;

use super::Table;

/// Entries of a block at most.
const BLOCK: usize = 256;

/// The entries of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Children {
    /// None is empty.
    blocks: Vec<Vec<InodeId>>,
    len: usize,
}

/// Where an entry is or would be.
#[derive(Clone, Copy, Debug)]
struct Position {
    block: usize,
    at: usize,
}

fn name(table: &Table, id: InodeId) -> &[u8] {
    table.get(id).map_or(&[], |node| &node.name)
}

impl Children {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn search(&self, table: &Table, wanted: &[u8]) -> Result<Position, Position> {
        // The last block whose first name is not above the one wanted.
        let after = self
            .blocks
            .partition_point(|b| b.first().is_some_and(|first| name(table, *first) <= wanted));
        let block = after.saturating_sub(1);
        let Some(ids) = self.blocks.get(block) else {
            return Err(Position { block: 0, at: 0 });
        };
        match ids.binary_search_by(|id| name(table, *id).cmp(wanted)) {
            Ok(at) => Ok(Position { block, at }),
            Err(at) => Err(Position { block, at }),
        }
    }

    /// The entry of this name.
    pub(crate) fn find(&self, table: &Table, wanted: &[u8]) -> Option<InodeId> {
        let Position { block, at } = self.search(table, wanted).ok()?;
        self.blocks.get(block)?.get(at).copied()
    }

    /// Adds a node that is in the table already. `false` if the name is taken.
    pub(crate) fn insert(&mut self, table: &Table, id: InodeId) -> bool {
        let Err(Position { block, at }) = self.search(table, name(table, id)) else {
            return false;
        };
        self.len += 1;
        let last = self.blocks.len().saturating_sub(1);
        let Some(ids) = self.blocks.get_mut(block) else {
            self.blocks.push(vec![id]);
            return true;
        };
        if ids.len() < BLOCK {
            ids.insert(at, id);
        } else if block == last && at == ids.len() {
            // Names that come in order fill their blocks.
            self.blocks.push(vec![id]);
        } else {
            let mut upper = ids.split_off(BLOCK / 2);
            if at <= BLOCK / 2 {
                ids.insert(at, id);
            } else {
                upper.insert(at - BLOCK / 2, id);
            }
            self.blocks.insert(block + 1, upper);
        }
        true
    }

    /// Takes the entry of this name out; the node must still be in the table.
    pub(crate) fn remove(&mut self, table: &Table, wanted: &[u8]) -> Option<InodeId> {
        let Position { block, at } = self.search(table, wanted).ok()?;
        let ids = self.blocks.get_mut(block)?;
        let id = ids.remove(at);
        self.len -= 1;
        let left = ids.len();
        if left == 0 {
            self.blocks.remove(block);
        } else if left < BLOCK / 4
            && self.blocks.get(block + 1).is_some_and(|next| next.len() + left <= BLOCK / 2)
        {
            let next = self.blocks.remove(block + 1);
            if let Some(ids) = self.blocks.get_mut(block) {
                ids.extend(next);
            }
        }
        Some(id)
    }

    /// The entries whose names are above `after` (empty: all), in order.
    pub(crate) fn after(&self, table: &Table, after: &[u8]) -> impl Iterator<Item = InodeId> {
        let start = match self.search(table, after) {
            Ok(Position { block, at }) => Position { block, at: at + 1 },
            Err(position) => position,
        };
        self.blocks
            .iter()
            .enumerate()
            .skip(start.block)
            .flat_map(move |(b, ids)| ids.iter().skip(if b == start.block { start.at } else { 0 }))
            .copied()
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Vec<InodeId>>()
            + self.blocks.iter().map(|b| b.capacity() * size_of::<InodeId>()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use smallvec::SmallVec;

    use super::*;
    use crate::brain::namespace::{Body, Directory, Node};

    fn node(name: &str) -> Node {
        Node {
            parent: InodeId(1),
            name: SmallVec::from_slice(name.as_bytes()),
            modified_at: 0,
            created_at: 0,
            body: Body::Directory(Box::<Directory>::default()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        /// Thousands of names, in order and not, put in and taken out again.
        #[test]
        fn it_is_a_sorted_map_of_names(
            runs in prop::collection::vec((0_u32..5_000, 1_u32..900, any::<bool>()), 1..14),
            probe in 0_u32..6_000,
        ) {
            let (mut table, mut children) = (Table::default(), Children::default());
            let mut model = BTreeMap::new();
            let mut next = 3;
            for (first, count, put) in runs {
                for number in first..first + count {
                    let name = format!("{number:05}");
                    if put {
                        let id = InodeId(next);
                        next += 1;
                        table.insert(id, node(&name));
                        let is_new = !model.contains_key(&name);
                        prop_assert_eq!(children.insert(&table, id), is_new);
                        if is_new {
                            model.insert(name, id);
                        } else {
                            table.remove(id);
                        }
                    } else {
                        let id = model.remove(&name);
                        prop_assert_eq!(children.remove(&table, name.as_bytes()), id);
                        if let Some(id) = id {
                            table.remove(id);
                        }
                    }
                }
                prop_assert_eq!(children.len(), model.len());
                prop_assert!(children.blocks.iter().all(|b| (1..=BLOCK).contains(&b.len())));
            }
            let all: Vec<_> = children.after(&table, b"").collect();
            prop_assert_eq!(all, model.values().copied().collect::<Vec<_>>());
            let probe = format!("{probe:05}");
            let found = children.find(&table, probe.as_bytes());
            prop_assert_eq!(found, model.get(&probe).copied());
            let after: Vec<_> = children.after(&table, probe.as_bytes()).collect();
            let above = model.range(probe..).skip(usize::from(found.is_some()));
            prop_assert_eq!(after, above.map(|(_, id)| *id).collect::<Vec<_>>());
        }
    }
}
