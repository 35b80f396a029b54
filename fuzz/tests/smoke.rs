//! Drives every target without a fuzzer: random bytes, and mutations of inputs that are kept by chance.
//!
//! FUZZ_INPUTS: inputs for each target (20,000). FUZZ_SECONDS: instead, how long each runs. FUZZ_TARGET: only this one.
//! FUZZ_SEED: another sequence.

use std::time::{Duration, Instant};

use mcp_wrapper_fuzz::TARGETS;

/// What the texts of most targets are made of.
const SYNTAX: &[u8] = b"{}[]\":,\\u0 \nad19.=#";

/// xorshift64*: the same seed gives the same inputs.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    fn input(&mut self, corpus: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let n = 1 << self.below(10);
        let mut input: Vec<u8> = match self.below(4) {
            0 => (0..self.below(n)).map(|_| self.next() as u8).collect(),
            1 => (0..self.below(n))
                .map(|_| SYNTAX[self.below(SYNTAX.len())])
                .collect(),
            _mutated if !corpus.is_empty() => {
                let at = self.below(corpus.len());
                corpus[at].clone()
            }
            _first => Vec::new(),
        };
        for _ in 0..self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(3) {
                0 => input.insert(at, self.next() as u8),
                1 if at < input.len() => input[at] = self.next() as u8,
                2 if at < input.len() => drop(input.remove(at)),
                _nothing => {}
            }
        }
        if corpus.len() < 256 {
            corpus.push(input.clone());
        } else if self.below(64) == 0 {
            let at = self.below(256);
            corpus[at] = input.clone();
        }
        input
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn fuzz_smoke() {
    let only = std::env::var("FUZZ_TARGET").ok();
    for (name, target) in TARGETS
        .iter()
        .filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let mut dice = Dice(
            variable("FUZZ_SEED")
                .unwrap_or(1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                | 1,
        );
        let mut corpus = Vec::new();
        let started = Instant::now();
        let seconds = variable("FUZZ_SECONDS").map(Duration::from_secs);
        let n_max = variable("FUZZ_INPUTS").unwrap_or(20_000);
        let mut n = 0;
        while seconds.map_or(n < n_max, |seconds| started.elapsed() < seconds) {
            let input = dice.input(&mut corpus);
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{name}, input {n}: {input:?}");
            }
            n += 1;
        }
        println!("{name}: {n} inputs in {:?}", started.elapsed());
    }
}
