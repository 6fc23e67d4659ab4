//! Small seeded random numbers: SplitMix64 (Steele, Lea, Flood 2014). The same seed gives the same
//! numbers on every machine.

use alloy_primitives::keccak256;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream that belongs to `parts`: a seed, a purpose, a height.
    pub(super) fn of(parts: &[u64]) -> Random {
        let mut random = Random(0x6a09_e667_f3bc_c908);
        for part in parts {
            random.0 ^= *part;
            random.0 = random.next();
        }
        random
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound - 1`; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let scaled = u128::from(self.next()) * u128::from(bound);
        u64::try_from(scaled >> 64).expect("the upper half of 128 bits has 64")
    }

    /// An index into `length` things.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).expect("lengths have at most 64 bits");
        usize::try_from(self.below(bound)).expect("the number is below a length")
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        const UNIT: f64 = 1.0 / 9_007_199_254_740_992.0;
        ((self.next() >> 11) as f64) * UNIT < probability
    }
}

/// A hash that belongs to a purpose and to numbers.
pub(super) fn hash_of(purpose: &str, parts: &[u64]) -> [u8; 32] {
    let mut text = purpose.as_bytes().to_vec();
    for part in parts {
        text.extend_from_slice(&part.to_be_bytes());
    }
    keccak256(&text).0
}

/// An address that belongs to a purpose and to numbers.
pub(super) fn address_of(purpose: &str, parts: &[u64]) -> [u8; 20] {
    let hash = hash_of(purpose, parts);
    hash[12..].try_into().expect("32 - 12 = 20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_values() {
        // First outputs of SplitMix64 for the seed 1234567, as published with the algorithm.
        let mut random = Random(1_234_567);
        let first: Vec<_> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn chances_come_true_as_often_as_they_should() {
        let mut random = Random::of(&[7]);
        let hits = (0..100_000).filter(|_| random.chance(0.2)).count();
        assert!((19_000..21_000).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
    }
}
