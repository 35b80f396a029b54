//! Durations in buckets less than one percent wide, in bounded memory.

use std::time::Duration;

/// Buckets for each doubling, as a power of two.
const PRECISION: u32 = 7;

#[derive(Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    pub n: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            buckets: vec![0; (64 << PRECISION) as usize],
            n: 0,
        }
    }

    pub fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[place(nanos)] += 1;
        self.n += 1;
    }

    /// The duration that this share of all stays below, in microseconds.
    pub fn at(&self, share: f64) -> f64 {
        let wanted = ((self.n as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (place, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                return beginning(place) as f64 / 1000.0;
            }
        }
        0.0
    }

    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.n = 0;
    }
}

fn place(nanos: u64) -> usize {
    let nanos = nanos.max(1 << PRECISION);
    let doublings = 63 - nanos.leading_zeros() - PRECISION;
    ((u64::from(doublings) << PRECISION) + (nanos >> doublings) - (1 << PRECISION)) as usize
}

fn beginning(place: usize) -> u64 {
    let doublings = place >> PRECISION;
    let rest = (place & ((1 << PRECISION) - 1)) + (1 << PRECISION);
    (rest as u64) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_less_than_a_percent_below_what_was_put_in() {
        for nanos in [128, 1000, 54_321, 1_000_000, 999_999_999_999] {
            let mut all = Histogram::new();
            all.add(Duration::from_nanos(nanos));
            let (read, put) = (all.at(0.5) * 1000.0, nanos as f64);
            assert!(read <= put && read > put * 0.99, "{put}: {read}");
        }
    }

    #[test]
    fn shares_are_counted() {
        let mut all = Histogram::new();
        for millis in 1..=100 {
            all.add(Duration::from_millis(millis));
        }
        assert!((all.at(0.5) - 50_000.0).abs() < 500.0 && (all.at(0.99) - 99_000.0).abs() < 1000.0);
    }
}
