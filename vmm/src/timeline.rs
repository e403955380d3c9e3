//! When things happened in a boot: the VMM's own phases and the guest's stages (`spec::boot`).
//!
//! Marked by `builder`, `vm` and `ports`, printed by `kcradle run --timeline`. A guest that floods the stage port
//! costs an atomic operation a byte and no memory: each stage counts once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spec::Stage;

use crate::memory::file_pages::Placed;

/// A point in the VMM's own work, in the order of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// KVM is open, the virtual machine and its memory exist.
    Created,
    /// Devices are attached.
    Attached,
    /// The kernel is in guest memory.
    Kernel,
    /// The initramfs is in guest memory.
    Initramfs,
    /// vCPUs are set up.
    Built,
    /// The devices' threads are started; the vCPUs' come next.
    Started,
    /// The first thread of a vCPU is confined; the next is the guest's first instruction.
    Entered,
    /// The guest has ended.
    Ended,
    /// All threads are gone.
    Joined,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Attached,
        Self::Kernel,
        Self::Initramfs,
        Self::Built,
        Self::Started,
        Self::Entered,
        Self::Ended,
        Self::Joined,
    ];

    /// The name that `--timeline` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "vm-created",
            Self::Attached => "devices",
            Self::Kernel => "kernel-loaded",
            Self::Initramfs => "initramfs",
            Self::Built => "vm-built",
            Self::Started => "vm-started",
            Self::Entered => "guest-entered",
            Self::Ended => "guest-ended",
            Self::Joined => "vm-joined",
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The name of the [`Phase`] or [`Stage`].
    pub name: &'static str,
    /// Monotonic time since [`Timeline::origin`].
    pub at: Duration,
    /// How bytes came into guest memory, where that is what the phase did.
    pub placed: Option<Placed>,
}

/// The marks of one virtual machine.
#[derive(Debug)]
pub struct Timeline {
    origin: Instant,
    phases: [AtomicU64; Phase::ALL.len()],
    stages: [AtomicU64; Stage::ALL.len()],
    placed: OnceLock<[Placed; 2]>,
}

/// Not yet.
const UNSET: u64 = u64::MAX;

impl Timeline {
    /// An empty timeline that counts from `origin`.
    #[must_use]
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            phases: std::array::from_fn(|_| AtomicU64::new(UNSET)),
            stages: std::array::from_fn(|_| AtomicU64::new(UNSET)),
            placed: OnceLock::new(),
        }
    }

    /// What all marks count from.
    #[must_use]
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// All marks so far, the earliest first.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        let placed = |phase| {
            let [kernel, initramfs] = *self.placed.get()?;
            match phase {
                Phase::Kernel => Some(kernel),
                Phase::Initramfs => Some(initramfs),
                _ => None,
            }
        };
        let phases = Phase::ALL.iter().map(|phase| (phase.name(), placed(*phase))).zip(&self.phases);
        let stages = Stage::ALL.iter().map(|stage| (stage.name(), None)).zip(&self.stages);
        let mut marks: Vec<_> = phases
            .chain(stages)
            .map(|((name, placed), cell)| (name, placed, cell.load(Ordering::Relaxed)))
            .filter(|(_, _, nanoseconds)| *nanoseconds != UNSET)
            .map(|(name, placed, nanoseconds)| Mark { name, at: Duration::from_nanos(nanoseconds), placed })
            .collect();
        marks.sort_by_key(|mark| mark.at);
        marks
    }

    /// Marks a phase, unless it is marked already.
    pub(crate) fn phase(&self, phase: Phase) {
        self.mark(&self.phases[phase as usize]);
    }

    /// Keeps how kernel and initramfs came into guest memory; the first word counts.
    pub(crate) fn placed(&self, kernel: Placed, initramfs: Placed) {
        let _ = self.placed.set([kernel, initramfs]);
    }

    /// Marks a guest's stage, unless it is marked already.
    pub(crate) fn stage(&self, stage: Stage) {
        if let Some(index) = Stage::ALL.iter().position(|known| *known == stage) {
            self.mark(&self.stages[index]);
        }
    }

    fn mark(&self, cell: &AtomicU64) {
        if cell.load(Ordering::Relaxed) == UNSET {
            let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(UNSET - 1);
            // A second writer of the same mark is as late as the first: either may win.
            let _ = cell.compare_exchange(UNSET, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_the_first_of_its_kind_in_order_of_time() {
        let timeline = Timeline::new(Instant::now());
        timeline.phase(Phase::Created);
        timeline.stage(Stage::Init);
        let before = timeline.marks();
        for _ in 0..1000 {
            timeline.stage(Stage::Init);
        }
        assert_eq!(timeline.marks(), before);
        timeline.stage(Stage::PowerOff);
        timeline.phase(Phase::Ended);
        let marks = timeline.marks();
        let names: Vec<_> = marks.iter().map(|mark| mark.name).collect();
        assert_eq!(names, ["vm-created", "init", "power-off", "guest-ended"]);
        assert!(marks.is_sorted_by_key(|mark| mark.at));
    }

    #[test]
    fn phases_that_load_tell_how() {
        let timeline = Timeline::new(Instant::now());
        let (kernel, initramfs) = (Placed { mapped: 8192, copied: 3 }, Placed { mapped: 0, copied: 4095 });
        for phase in [Phase::Created, Phase::Kernel, Phase::Initramfs] {
            timeline.phase(phase);
        }
        assert!(timeline.marks().iter().all(|mark| mark.placed.is_none()));
        timeline.placed(kernel, initramfs);
        let placed: Vec<_> = timeline.marks().iter().map(|mark| mark.placed).collect();
        assert_eq!(placed, [None, Some(kernel), Some(initramfs)]);
    }
}
