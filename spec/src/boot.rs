//! Boot stages: one byte, written by the guest to one I/O port, so that every boot has a timeline.
//!
//! Written by guest-init, timed by the VMM. Two of the stages end the virtual machine.

/// The x86 I/O port that takes one [`Stage`] byte a write; reads return 0xff.
pub const STAGE_PORT: u16 = 0x5c0;

/// A point in the life of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// The first instruction of guest-init's `main`.
    Init = 0x10,
    /// `/proc`, `/sys`, `/dev` and cgroup v2 are mounted and the launch specification is read.
    Config = 0x20,
    /// The stdio stream to the host is connected.
    Stdio = 0x28,
    /// Image and scratch disks are mounted.
    Disks = 0x30,
    /// The first container's process is about to be executed.
    Exec = 0x40,
    /// The last container has ended.
    Exited = 0x50,
    /// File systems are flushed: the VMM ends the virtual machine at once, orderly.
    PowerOff = 0xf0,
    /// guest-init cannot go on: the VMM ends the virtual machine at once, as failed.
    InitFailed = 0xf1,
}

impl Stage {
    /// All stages, in the order of a boot.
    pub const ALL: [Self; 8] = [
        Self::Init,
        Self::Config,
        Self::Stdio,
        Self::Disks,
        Self::Exec,
        Self::Exited,
        Self::PowerOff,
        Self::InitFailed,
    ];

    /// The stage of a byte that the guest wrote, or `None` for a byte that is no stage.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as u8 == byte)
    }

    /// The name that `--timeline` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Config => "config",
            Self::Stdio => "stdio",
            Self::Disks => "disks",
            Self::Exec => "exec",
            Self::Exited => "exited",
            Self::PowerOff => "power-off",
            Self::InitFailed => "init-failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_survives_its_byte() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_byte(stage as u8), Some(stage));
        }
        assert_eq!(Stage::from_byte(0), None);
        assert_eq!(Stage::from_byte(0xff), None);
    }
}
