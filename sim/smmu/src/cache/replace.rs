//! Who leaves a full set.

use super::config::{Geometry, Replacement};

/// Replacement state of all sets of one cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Victims {
    /// Next way of each set.
    RoundRobin(Vec<u32>),
    /// When each entry was last used, and the time.
    Lru { used: Vec<u64>, now: u64 },
    /// A tree of bits for each set: bit `n` is node `n` of a heap whose root is 1; 0 points left.
    PseudoLru(Vec<u64>),
    /// State of the generator.
    Random(u64),
}

impl Victims {
    pub(super) fn new(geometry: &Geometry, sets: usize, ways: usize) -> Self {
        match geometry.replacement {
            Replacement::RoundRobin | Replacement::Infinite => Self::RoundRobin(vec![0; sets]),
            Replacement::Lru => Self::Lru {
                used: vec![0; sets * ways],
                now: 0,
            },
            Replacement::PseudoLru => Self::PseudoLru(vec![0; sets]),
            Replacement::Random { seed } => Self::Random(seed),
        }
    }

    /// Notes a use of the entry at `place`. Out of the way of hits in caches that need not know.
    #[inline(never)]
    pub(super) fn touch(&mut self, place: usize, ways: usize) {
        match self {
            Self::RoundRobin(_) | Self::Random(_) => {}
            Self::Lru { used, now } => {
                *now += 1;
                used[place] = *now;
            }
            Self::PseudoLru(trees) => point_away(&mut trees[place / ways], place % ways, ways),
        }
    }

    /// The way of a full `set` that makes room.
    pub(super) fn choose(&mut self, set: usize, ways: usize) -> usize {
        match self {
            Self::RoundRobin(next) => {
                let way = next[set];
                next[set] = (way + 1) % ways as u32;
                way as usize
            }
            Self::Lru { used, .. } => {
                let set = &used[set * ways..][..ways];
                (0..ways).min_by_key(|&way| set[way]).unwrap_or(0)
            }
            Self::PseudoLru(trees) => {
                let mut node = 1;
                while node < ways {
                    node = 2 * node + (trees[set] >> node & 1) as usize;
                }
                node - ways
            }
            Self::Random(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                (split_mix(*state) % ways as u64) as usize
            }
        }
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: u64) -> u64 {
    let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// From the leaf up, each node points away from where it was entered.
fn point_away(tree: &mut u64, way: usize, ways: usize) {
    let mut node = ways + way;
    while node > 1 {
        let parent = node / 2;
        if node.is_multiple_of(2) {
            *tree |= 1 << parent;
        } else {
            *tree &= !(1 << parent);
        }
        node = parent;
    }
}
