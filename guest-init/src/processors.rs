//! The processors besides the first. The command line has Linux boot with one (`maxcpus=1`): each change of the kernel's
//! text, each grace period of RCU and each thread of its own would wait for all of them else, and none has anything to do.
//! They are started before the first container, which sees all that the pod was promised.

use std::io;
use std::path::Path;

/// Where the kernel keeps its processors, one folder each.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Starts all processors that the machine has; how many run then.
///
/// # Errors
/// The number of the one that did not start, from 0, and why.
pub(crate) fn start_all() -> Result<u32, (u32, io::Error)> {
    for number in 1.. {
        match std::fs::write(format!("{PROCESSORS}/cpu{number}/online"), "1") {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(number),
            Err(error) => return Err((number, error)),
        }
    }
    Ok(u32::MAX)
}

/// Has grace periods of RCU end at once, when nothing runs any more that this could disturb: unmounting waits for some,
/// which take ticks where there are several processors.
pub(crate) fn hurry() {
    if Path::new(PROCESSORS).join("cpu1").exists() {
        // A kernel without the file takes longer.
        let _absent = std::fs::write("/sys/kernel/rcu_expedited", "1");
    }
}
