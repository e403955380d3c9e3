//! Disks whose every block is checked against a root that launch.json has: dm-verity, by the device mapper's ioctls
//! (linux/dm-ioctl.h). The host cannot change a byte of such a disk unseen.
//!
//! A block that is not what it was ends the machine at once (`panic_on_corruption`): a program that is merely told of an
//! error of its disk may go on without a file, as the host likes.
#![expect(unsafe_code, reason = "the device mapper's ioctls have no safe wrapper")]

use rustix::fd::AsRawFd;
use spec::launch::VeritySpec;
use std::fs::File;
use std::io;

/// Made by devtmpfs, in a kernel that has the device mapper.
const CONTROL: &str = "/dev/mapper/control";

/// `DM_DEV_CREATE`, `DM_DEV_SUSPEND` and `DM_TABLE_LOAD`: `_IOWR(0xfd, number, struct dm_ioctl)`.
const CREATE: u32 = command(3);
const SUSPEND: u32 = command(6);
const LOAD: u32 = command(9);

/// Bytes of `struct dm_ioctl` and of `struct dm_target_spec`.
const HEADER: usize = 312;
const TARGET: usize = 40;
/// Where fields of `struct dm_ioctl` are.
const DEVICE: usize = 40;
const NAME: usize = 48;
/// `DM_READONLY_FLAG`: verity takes no other.
const READ_ONLY: u32 = 1;

#[expect(clippy::cast_possible_truncation, reason = "312")]
const fn command(number: u32) -> u32 {
    3 << 30 | (HEADER as u32) << 16 | 0xfd << 8 | number
}

/// Puts a checked device before the block device, and answers its path.
///
/// # Errors
/// The kernel has no device mapper, or refuses the table: the disk is too small for it, for one.
pub(crate) fn map(device: &str, name: &str, verity: &VeritySpec) -> io::Result<String> {
    let control = File::options().read(true).write(true).open(CONTROL)?;
    ask(&control, CREATE, request(name, 0, None))?;
    ask(&control, LOAD, request(name, READ_ONLY, Some((verity.data_blocks, table(device, verity)))))?;
    // Without its flag this one is the opposite: the table begins to hold.
    let answer = ask(&control, SUSPEND, request(name, 0, None))?;
    let mut number = [0; 8];
    number.copy_from_slice(&answer[DEVICE..DEVICE + 8]);
    Ok(format!("/dev/dm-{}", minor(u64::from_ne_bytes(number))))
}

/// The parameters of the target: format, disks of the data and of the tree, sizes of blocks, how many blocks and where the
/// tree begins, no salt, one option.
fn table(device: &str, verity: &VeritySpec) -> String {
    let VeritySpec { root, data_blocks: blocks } = verity;
    format!("1 {device} {device} 4096 4096 {blocks} {blocks} sha256 {root} - 1 panic_on_corruption\0")
}

#[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
/// A request about the device of that name; a table is one target for so many blocks from the first on.
fn request(name: &str, flags: u32, target: Option<(u64, String)>) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    // The rest of the field, and so its end, stays zero: names are short.
    bytes[NAME..NAME + name.len()].copy_from_slice(name.as_bytes());
    let count = u32::from(target.is_some());
    if let Some((blocks, parameters)) = target {
        let start = bytes.len();
        bytes.resize(start + TARGET, 0);
        bytes[start + 8..start + 16].copy_from_slice(&(blocks * 8).to_ne_bytes());
        bytes[start + 24..start + 30].copy_from_slice(b"verity");
        bytes.extend_from_slice(parameters.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let size = bytes.len() as u32;
    // Version 4.0.0, size, where the targets begin, how many, (open count,) flags.
    for (index, number) in [4, 0, 0, size, HEADER as u32, count, 0, flags].into_iter().enumerate() {
        bytes[index * 4..index * 4 + 4].copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

/// The lower part of a device number as the kernel writes one into 64 bits: 8 bits, the major number, the rest.
fn minor(device: u64) -> u64 {
    device & 0xff | device >> 12 & 0xfff_ff00
}

fn ask(control: &File, command: u32, mut request: Vec<u8>) -> io::Result<Vec<u8>> {
    // SAFETY: all three commands take a struct dm_ioctl, with which the buffer begins; the kernel reads and writes as many
    // bytes as its field `data_size` says, which is the buffer's length; the buffer outlives the call.
    match unsafe { libc::ioctl(control.as_raw_fd(), command as _, request.as_mut_ptr()) } {
        0 => Ok(request),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_laid_out_as_the_kernel_reads_them() {
        assert_eq!((CREATE, SUSPEND, LOAD), (0xc138_fd03, 0xc138_fd06, 0xc138_fd09));
        let plain = request("image0", 0, None);
        assert_eq!(plain.len(), 312);
        assert_eq!(
            plain[..32],
            [
                4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 56, 1, 0, 0, 56, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0
            ]
        );
        assert_eq!(&plain[48..56], b"image0\0\0");
        assert!(plain[56..].iter().all(|byte| *byte == 0));

        let verity = VeritySpec { root: "5a".repeat(32), data_blocks: 1536 };
        let parameters = table("/dev/vda", &verity);
        let root = "5a".repeat(32);
        assert_eq!(
            parameters,
            format!("1 /dev/vda /dev/vda 4096 4096 1536 1536 sha256 {root} - 1 panic_on_corruption\0")
        );
        let load = request("image0", READ_ONLY, Some((1536, parameters.clone())));
        let length = load.len();
        assert_eq!((length % 8, length - 312 - 40 - parameters.len() < 8), (0, true));
        assert_eq!(load[12..16], u32::try_from(length).unwrap().to_ne_bytes());
        assert_eq!((load[20], load[28]), (1, 1));
        assert_eq!(load[312..328], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&load[336..352], b"verity\0\0\0\0\0\0\0\0\0\0");
        assert!(load[352..].starts_with(parameters.as_bytes()));
    }

    #[test]
    fn device_numbers_are_split_as_the_kernel_does() {
        assert_eq!((minor(0xfd00), minor(0xfd03), minor(0x0010_fd01)), (0, 3, 0x101));
    }
}
