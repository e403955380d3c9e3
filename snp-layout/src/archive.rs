//! The newc archive that brings launch.json into the guest (Linux: Documentation/driver-api/early-userspace/
//! buffer-format.rst): its header and its end are measured as they are, launch.json by its hash.

/// The file's name in the initramfs.
const NAME: &str = "launch.json";
const END: &str = "TRAILER!!!";
/// A regular file that root alone may read.
const MODE: u32 = 0o100_400;

/// The header of launch.json, up to its content.
pub(crate) fn header(size: u32) -> Vec<u8> {
    entry(NAME, MODE, size)
}

/// The end of the archive.
pub(crate) fn end() -> Vec<u8> {
    entry(END, 0, 0)
}

/// The magic, thirteen numbers as eight hexadecimal digits each, the name and its NUL, filled up to a multiple of four.
fn entry(name: &str, mode: u32, size: u32) -> Vec<u8> {
    let name_size = u32::try_from(name.len()).unwrap_or_default() + 1;
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    let fields = [1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let mut text = String::from("070701");
    text.extend(fields.map(|field| format!("{field:08x}")));
    text.push_str(name);
    text.push('\0');
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
