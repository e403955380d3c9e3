//! The limits of a disk, or of disks that share them: how long a request has to wait, as the kernel's `blk-throttle`
//! counts. Changed from other threads while the machine runs.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spec::DiskLimits;

use super::bucket::Bucket;

/// What one more request costs of what [`Throttle::pardon`] gives: a page, the least that a cache writes.
const PAGE: u64 = 4096;

/// Requests that wait for each other: a limit of one direction does not hold up the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Read,
    Write,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Read, Self::Write];
}

/// What a request takes: itself, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) lane: Lane,
    pub(super) bytes: u64,
}

/// Limits that hold for all disks which have a clone of it.
#[derive(Clone)]
pub struct Throttle(Arc<Mutex<State>>);

struct State {
    limits: DiskLimits,
    lanes: [Buckets; 2],
    clock: Box<dyn Fn() -> Duration + Send>,
}

#[derive(Default)]
struct Buckets {
    bytes: Option<Bucket>,
    requests: Option<Bucket>,
}

impl Throttle {
    /// Limits that hold from now on.
    #[must_use]
    pub fn new(limits: DiskLimits) -> Self {
        let origin = Instant::now();
        Self::on(Box::new(move || origin.elapsed()), limits)
    }

    /// As [`Self::new`], on another clock.
    pub(super) fn on(clock: Box<dyn Fn() -> Duration + Send>, limits: DiskLimits) -> Self {
        let state = State { limits: DiskLimits::default(), lanes: Default::default(), clock };
        let throttle = Self(Arc::new(Mutex::new(state)));
        throttle.set(limits);
        throttle
    }

    /// Changes the limits. One that stays as it is goes on where it was, another begins anew.
    pub fn set(&self, limits: DiskLimits) {
        let mut state = self.lock();
        let now = (state.clock)();
        state.limits = limits;
        let DiskLimits { read_bps, write_bps, read_iops, write_iops } = limits;
        let rates = [(read_bps, read_iops), (write_bps, write_iops)];
        for (buckets, (bytes, requests)) in state.lanes.iter_mut().zip(rates) {
            change(&mut buckets.bytes, bytes, now);
            change(&mut buckets.requests, requests, now);
        }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> DiskLimits {
        self.lock().limits
    }

    /// Lets so many bytes pass, once, in each direction, without a wait, and a request for each page of them.
    pub fn pardon(&self, bytes: u64) {
        for buckets in &mut self.lock().lanes {
            buckets.bytes.iter_mut().for_each(|bucket| bucket.give(bytes));
            buckets.requests.iter_mut().for_each(|bucket| bucket.give(bytes / PAGE));
        }
    }

    /// Takes what a request costs. Where it is not there, nothing is taken, and the answer is how long it will not be.
    pub(super) fn take(&self, cost: Cost) -> Result<(), Duration> {
        let mut state = self.lock();
        if state.limits.is_none() {
            return Ok(());
        }
        let now = (state.clock)();
        let Buckets { bytes, requests } = &mut state.lanes[cost.lane as usize];
        let mut wished = [(bytes, cost.bytes), (requests, 1)];
        let waits = wished.iter_mut().map(|(bucket, tokens)| {
            bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.wait(*tokens, now))
        });
        match waits.max() {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                for (bucket, tokens) in wished {
                    bucket.iter_mut().for_each(|bucket| bucket.take(tokens));
                }
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Throttle {
    /// No limits.
    fn default() -> Self {
        Self::new(DiskLimits::default())
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Throttle").field(&self.limits()).finish()
    }
}

fn change(bucket: &mut Option<Bucket>, rate: u64, now: Duration) {
    if bucket.as_ref().map_or(0, |bucket| bucket.rate().get()) != rate {
        *bucket = NonZeroU64::new(rate).map(|rate| Bucket::new(rate, now));
    }
}
