//! Which devices a container may open: Docker's default rules as a BPF program on its control group.
//!
//! Containers hold CAP_MKNOD by default, so that nothing else keeps one from making a node for the pod's disks.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::io;

/// Character devices that may be opened: major, minor.
const ALLOWED: [(i32, i32); 8] = [
    (1, 3), // null
    (1, 5), // zero
    (1, 7), // full
    (1, 8), // random
    (1, 9), // urandom
    (5, 0), // tty
    (5, 1), // console
    (5, 2), // ptmx
];

/// The major number of terminals in /dev/pts, all of which may be opened.
const PTS_MAJOR: i32 = 136;

/// An instruction (`struct bpf_insn`): opcode, registers (source in the high half), jump, constant.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    jump: i16,
    constant: i32,
}

/// The leading fields of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct LoadAttr {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The fields of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// The device rules, loaded into the kernel once for all containers.
#[derive(Debug)]
pub(crate) struct DeviceRules(OwnedFd);

impl DeviceRules {
    /// Loads the program.
    ///
    /// # Errors
    /// What bpf(2) says.
    pub(crate) fn load() -> io::Result<Self> {
        const PROG_LOAD: libc::c_int = 5;
        const CGROUP_DEVICE_PROGRAM: u32 = 15;
        let program = program();
        let attr = LoadAttr {
            program_type: CGROUP_DEVICE_PROGRAM,
            count: u32::try_from(program.len()).unwrap_or(0),
            instructions: program.as_ptr() as u64,
            license: c"Apache-2.0".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
        };
        let fd = bpf(PROG_LOAD, &attr)?;
        // SAFETY: the kernel has just returned this descriptor (close-on-exec) and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Puts the rules on a control group and all below it.
    ///
    /// # Errors
    /// What bpf(2) says.
    pub(crate) fn attach(&self, cgroup: impl AsFd) -> io::Result<()> {
        const PROG_ATTACH: libc::c_int = 8;
        const CGROUP_DEVICE: u32 = 6;
        let number = |fd: i32| fd.unsigned_abs();
        let attr = AttachAttr {
            target: number(cgroup.as_fd().as_raw_fd()),
            program: number(self.0.as_raw_fd()),
            kind: CGROUP_DEVICE,
            flags: 0,
        };
        bpf(PROG_ATTACH, &attr).map(drop)
    }
}

fn bpf<A>(command: libc::c_int, attr: &A) -> io::Result<i32> {
    // SAFETY: `attr` is a prefix of bpf_attr of the size given, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

/// Register 1 points to `struct bpf_cgroup_dev_ctx`: type (low half) and access (high half), major, minor. The
/// program returns 1 to allow.
fn program() -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const SHIFT_RIGHT: u8 = 0x77;
    const AND: u8 = 0x57;
    const JUMP_EQUAL: u8 = 0x15;
    const JUMP_UNEQUAL: u8 = 0x55;
    const MOVE: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    const MKNOD: i32 = 1;
    const CHARACTER: i32 = 2;
    let one = |code, registers, jump, constant| Instruction { code, registers, jump, constant };
    let allow = [one(MOVE, 0, 0, 1), one(EXIT, 0, 0, 0)];
    let mut program = vec![
        one(LOAD_WORD, 0x12, 0, 0), // 2: type
        one(LOAD_WORD, 0x13, 0, 0), // 3: access
        one(LOAD_WORD, 0x14, 4, 0), // 4: major
        one(LOAD_WORD, 0x15, 8, 0), // 5: minor
        one(AND, 2, 0, 0xffff),
        one(SHIFT_RIGHT, 3, 0, 16),
        one(JUMP_UNEQUAL, 3, 2, MKNOD),
    ];
    // Any node may be made, as under Docker; it cannot be opened.
    program.extend(allow);
    program.extend([one(JUMP_EQUAL, 2, 2, CHARACTER), one(MOVE, 0, 0, 0), one(EXIT, 0, 0, 0)]);
    program.push(one(JUMP_UNEQUAL, 4, 2, PTS_MAJOR));
    program.extend(allow);
    for (major, minor) in ALLOWED {
        program.extend([one(JUMP_UNEQUAL, 4, 3, major), one(JUMP_UNEQUAL, 5, 2, minor)]);
        program.extend(allow);
    }
    program.extend([one(MOVE, 0, 0, 0), one(EXIT, 0, 0, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interprets the program as the kernel would, for the instructions that it uses.
    fn allows(kind: u32, access: u32, major: i64, minor: i64) -> bool {
        let context = [i64::from(kind | access << 16), major, minor];
        let mut registers = [0_i64; 6];
        let program = program();
        let mut at = 0;
        loop {
            let Instruction { code, registers: names, jump, constant } = program[at];
            let (to, value) = (usize::from(names & 15), i64::from(constant));
            at += 1;
            let taken = match code {
                0x61 => {
                    assert_eq!(names >> 4, 1);
                    registers[to] = context[usize::try_from(jump).unwrap() / 4];
                    continue;
                }
                0x77 => {
                    registers[to] >>= value;
                    continue;
                }
                0x57 => {
                    registers[to] &= value;
                    continue;
                }
                0xb7 => {
                    registers[to] = value;
                    continue;
                }
                0x15 => registers[to] == value,
                0x55 => registers[to] != value,
                0x95 => return registers[0] != 0,
                other => panic!("opcode {other:#x}"),
            };
            if taken {
                at += usize::try_from(jump).unwrap();
            }
        }
    }

    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;
    const MKNOD: u32 = 1;
    const READ: u32 = 2;
    const READ_WRITE: u32 = 6;

    #[test]
    fn dockers_devices_open_and_no_others() {
        for (major, minor) in ALLOWED {
            assert!(allows(CHARACTER, READ_WRITE, i64::from(major), i64::from(minor)));
            assert!(!allows(BLOCK, READ, i64::from(major), i64::from(minor)));
        }
        assert!(allows(CHARACTER, READ_WRITE, 136, 0) && allows(CHARACTER, READ, 136, 4095));
        for (major, minor) in [(1, 1), (1, 2), (1, 4), (1, 11), (5, 3), (10, 200), (10, 229), (0, 0)] {
            assert!(!allows(CHARACTER, READ, major, minor), "{major}:{minor}");
        }
        assert!(!allows(BLOCK, READ, 254, 0) && !allows(BLOCK, READ_WRITE, 136, 0));
    }

    #[test]
    fn any_node_may_be_made() {
        assert!(allows(BLOCK, MKNOD, 254, 16) && allows(CHARACTER, MKNOD, 1, 1));
        assert!(!allows(BLOCK, MKNOD | READ, 254, 16));
    }
}
