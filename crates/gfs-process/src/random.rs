//! Where randomness comes from: one seeded generator a process, forked for each component.

use std::io;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator of every component: a seed gives the same numbers on every platform. Hand each
/// component a *fork* (`SeedableRng::fork`); a clone would repeat its original's numbers.
pub type Random = ChaCha12Rng;

/// A generator seeded from the operating system, for `main`.
///
/// # Errors
/// Where the kernel gives no entropy.
pub fn random_from_os() -> io::Result<Random> {
    let mut seed = [0_u8; 32];
    let mut filled = 0;
    while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Random::from_seed(seed))
}

/// A generator for tests: the same seed, the same numbers.
#[must_use]
pub fn random_from_seed(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng as _;

    use super::*;

    #[test]
    fn seeds_repeat_and_the_system_does_not() {
        assert_eq!(random_from_seed(7).next_u64(), random_from_seed(7).next_u64());
        let os = || random_from_os().expect("entropy").next_u64();
        assert_ne!(os(), os());
    }

    #[test]
    fn forks_differ_from_each_other_and_from_their_origin() {
        let mut origin = random_from_seed(7);
        let (mut one, mut two) = (origin.fork(), origin.fork());
        let drawn = [one.next_u64(), two.next_u64(), origin.next_u64()];
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
    }
}
