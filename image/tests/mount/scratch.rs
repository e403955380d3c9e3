//! The writable disk, through e2fsck and the kernel's mount.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use image::ext4::create_scratch;
use rustix::mount::MountFlags;

use super::oracle::{Bench, in_namespace, loop_mount, run};

#[test]
fn mount_scratch_disks() {
    if !in_namespace("scratch::mount_scratch_disks") {
        return;
    }
    let bench = Bench::new();
    for (number, size) in [(1, 16_u64 << 20), (2, 1 << 30), (3, 10 << 30), (4, 10 << 30)] {
        let disk = bench.path(&format!("disk-{number}"));
        create_scratch(&bench.path("cache"), &disk, size).unwrap();
        let metadata = fs::metadata(&disk).unwrap();
        assert_eq!(metadata.len(), size);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks are stored", metadata.blocks());
        run(Command::new("e2fsck").args(["-f", "-n"]).arg(&disk));
        let point = bench.path(&format!("mounted-{number}"));
        fs::create_dir(&point).unwrap();
        loop_mount(&disk, &point, "ext4", MountFlags::empty()).unwrap();
        fs::write(point.join("file"), [1; 100_000]).unwrap();
        let root = fs::metadata(&point).unwrap();
        assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o755, 0, 0));
        run(Command::new("umount").arg(&point));
        run(Command::new("e2fsck").args(["-f", "-n"]).arg(&disk));
    }
    let names = fs::read_dir(bench.path("cache")).unwrap().count();
    assert_eq!(names, 3, "one template a size");
}
