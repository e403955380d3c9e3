//! What a fuzzer calls: it must return, whatever the bytes are.

use crate::{Archive, Limits};

/// Reads bytes as an archive to its end or first error, with bounds small enough to be reached.
pub fn read(bytes: &[u8]) {
    let limits =
        Limits { archive_bytes: 1 << 20, file_bytes: 1 << 40, sparse_extents: 1 << 10, pax_bytes: 1 << 14 };
    let mut input = bytes;
    let mut archive = Archive::new(&mut input, limits);
    let mut copied = false;
    while let Ok(Some(entry)) = archive.next_entry() {
        assert!(entry.size <= limits.file_bytes);
        // By turns: skipped, copied, taken where it lies.
        copied = !copied;
        let mut buffer = [0; 100];
        while copied && matches!(archive.read_data(&mut buffer), Ok(1..)) {}
        while let Ok(count @ 1..) = archive.data().map(<[u8]>::len) {
            if copied || archive.consume_data(count.div_ceil(2)).is_err() {
                break;
            }
        }
    }
}
