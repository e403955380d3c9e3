//! What a process inherits from the one that starts it: a pod's lock among it, which must be free when the pod has ended.

use std::io;

/// Closes all descriptors but the standard ones.
pub(super) fn inherited() -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // All are known before the first is closed; the list's own is closed by then.
    for number in numbers.collect::<Vec<_>>() {
        if number > 2 {
            let _ = nix::unistd::close(number);
        }
    }
    Ok(())
}
