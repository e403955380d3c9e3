//! How much a pod may tell of itself in a time: a hostile guest can make up as many events as it likes, and each is written
//! to the disk and sent to whoever follows.

use std::time::{Duration, Instant};

/// Events that are told at once, beside those of the execs that clients have asked for.
const BURST: u32 = 256;

/// Events a second beyond that.
const RATE: u32 = 32;

/// What a pod may tell now.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Until when it has been topped up.
    counted: Instant,
}

impl Allowance {
    /// That of a run that begins.
    pub(super) const fn new(now: Instant) -> Self {
        Self { left: BURST, counted: now }
    }

    /// Whether there is room for one more event, which is taken.
    pub(super) fn takes(&mut self, now: Instant) -> bool {
        let each = Duration::from_secs(1) / RATE;
        let waited = now.saturating_duration_since(self.counted);
        let earned = u32::try_from(waited.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX);
        if earned >= BURST - self.left {
            (self.left, self.counted) = (BURST, now);
        } else {
            self.left += earned;
            self.counted += each * earned;
        }
        let takes = self.left > 0;
        self.left -= u32::from(takes);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_a_rate() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(begin);
        let mut told_at = |millis: u64, tries: u32| {
            let now = begin + Duration::from_millis(millis);
            (0..tries).filter(|_| allowance.takes(now)).count()
        };
        assert_eq!(told_at(0, 1000), 256);
        assert_eq!(told_at(31, 10), 0);
        assert_eq!(told_at(32, 10), 1);
        assert_eq!(told_at(1000, 1000), 31);
        // Asked often it is as much.
        assert_eq!((1001..=2000).map(|millis| told_at(millis, 3)).sum::<usize>(), 32);
        assert_eq!(told_at(3_600_000, 1000), 256);
        // The clock of another processor may be behind.
        assert_eq!(told_at(0, 1), 0);
    }
}
