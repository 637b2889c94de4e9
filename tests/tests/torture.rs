//! Pipelines with state, windows and joins, killed at random moments, end with the bytes they would have ended with.
//!
//! A few seeds here; `cargo xtask torture --seeds N` has as many as one likes. `SEEDS` sets how many, `FIRST_SEED` where they begin.

use wasmill_tests::torture::{cases, torture, undisturbed};

/// Of one run.
const KILLS: usize = 5;

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn pipelines_killed_at_random_end_with_the_bytes_of_an_undisturbed_run() {
    let (first, seeds) = (number("FIRST_SEED", 1), number("SEEDS", 1));
    let cases = cases();
    assert!(cases.len() >= 10);
    for case in cases {
        let expected = undisturbed(&case);
        for seed in first..first + seeds {
            torture(&case, &expected, seed, KILLS);
            println!("{}, seed {seed}: as undisturbed", case.display());
        }
    }
}
