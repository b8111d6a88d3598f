//! The generator behind every random choice of a workload, pinned: the same seed gives the same
//! workload for ever.

/// PCG XSL RR 128/64 (O'Neill 2014), as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: u128,
}

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
const INCREMENT: u128 = 0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f;

impl Random {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self { state: 0 };
        random.step();
        random.state = random.state.wrapping_add(seed.into());
        random.step();
        random
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// A number below `bound`, each equally likely up to 2^-64 of bias.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_sequence_is_pinned_and_even() {
        let mut random = Random::new(1);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, PINNED);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&n| (9_500..10_500).contains(&n)),
            "{counts:?}"
        );
        assert_ne!(Random::new(2).bits(), PINNED[0]);
    }

    /// A change here changes every generated workload.
    const PINNED: [u64; 3] = [
        0xe175_e32e_d350_7bfa,
        0xc0bf_922a_0b28_3109,
        0x140b_fa21_e687_85bb,
    ];
}
