//! The keys: addresses of objects in slabs, and of their neighbours without a
//! shadow. The slabs lie side by side or, for the rows that are about it, strewn.
//!
//! Present and absent objects have the same stride and lie in the same region,
//! so that no table can tell them apart by anything but looking. Both are
//! visited in shuffled orders that are drawn once from a fixed seed: a run
//! repeats, and neither the hardware's prefetcher nor a table that keeps its
//! entries in order of insertion gains from the order.

/// Where the first object lies: the kernel's direct map begins here.
pub const BASE: usize = 0xffff_8880_0000_0000;

/// From one object to the next: an object of 192 bytes, three cache lines.
pub const STRIDE: usize = 192;

/// What a slab of such objects takes, as SLUB lays them out.
const SLAB: usize = 8192;
const PER_SLAB: usize = SLAB / STRIDE;

/// Where scattered slabs may lie: 16 GiB.
const ROOM: usize = (16 << 30) / SLAB;

/// The keys of one table size.
#[derive(Clone, Debug)]
pub struct Keys {
    present: Vec<usize>,
    insertion: Vec<u32>,
    absent: Vec<usize>,
}

impl Keys {
    /// `n` objects that have a shadow and `n` that have none.
    ///
    /// # Panics
    /// If `n` is 0 or above `u32::MAX`: there is nothing to look up, or the
    /// orders of visit would not fit their type.
    #[must_use]
    pub fn new(n: usize) -> Self {
        assert!(n > 0, "a workload needs at least one object");
        let beside = |first: usize| (first..first + n).map(|i| BASE + i * STRIDE).collect();
        Self::shuffled(beside(0), beside(n), SplitMix(0x6b6c_7075_6d62_7261))
    }

    /// As [`new`](Self::new), but the objects' slabs lie anywhere in 16 GiB: so it is
    /// in a kernel that has run for a while, where a slab is the page that was free.
    /// A slab has objects that have a shadow, or objects that have none.
    ///
    /// # Panics
    /// As `new`.
    #[must_use]
    pub fn scattered(n: usize) -> Self {
        assert!(n > 0, "a workload needs at least one object");
        let mut rng = SplitMix(0x6b6c_7075_736c_6162);
        let slabs = n.div_ceil(PER_SLAB);
        let mut places: Vec<usize> = (0..ROOM.max(4 * slabs)).collect();
        rng.shuffle(&mut places);
        let in_slabs = |places: &[usize]| {
            let objects = places.iter().flat_map(|place| {
                let slab = BASE + place * SLAB;
                (0..PER_SLAB).map(move |i| slab + i * STRIDE)
            });
            objects.take(n).collect()
        };
        let (present, rest) = places.split_at(slabs);
        Self::shuffled(in_slabs(present), in_slabs(&rest[..slabs]), rng)
    }

    fn shuffled(mut present: Vec<usize>, mut absent: Vec<usize>, mut rng: SplitMix) -> Self {
        let count = u32::try_from(present.len()).expect("a workload has at most u32::MAX objects");
        rng.shuffle(&mut present);
        rng.shuffle(&mut absent);
        let mut insertion: Vec<_> = (0..count).collect();
        rng.shuffle(&mut insertion);
        Self {
            present,
            insertion,
            absent,
        }
    }

    /// How many objects have a shadow.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Never: a workload without objects cannot be made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The objects that have a shadow, in the order of lookup.
    #[must_use]
    pub fn present(&self) -> &[usize] {
        &self.present
    }

    /// As many objects that have none, in the order of lookup.
    #[must_use]
    pub fn absent(&self) -> &[usize] {
        &self.absent
    }

    /// Every present object with the word of its payload, in the order of
    /// insertion, which is not the order of lookup.
    ///
    /// The word is the address of the object that is looked up next, and the
    /// last one's is the first one's: so the payloads form one ring, and a
    /// lookup that depends on the one before it is "look up what you read".
    pub fn pairs(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.insertion.iter().map(|&i| {
            let i = i as usize;
            let next = if i + 1 == self.present.len() {
                0
            } else {
                i + 1
            };
            (self.present[i], self.present[next] as u64)
        })
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same on every machine and in
/// every version of every library, which a committed baseline relies on.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`. The bias of scaling 64 bits to the range is far
    /// below what any table could notice.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn present_and_absent_are_disjoint_and_on_the_stride() {
        let keys = Keys::new(1000);
        let mut all: Vec<_> = keys
            .present()
            .iter()
            .chain(keys.absent())
            .copied()
            .collect();
        all.sort_unstable();
        let expected: Vec<_> = (0..2000).map(|i| BASE + i * STRIDE).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn scattered_objects_fill_slabs_that_lie_apart() {
        let keys = Keys::scattered(100 * PER_SLAB);
        let slabs = |objects: &[usize]| {
            let mut slabs = BTreeMap::<_, usize>::new();
            for object in objects {
                let (slab, within) = ((object - BASE) / SLAB, (object - BASE) % SLAB);
                assert_eq!(within % STRIDE, 0, "no object begins elsewhere");
                *slabs.entry(slab).or_default() += 1;
            }
            assert!(slabs.values().all(|&objects| objects == PER_SLAB));
            slabs.into_keys().collect::<Vec<_>>()
        };
        let (present, absent) = (slabs(keys.present()), slabs(keys.absent()));
        assert_eq!((present.len(), absent.len()), (100, 100));
        assert!(!present.iter().any(|slab| absent.contains(slab)));
        let apart = present.windows(2).filter(|w| w[1] > w[0] + 100).count();
        assert!(apart > 90, "strewn, and not side by side: {apart}");
    }

    #[test]
    fn the_words_form_one_ring_in_the_order_of_lookup() {
        let keys = Keys::new(257);
        let next: BTreeMap<_, _> = keys.pairs().collect();
        assert_eq!(next.len(), 257, "each object is inserted once");
        let mut at = keys.present()[0];
        for &expected in keys.present() {
            assert_eq!(at, expected);
            at = next[&at] as usize;
        }
        assert_eq!(at, keys.present()[0]);
    }

    #[test]
    fn orders_differ_from_each_other_and_repeat() {
        let keys = Keys::new(1000);
        let inserted: Vec<_> = keys.pairs().map(|(key, _)| key).collect();
        assert_ne!(inserted, keys.present());
        assert_eq!(Keys::new(1000).present(), keys.present());
    }
}
