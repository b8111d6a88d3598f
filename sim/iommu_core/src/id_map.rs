//! What handles stand for, in the order of the handles.

use std::ops::Index;

/// A map from handles that are given out in ascending order, searched for every page that is mapped:
/// the handles lie side by side, in a line or two of the host's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap<K, V> {
    /// Ascending.
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<K: Ord + Copy, V> IdMap<K, V> {
    #[inline]
    fn find(&self, key: K) -> Option<usize> {
        let at = self.place(key);
        (self.keys.get(at) == Some(&key)).then_some(at)
    }

    /// How many keys are smaller.
    #[inline]
    fn place(&self, key: K) -> usize {
        self.keys.partition_point(|&other| other < key)
    }

    /// The value of a handle.
    #[inline]
    pub fn get(&self, key: K) -> Option<&V> {
        self.find(key).map(|at| &self.values[at])
    }

    /// The value of a handle.
    #[inline]
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).map(|at| &mut self.values[at])
    }

    /// Whether the handle stands for anything.
    pub fn contains(&self, key: K) -> bool {
        self.find(key).is_some()
    }

    /// Puts a value in; the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.place(key);
        if self.keys.get(at) == Some(&key) {
            return Some(std::mem::replace(&mut self.values[at], value));
        }
        self.keys.insert(at, key);
        self.values.insert(at, value);
        None
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let at = self.find(key)?;
        self.keys.remove(at);
        Some(self.values.remove(at))
    }

    /// Handles and values, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.keys.iter().copied().zip(&self.values)
    }

    /// Values, in the order of their handles.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.values.iter()
    }

    /// Values, in the order of their handles.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.values.iter_mut()
    }
}

impl<K: Ord + Copy, V> Index<K> for IdMap<K, V> {
    type Output = V;

    /// # Panics
    /// If the handle stands for nothing.
    fn index(&self, key: K) -> &V {
        self.get(key).expect("the handle stands for something")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::IdMap;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..3u8, 0..12u32, any::<u8>()), 0..60)) {
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    1 => prop_assert_eq!(map.remove(key), model.remove(&key)),
                    _ => {
                        prop_assert_eq!(map.get(key), model.get(&key));
                        prop_assert_eq!(map.contains(key), model.contains_key(&key));
                        if let Some(held) = map.get_mut(key) {
                            *held ^= 0xff;
                            *model.get_mut(&key).unwrap() ^= 0xff;
                        }
                    }
                }
                let (held, expected): (Vec<_>, Vec<_>) =
                    (map.iter().collect(), model.iter().map(|(k, v)| (*k, v)).collect());
                prop_assert_eq!(held, expected);
            }
        }
    }
}
