//! Mounts as descriptors (fsopen, fsmount, open_tree, move_mount, mount_setattr): made first, attached to an
//! already resolved directory then, so that no path inside a hostile file tree is walked by mount(2).
#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::io;

/// A detached mount; it goes when it is dropped without having been attached.
#[derive(Debug)]
pub(crate) struct MountFd(OwnedFd);

impl MountFd {
    /// A new file system of the type with its options; an option with an empty value is a flag.
    ///
    /// # Errors
    /// What the kernel says; ENODEV where it lacks the file system.
    pub(crate) fn filesystem(
        kind: &str,
        options: &[(&str, &str)],
        attributes: MountAttrFlags,
    ) -> io::Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        // What mount(8) shows as the device.
        fsconfig_set_string(context.as_fd(), "source", kind)?;
        for (key, value) in options {
            if value.is_empty() {
                fsconfig_set_flag(context.as_fd(), *key)?;
            } else {
                fsconfig_set_string(context.as_fd(), *key, *value)?;
            }
        }
        fsconfig_create(context.as_fd())?;
        Ok(Self(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// A bind mount of what is at the path, itself alone.
    ///
    /// # Errors
    /// What open_tree(2) says.
    pub(crate) fn bind(dir: BorrowedFd<'_>, path: &str) -> io::Result<Self> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self(open_tree(dir, path, flags)?))
    }

    /// Sets attributes of the mount, also of an attached one.
    ///
    /// # Errors
    /// What mount_setattr(2) says.
    pub(crate) fn set(&self, attributes: MountAttrFlags) -> io::Result<()> {
        set_attributes(self.0.as_fd(), attributes)
    }

    /// Puts the mount over the directory or file that the descriptor stands for.
    ///
    /// # Errors
    /// What move_mount(2) says.
    pub(crate) fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(self.0.as_fd(), "", target, "", flags)?)
    }
}

impl AsFd for MountFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kernel's `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes of the mount whose root the descriptor stands for.
///
/// # Errors
/// What mount_setattr(2) says.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<()> {
    let attr = MountAttr { set: u64::from(attributes.bits()), clear: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a NUL-terminated empty string and `attr` has the size given; both outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
