//! Random numbers that are the same everywhere: xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number
//! generators", 2021), begun by SplitMix64.

/// A source of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random([u64; 4]);

/// A full mix of 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
pub(super) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        Random([0, 1, 2, 3].map(|n: u64| mix(seed.wrapping_add(n.wrapping_mul(step)))))
    }

    pub(super) fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`, which is not 0. As good as even: the bounds here are small beside 2^64.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound.max(1) as u128) >> 64) as usize
    }

    /// One of these; none where there is none.
    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        match all.is_empty() {
            true => None,
            false => all.get(self.below(all.len())),
        }
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
