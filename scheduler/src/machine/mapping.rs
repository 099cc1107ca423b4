//! Mapped tasks of a run: which of the run's task indices are instances of which node, and what their items are.
//!
//! Nodes of the plan have the indices 0..n. When a mapped node is expanded its instances get the next free indices, as one segment;
//! when a later generation expands it again, the instances of the same numbers are taken up again (so their attempts go on being
//! counted) and only what is missing gets a further segment. Instances beyond the present count are *gone*: kept, and counted nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::{Index, Items, State};

/// What the items of a mapped task are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ItemSource {
    /// A list.
    List(Arc<Items>),
    /// `from`, and so on by `step`.
    Range { from: i64, step: i64, count: u32 },
}

impl ItemSource {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::List(items) => items.len(),
            Self::Range { count, .. } => *count as usize,
        }
    }
    /// The item of an instance, a JSON text.
    pub(crate) fn get(&self, number: u32) -> Option<Arc<str>> {
        match self {
            Self::List(items) => items.get(number).cloned(),
            Self::Range { from, step, count } => {
                let item = from.wrapping_add(i64::from(number).wrapping_mul(*step));
                (number < *count).then(|| Arc::from(item.to_string()))
            }
        }
    }
    pub(crate) fn index(&self, number: u32) -> Index {
        match self {
            Self::List(items) => items.index(number),
            Self::Range { .. } => Index::Number(number),
        }
    }
    pub(crate) fn find(&self, index: &Index) -> Option<u32> {
        match (self, index) {
            (Self::List(items), _) => items.find(index),
            (Self::Range { count, .. }, Index::Number(number)) => Some(*number).filter(|n| n < count),
            (Self::Range { .. }, Index::Name(_)) => None,
        }
    }
}

/// One mapped node that was expanded, now or in an earlier generation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expansion {
    /// `None` while the node waits to be expanded again.
    pub(crate) items: Option<ItemSource>,
    /// Instances of the present generation; 0 while it waits.
    pub(crate) count: u32,
    /// (first index, how many), in the order of the instances' numbers.
    pub(crate) segments: Vec<(u32, u32)>,
    /// Of the present instances, by state.
    pub(crate) counts: [u32; 7],
}

impl Expansion {
    /// Instances there is room for.
    pub(crate) fn capacity(&self) -> u32 {
        self.segments.iter().map(|(_, len)| len).sum()
    }
    /// The index of a present instance.
    pub(crate) fn index_of(&self, number: u32) -> Option<u32> {
        if number >= self.count {
            return None;
        }
        let mut before = 0;
        for &(first, len) in &self.segments {
            if number - before < len {
                return Some(first + number - before);
            }
            before += len;
        }
        None
    }
    /// The present instances' indices, in the order of their numbers.
    pub(crate) fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        self.segments.clone().into_iter().flat_map(|(first, len)| first..first + len).take(self.count as usize)
    }
    pub(crate) fn open(&self) -> u32 {
        self.counts[State::Pending as usize] + self.counts[State::Running as usize] + self.counts[State::Retry as usize]
    }
    pub(crate) fn count(&self, state: State) -> u32 {
        self.counts[state as usize]
    }
}

/// A stretch of the run's indices that are instances of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    first: u32,
    len: u32,
    node: u32,
    /// The number of its first instance.
    number: u32,
}

/// All of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Mapping {
    by_node: BTreeMap<u32, Expansion>,
    extents: Vec<Extent>,
}

impl Mapping {
    /// The node and the number of an index that is an instance.
    pub(crate) fn instance(&self, index: u32) -> Option<(u32, u32)> {
        let after = self.extents.partition_point(|extent| extent.first <= index);
        let extent = self.extents.get(after.checked_sub(1)?)?;
        (index < extent.first + extent.len).then(|| (extent.node, extent.number + index - extent.first))
    }
    /// What there is of a node, whether it has instances now or not.
    pub(crate) fn of(&self, node: u32) -> Option<&Expansion> {
        self.by_node.get(&node)
    }
    /// The present instances of a node.
    pub(crate) fn live(&self, node: u32) -> Option<&Expansion> {
        self.by_node.get(&node).filter(|e| e.count > 0)
    }
    pub(crate) fn get_mut(&mut self, node: u32) -> Option<&mut Expansion> {
        self.by_node.get_mut(&node)
    }
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (u32, &Expansion)> {
        self.by_node.iter().map(|(node, expansion)| (*node, expansion))
    }

    /// Room for `count` instances of a node; the indices from `next` on are free. Returns how many of them it takes.
    pub(crate) fn expand(&mut self, node: u32, items: ItemSource, count: u32, next: u32) -> u32 {
        let expansion =
            self.by_node.entry(node).or_insert_with(|| Expansion { items: None, count: 0, segments: Vec::new(), counts: [0; 7] });
        let capacity = expansion.capacity();
        let more = count.saturating_sub(capacity);
        expansion.items = Some(items);
        expansion.count = count;
        if more > 0 {
            expansion.segments.push((next, more));
            self.extents.push(Extent { first: next, len: more, node, number: capacity });
        }
        more
    }

    /// As a checkpoint tells it.
    pub(crate) fn restore(&mut self, node: u32, count: u32, segments: Vec<(u32, u32)>) {
        let mut number = 0;
        for &(first, len) in &segments {
            self.extents.push(Extent { first, len, node, number });
            number += len;
        }
        self.extents.sort_by_key(|extent| extent.first);
        self.by_node.insert(node, Expansion { items: None, count, segments, counts: [0; 7] });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn range(count: u32) -> ItemSource {
        ItemSource::Range { from: 10, step: -2, count }
    }

    #[test]
    fn instances_of_a_number_keep_their_index_over_generations() {
        let mut mapping = Mapping::default();
        assert_eq!(mapping.expand(1, range(3), 3, 5), 3);
        assert_eq!(mapping.expand(2, range(2), 2, 8), 2);
        assert_eq!(mapping.expand(1, range(4), 4, 10), 1);
        let indices: Vec<u32> = mapping.live(1).unwrap().indices().collect();
        assert_eq!(indices, [5, 6, 7, 10]);
        assert_eq!(mapping.expand(1, range(2), 2, 11), 0);
        assert_eq!(mapping.live(1).unwrap().indices().collect::<Vec<_>>(), [5, 6]);
        for (index, instance) in [(4, None), (5, Some((1, 0))), (7, Some((1, 2))), (9, Some((2, 1))), (10, Some((1, 3))), (11, None)] {
            assert_eq!(mapping.instance(index), instance, "{index}");
        }
        assert_eq!((mapping.of(1).unwrap().index_of(1), mapping.of(1).unwrap().index_of(3)), (Some(6), None), "3 is gone");
        let mut restored = Mapping::default();
        for (node, expansion) in mapping.nodes() {
            restored.restore(node, expansion.count, expansion.segments.clone());
            restored.get_mut(node).unwrap().items = expansion.items.clone();
        }
        assert_eq!(restored, mapping);
    }

    #[test]
    fn a_range_counts_by_its_step() {
        let items = range(3);
        assert_eq!(
            (0..4).map(|n| items.get(n).map(|i| i.to_string())).collect::<Vec<_>>(),
            [Some("10".into()), Some("8".into()), Some("6".into()), None]
        );
    }
}
