//! A small generator of random numbers whose seed a person can repeat.

use std::hash::{BuildHasher, Hasher, RandomState};

use anyhow::{Context, Result};

/// The environment variable that repeats a run.
const SEED: &str = "IMMUTABLE_SEED";

/// The seed of this run: the one that was asked for, or a new one. It is printed, so that every run can be repeated.
///
/// # Errors
/// When what was asked for is no number.
pub(crate) fn seed(test: &str) -> Result<u64> {
    let seed = match std::env::var(SEED) {
        Ok(wanted) => wanted.parse().with_context(|| format!("{SEED}={wanted} is no number"))?,
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    println!("{test}: seed {seed}; {SEED}={seed} repeats it");
    Ok(seed)
}

/// SplitMix64: every seed is as good as any other, so that each case has its own and can be made alone.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one case of a run.
    pub(crate) fn of(seed: u64, case: usize) -> Self {
        let mut random = Self(seed ^ (case as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below another; 0 below 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them; there must be one.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
