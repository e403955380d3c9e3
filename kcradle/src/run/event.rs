//! What happens to a running pod, as the session hears it from the threads around it.

use std::os::fd::OwnedFd;
use std::sync::mpsc::SyncSender;

use spec::ExitRecord;
use spec::control::{Reply, Verb};
use vmm::VmExit;

use super::signals::Arrival;

/// Events that may wait for the session; a guest that makes more of them waits too.
pub(crate) const QUEUE: usize = 64;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A container's process was started.
    Started {
        /// The container's index, below the number of containers.
        container: usize,
        /// The process's pid in the guest.
        pid: u32,
    },
    /// A container's process ended.
    Exited {
        /// The container's index, below the number of containers.
        container: usize,
    },
    /// A line of guest-init's own.
    Log(Vec<u8>),
    /// The file system of the disk with that index has followed its disk, or why not.
    Grown {
        /// The disk's index as the guest has it.
        disk: u32,
        /// What failed; empty where nothing did.
        why: String,
    },
    /// The interface of the device in that slot has come or gone, or why not.
    Linked {
        /// The slot as the guest has it.
        slot: u32,
        /// What failed; empty where nothing did.
        why: String,
    },
    /// The guest's last word.
    Final(ExitRecord),
    /// No more output comes, with the reason where the stream did not simply end.
    OutputEnded(Option<String>),
    /// Nobody reads this process's output any more.
    OutputClosed,
    /// A signal arrived.
    Signal(Arrival),
    /// A request came on the control socket, with these descriptors; the answer goes back on the channel.
    Control(Verb, Vec<OwnedFd>, SyncSender<Reply>),
    /// The virtual machine has ended, or failed with this cause.
    MachineEnded(Result<VmExit, String>),
}
