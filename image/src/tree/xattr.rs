//! Which extended attributes of an archive or a directory enter a tree, and which names are this crate's own.

use super::acl::{self, Acl};
use super::{Attributes, Bytes};

/// Marks a directory that hides what lower layers have in it (overlayfs' own form).
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Marks a directory that no entry names; only in layer files.
pub(crate) const IMPLICIT: &[u8] = b"trusted.cradle.implicit";
/// Marks a hard link to a file of a lower layer, whose path is the value; only in layer files.
pub(crate) const LOWER_LINK: &[u8] = b"trusted.cradle.link";

/// Names below these are overlayfs' and this crate's: an image that brings its own could forge whiteouts.
const RESERVED: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"trusted.cradle."];
/// Namespaces that EROFS stores.
const STORED: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
pub(crate) const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
pub(crate) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// The longest name after its namespace, in bytes.
const NAME_MAX: usize = 255;
/// EROFS counts a value's bytes in 16 bits, one short of the kernel's own limit.
const VALUE_MAX: usize = 65535;
/// Room for all attributes of an inode, whose header counts 4-byte units in 16 bits; the rest is for marks.
const TOTAL_MAX: usize = 4 * 65534 - 128;

/// Takes `candidates` into `attributes`, whose mode must be final; returns how many were left out.
pub(crate) fn admit(
    attributes: &mut Attributes,
    candidates: impl IntoIterator<Item = (Bytes, Bytes)>,
) -> u64 {
    let (mut dropped, mut total) = (0, 0);
    for (name, value) in candidates {
        let stored = if &*name == ACL_ACCESS {
            acl::access(&value, attributes.mode)
        } else if &*name == ACL_DEFAULT {
            acl::default(&value)
        } else if is_storable(&name) && value.len() <= VALUE_MAX {
            Acl::Stored(value.into_vec())
        } else {
            Acl::Malformed
        };
        match stored {
            Acl::Stored(value)
                if total + name.len() + value.len() + 8 <= TOTAL_MAX && value.len() <= VALUE_MAX =>
            {
                total += name.len() + value.len() + 8;
                attributes.xattrs.insert(name, value.into());
            }
            Acl::Trivial => {}
            Acl::Stored(_) | Acl::Malformed => dropped += 1,
        }
    }
    dropped
}

fn is_storable(name: &[u8]) -> bool {
    !name.contains(&0)
        && !RESERVED.iter().any(|reserved| name.starts_with(reserved))
        && STORED.iter().any(|space| {
            name.strip_prefix(*space).is_some_and(|rest| !rest.is_empty() && rest.len() <= NAME_MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_storable_names_enter() {
        let candidates = [
            "user.a",
            "security.capability",
            "trusted.x",
            "trusted.overlay.opaque",
            "trusted.cradle.link",
            "btrfs.x",
            "user.",
            "system.other",
            "user.overlay.whiteout",
        ];
        let candidates = candidates.map(|name| (name.as_bytes().into(), b"v"[..].into()));
        let mut attributes = Attributes::default();
        assert_eq!(admit(&mut attributes, candidates), 6);
        let kept: Vec<_> =
            attributes.xattrs.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(kept, ["security.capability", "trusted.x", "user.a"]);
    }
}
