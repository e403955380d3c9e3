//! POSIX ACLs in the form of the `system.posix_acl_access` attribute (linux/posix_acl_xattr.h: a version and entries
//! of tag, permissions and id), which is also how EROFS stores them.

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What becomes of an ACL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acl {
    /// It is stored so.
    Stored(Vec<u8>),
    /// It says no more than the mode does, or nothing: not stored.
    Trivial,
    /// The kernel would refuse it.
    Malformed,
}

/// Splits an ACL into (tag, permissions, id), if the kernel would take it: entries in order, one of each base tag, a
/// mask where users or groups are named.
fn parse(value: &[u8]) -> Option<Vec<(u16, u16, u32)>> {
    let (header, entries) = value.split_at_checked(HEADER)?;
    if header != VERSION.to_le_bytes() || !entries.len().is_multiple_of(ENTRY) {
        return None;
    }
    let entries: Vec<_> = entries
        .chunks_exact(ENTRY)
        .map(|e| {
            let id = u32::from_le_bytes([e[4], e[5], e[6], e[7]]);
            (u16::from_le_bytes([e[0], e[1]]), u16::from_le_bytes([e[2], e[3]]), id)
        })
        .collect();
    if entries.is_empty() {
        return Some(entries);
    }
    let known = |tag: u16| matches!(tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER);
    let named = |tag: u16| matches!(tag, USER | GROUP);
    let sorted = entries.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && named(a.0)));
    let count = |wanted: u16| entries.iter().filter(|entry| entry.0 == wanted).count();
    let any_named = entries.iter().any(|entry| named(entry.0));
    let valid = sorted
        && entries
            .iter()
            .all(|&(tag, permissions, id)| known(tag) && permissions <= 7 && (!named(tag) || id != u32::MAX))
        && [USER_OBJ, GROUP_OBJ, OTHER].iter().all(|&tag| count(tag) == 1)
        && (!any_named || count(MASK) == 1);
    valid.then_some(entries)
}

/// An access ACL after `chmod(mode)`, which is what an unpacker ends with: owner, mask (or owning group) and others take
/// the mode's bits.
pub(crate) fn access(value: &[u8], mode: u16) -> Acl {
    let Some(entries) = parse(value) else { return Acl::Malformed };
    if entries.iter().all(|entry| matches!(entry.0, USER_OBJ | GROUP_OBJ | OTHER)) {
        return Acl::Trivial;
    }
    let masked = entries.iter().any(|entry| entry.0 == MASK);
    let mut stored = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        let permissions = match tag {
            USER_OBJ => mode >> 6 & 7,
            MASK => mode >> 3 & 7,
            GROUP_OBJ if !masked => mode >> 3 & 7,
            OTHER => mode & 7,
            _ => permissions,
        };
        stored.extend_from_slice(&tag.to_le_bytes());
        stored.extend_from_slice(&permissions.to_le_bytes());
        stored.extend_from_slice(&id.to_le_bytes());
    }
    Acl::Stored(stored)
}

/// A directory's default ACL: stored as it is.
pub(crate) fn default(value: &[u8]) -> Acl {
    match parse(value) {
        None => Acl::Malformed,
        Some(entries) if entries.is_empty() => Acl::Trivial,
        Some(_) => Acl::Stored(value.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    #[test]
    fn the_mode_wins_over_owner_mask_and_others() {
        let none = u32::MAX;
        let before =
            [(USER_OBJ, 7, none), (USER, 7, 1000), (GROUP_OBJ, 5, none), (MASK, 7, none), (OTHER, 5, none)];
        let after =
            [(USER_OBJ, 6, none), (USER, 7, 1000), (GROUP_OBJ, 5, none), (MASK, 4, none), (OTHER, 4, none)];
        assert_eq!(access(&acl(&before), 0o644), Acl::Stored(acl(&after)));
    }

    #[test]
    fn what_the_kernel_refuses_is_malformed() {
        let none = u32::MAX;
        let base = [(USER_OBJ, 7, none), (GROUP_OBJ, 5, none), (OTHER, 5, none)];
        assert_eq!(access(&acl(&base), 0o755), Acl::Trivial);
        assert_eq!(access(b"", 0), Acl::Malformed);
        assert_eq!(access(b"\x01\0\0\0", 0), Acl::Malformed);
        assert_eq!(access(&acl(&base)[..20], 0), Acl::Malformed);
        assert_eq!(
            access(&acl(&[(USER_OBJ, 9, none), (GROUP_OBJ, 5, none), (OTHER, 5, none)]), 0),
            Acl::Malformed
        );
        let no_mask = [(USER_OBJ, 7, none), (USER, 7, 5), (GROUP_OBJ, 5, none), (OTHER, 5, none)];
        assert_eq!(access(&acl(&no_mask), 0), Acl::Malformed);
        assert_eq!(default(&acl(&[])), Acl::Trivial);
        assert_eq!(default(&acl(&base)), Acl::Stored(acl(&base)));
    }
}
