//! A map in memory that never grows past its bound and forgets the oldest half when it would. What is in it can be made
//! again; what that costs, and whether an entry still holds, is for its owner to know.

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use arc_swap::ArcSwap;
use papaya::HashMap;

/// Two maps: entries go into the young one; when that is full it becomes the old one, and what was old is gone. Readers
/// take no lock, and move nothing: an entry that somebody removes cannot come back behind his back.
pub struct BoundedMap<K, V> {
    halves: ArcSwap<Halves<K, V>>,
    changing: Mutex<()>,
    half: usize,
}

struct Halves<K, V> {
    young: Arc<HashMap<K, V>>,
    old: Arc<HashMap<K, V>>,
}

impl<K, V> fmt::Debug for BoundedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedMap").field("half", &self.half).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq, V: Clone> BoundedMap<K, V> {
    /// One of at most `bound` entries.
    pub fn new(bound: usize) -> Self {
        Self { halves: ArcSwap::from_pointee(Halves::empty()), changing: Mutex::new(()), half: (bound / 2).max(1) }
    }

    /// The entry.
    pub fn get<Q: Hash + papaya::Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let halves = self.halves.load();
        let young = halves.young.pin().get(key).cloned();
        young.or_else(|| halves.old.pin().get(key).cloned())
    }

    /// Adds an entry, or replaces it. While another thread changes the map it does neither: what is in it can be made
    /// again, and a check waits for nobody.
    pub fn insert(&self, key: K, value: V) {
        let _alone = match self.changing.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let halves = self.halves.load_full();
        if halves.young.len() < self.half {
            halves.young.pin().insert(key, value);
            return;
        }
        let young = Arc::new(HashMap::with_capacity(self.half));
        young.pin().insert(key, value);
        self.halves.store(Arc::new(Halves { young, old: Arc::clone(&halves.young) }));
    }

    /// Removes an entry.
    pub fn remove<Q: Hash + papaya::Equivalent<K> + ?Sized>(&self, key: &Q) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let halves = self.halves.load_full();
        halves.young.pin().remove(key);
        halves.old.pin().remove(key);
    }

    /// Removes all.
    pub fn clear(&self) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.halves.store(Arc::new(Halves::empty()));
    }

    /// How many it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let halves = self.halves.load();
        halves.young.len() + halves.old.len()
    }
}

impl<K: Hash + Eq, V> Halves<K, V> {
    fn empty() -> Self {
        Self { young: Arc::new(HashMap::new()), old: Arc::new(HashMap::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest_and_never_grows_past_its_bound() {
        let map = BoundedMap::new(10);
        for number in 0..1000 {
            map.insert(number, number * 2);
            assert_eq!(map.get(&number), Some(number * 2));
            assert!(map.len() <= 10, "{}", map.len());
        }
        assert_eq!((map.get(&999), map.get(&995), map.get(&5)), (Some(1998), Some(1990), None));
    }

    #[test]
    fn what_is_removed_is_gone_from_both_halves() {
        let map = BoundedMap::new(4);
        (0..4).for_each(|number| map.insert(number, ()));
        (0..4).for_each(|number| map.remove(&number));
        assert_eq!(map.len(), 0);
        map.insert(1, ());
        map.clear();
        assert_eq!(map.get(&1), None);
    }
}
