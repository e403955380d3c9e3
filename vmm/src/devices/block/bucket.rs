//! A token bucket whose time is an argument: tokens come at a rate, up to a burst, and are taken by requests.
//!
//! Counted in billionths of a token, so that nothing is lost to rounding however long it runs.

use std::num::NonZeroU64;
use std::time::Duration;

/// Billionths in a token, and nanoseconds in a second: a rate a second is the same number of billionths a nanosecond.
const UNIT: i128 = 1_000_000_000;

/// Of a second's tokens, the part that a request needs to pass which costs more.
const ENOUGH_PART: u64 = 10;

/// Tokens of one kind.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Tokens a second.
    rate: NonZeroU64,
    /// What lets any request pass, in billionths: a tenth of a second's tokens, but at least one. Idle time saves twice
    /// that, so that nothing is lost where somebody comes late for them.
    enough: i128,
    /// Billionths that are there; below 0 after a request of more.
    level: i128,
    /// When that was.
    at: Duration,
}

impl Bucket {
    /// A bucket with enough in it.
    pub(super) fn new(rate: NonZeroU64, now: Duration) -> Self {
        let enough = i128::from((rate.get() / ENOUGH_PART).max(1)) * UNIT;
        Self { rate, enough, level: enough, at: now }
    }

    /// Tokens a second.
    pub(super) fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// How long until `tokens` can be taken; zero where they can now. A request passes with the first token and owes the
    /// rest, so that disks with one bucket all wait for the same moment: who asks for little would else pass before who asks
    /// for much, for ever.
    pub(super) fn wait(&mut self, tokens: u64, now: Duration) -> Duration {
        self.fill(now);
        let missing = i128::from(tokens.min(1)) * UNIT - self.level;
        if missing <= 0 {
            return Duration::ZERO;
        }
        let rate = i128::from(self.rate.get());
        Duration::from_nanos(u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX))
    }

    /// Takes tokens, whether they are there or not.
    pub(super) fn take(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(i128::from(tokens) * UNIT);
    }

    /// Adds tokens, as many as they may be.
    pub(super) fn give(&mut self, tokens: u64) {
        self.level = self.level.saturating_add(i128::from(tokens) * UNIT);
    }

    fn fill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let come = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX);
        let come = come.saturating_mul(self.rate.get().into());
        self.level = self.level.saturating_add(come).min((2 * self.enough).max(self.level));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::harness::Numbers;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(rate).unwrap(), Duration::ZERO)
    }

    /// Takes requests one after the other, each as soon as it may; answers when the last one was taken.
    fn drive(bucket: &mut Bucket, mut now: Duration, requests: impl IntoIterator<Item = u64>) -> Duration {
        for tokens in requests {
            now += bucket.wait(tokens, now);
            assert_eq!(bucket.wait(tokens, now), Duration::ZERO, "a wait that is over is over");
            bucket.take(tokens);
        }
        now
    }

    #[test]
    fn requests_of_any_size_come_at_the_rate() {
        for (seed, rate) in [1, 7, 512, 1000, 1_048_577, 3_000_000_000, u64::MAX >> 8].into_iter().enumerate()
        {
            let mut numbers = Numbers(seed as u64);
            // From single tokens to a hundred times what a burst is.
            let sizes: Vec<u64> =
                (0..2000).map(|_| numbers.below(rate.saturating_mul(10)) >> numbers.below(20)).collect();
            let total: u128 = sizes.iter().map(|size| u128::from(*size)).sum();
            let last = *sizes.last().unwrap();
            let took = drive(&mut bucket(rate), Duration::ZERO, sizes);
            // Enough for some is there beforehand, and the last one is paid for after it.
            let enough = u128::from((rate / 10).max(1));
            let paid = (total - u128::from(last) + u128::from(last).min(1)).saturating_sub(enough);
            let wanted = paid * 1_000_000_000 / u128::from(rate);
            assert!(took.as_nanos().abs_diff(wanted) <= 1, "{rate}: {took:?}, not {wanted} ns");
            assert!(took > Duration::from_secs(60), "{took:?}");
        }
    }

    #[test]
    fn who_comes_late_for_them_loses_none() {
        for rate in [1, 5, 10_000, 100 << 20] {
            let (mut bucket, mut numbers) = (bucket(rate), Numbers(rate));
            let (mut now, mut total, mut last) = (Duration::ZERO, 0, 0);
            for _ in 0..10_000 {
                last = 1 + numbers.below(rate);
                now += bucket.wait(last, now);
                bucket.take(last);
                total += last;
                // A timer's lateness, and what the request itself takes.
                now += Duration::from_millis(numbers.below(90));
            }
            let wanted = Duration::from_secs_f64(f64::from(u32::try_from(total / rate).unwrap()));
            let slack = wanted / 100;
            assert!(now.abs_diff(wanted) < slack, "{rate}: {now:?}, not {wanted:?}; the last {last}");
        }
    }

    #[test]
    fn weeks_of_single_requests_lose_nothing() {
        // A part of a nanosecond is lost at each of them where times are rounded.
        let took = drive(&mut bucket(3), Duration::ZERO, std::iter::repeat_n(1, 3_000_001));
        assert_eq!(took, Duration::from_secs(1_000_000));
    }

    #[test]
    fn idle_time_saves_a_burst_and_no_more() {
        let mut bucket = bucket(1000);
        drive(&mut bucket, Duration::ZERO, [5000]);
        let later = Duration::from_secs(3600);
        assert_eq!(drive(&mut bucket, later, [100, 100]), later);
        assert_eq!(bucket.wait(1, later), Duration::from_millis(1));
        // Time that runs backwards is none.
        assert_eq!(bucket.wait(1, Duration::ZERO), Duration::from_millis(1));
        assert_eq!(bucket.wait(u64::MAX, later), Duration::from_millis(1));
    }

    #[test]
    fn who_asks_for_much_waits_no_longer_than_who_asks_for_little() {
        let mut bucket = bucket(1 << 20);
        drive(&mut bucket, Duration::ZERO, [1 << 20]);
        let much = bucket.wait(1 << 17, Duration::ZERO);
        assert!(much > Duration::from_millis(500));
        assert_eq!(much, bucket.wait(4096, Duration::ZERO));
    }

    #[test]
    fn what_is_given_is_kept_until_it_is_taken() {
        let mut bucket = bucket(10);
        bucket.give(1000);
        let later = Duration::from_secs(60);
        assert_eq!(drive(&mut bucket, later, std::iter::repeat_n(1, 1001)), later);
        assert_eq!(bucket.wait(1, later), Duration::from_millis(100));
    }
}
