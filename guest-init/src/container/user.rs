//! `user[:group]` of a container to numbers, by the image's /etc/passwd and /etc/group, as Docker does it.

use crate::container::failure::Failure;
use crate::container::filesystems;
use crate::container::root::Root;

/// The largest user or group id that Docker accepts.
const MAX_ID: u32 = i32::MAX as u32;

/// NGROUPS_MAX of setgroups(2).
const MAX_GROUPS: usize = 65536;

/// Who a container's process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// User id.
    pub(crate) uid: u32,
    /// Primary group id.
    pub(crate) gid: u32,
    /// Supplementary groups, the primary one first.
    pub(crate) groups: Vec<u32>,
    /// Home directory; `/` where the image has no entry for the user.
    pub(crate) home: String,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl User {
    /// Resolves `wanted` as [`Self::resolve`] does, by the files of a container, and gives it `more` groups.
    ///
    /// # Errors
    /// Those of reading and resolving.
    pub(crate) fn in_root(wanted: &str, more: &[String], root: &Root) -> Result<Self, Failure> {
        let text = |path: &str| {
            filesystems::read_text(root, path)
                .map_err(|error| Failure::new(format_args!("open {path}"), &error))
        };
        let group = text("/etc/group")?;
        Self::resolve(wanted, &text("/etc/passwd")?, &group)?.with(more, &group)
    }

    /// The same user with more groups.
    fn with(mut self, more: &[String], group: &str) -> Result<Self, Failure> {
        for wanted in more {
            let gid = group_id(wanted, group)?;
            if !self.groups.contains(&gid) && self.groups.len() < MAX_GROUPS {
                self.groups.push(gid);
            }
        }
        Ok(self)
    }

    /// Resolves `wanted` (empty: uid 0) with the contents of the two files, either may be empty.
    ///
    /// # Errors
    /// A name without an entry, or a number out of range.
    pub(crate) fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<Self, Failure> {
        let (user_part, group_part) = wanted.split_once(':').unwrap_or((wanted, ""));
        let number = user_part.parse::<u32>().ok();
        let entry = passwd.lines().filter_map(passwd_entry).find(|entry| match (user_part, number) {
            ("", _) => entry.uid == 0,
            (name, number) => entry.name == name || number == Some(entry.uid),
        });
        let mut user = match (&entry, user_part, number) {
            (Some(entry), ..) => {
                Self { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: entry.home.to_owned() }
            }
            (None, "", _) => Self { uid: 0, gid: 0, groups: Vec::new(), home: String::new() },
            (None, _, Some(uid)) => {
                Self { uid: in_range(uid)?, gid: 0, groups: Vec::new(), home: String::new() }
            }
            (None, name, None) => {
                return Err(Failure::setup(format!(
                    "unable to find user {name}: no matching entries in passwd file"
                )));
            }
        };
        if user.home.is_empty() {
            user.home = "/".to_owned();
        }
        if group_part.is_empty() {
            user.groups = entry.map_or_else(Vec::new, |entry| groups_of(entry.name, group));
        } else {
            user.gid = group_id(group_part, group)?;
        }
        user.groups.retain(|gid| *gid != user.gid);
        user.groups.insert(0, user.gid);
        Ok(user)
    }
}

fn group_id(wanted: &str, group: &str) -> Result<u32, Failure> {
    let number = wanted.parse::<u32>().ok();
    let entry =
        group.lines().filter_map(group_entry).find(|entry| entry.name == wanted || number == Some(entry.gid));
    match (entry, number) {
        (Some(entry), _) => Ok(entry.gid),
        (None, Some(gid)) => in_range(gid),
        (None, None) => {
            Err(Failure::setup(format!("unable to find group {wanted}: no matching entries in group file")))
        }
    }
}

fn groups_of(name: &str, group: &str) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for entry in group.lines().filter_map(group_entry) {
        if entry.members.split(',').any(|member| member == name) && !found.contains(&entry.gid) {
            found.push(entry.gid);
        }
    }
    // Less the primary group.
    found.truncate(MAX_GROUPS - 1);
    found
}

fn in_range(id: u32) -> Result<u32, Failure> {
    if id > MAX_ID {
        return Err(Failure::setup(format!("uids and gids must be in range 0-{MAX_ID}")));
    }
    Ok(id)
}

/// A line of passwd(5); `None` for one that is none.
fn passwd_entry(line: &str) -> Option<PasswdEntry<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1).unwrap_or_default();
    Some(PasswdEntry { name, uid, gid, home })
}

/// A line of group(5); `None` for one that is none.
fn group_entry(line: &str) -> Option<GroupEntry<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nbad:x:zero:0::/:\n\
                          www-data:x:33:34:www:/var/www:/usr/sbin/nologin\n1000:x:77:78::/odd:\nbare:x:5:6\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,www-data\nwww-data:x:34:www-data\naudio:x:29:www-data,root\n\
                         audio2:x:29:www-data\nnobody:x:x:root\n";

    fn resolve(wanted: &str) -> User {
        User::resolve(wanted, PASSWD, GROUP).unwrap()
    }

    fn refusal(wanted: &str) -> String {
        User::resolve(wanted, PASSWD, GROUP).unwrap_err().message
    }

    #[test]
    fn nobody_named_is_root_with_roots_groups() {
        let expected = User { uid: 0, gid: 0, groups: vec![0, 10, 29], home: "/root".into() };
        assert_eq!(resolve(""), expected);
        assert_eq!(resolve("root"), expected);
        assert_eq!(resolve("0"), expected);
    }

    #[test]
    fn more_groups_are_names_or_numbers() {
        let user = User::resolve("", "", "audio:x:29:\n").unwrap();
        let more = ["audio", "1000", "29"].map(str::to_owned);
        assert_eq!(user.clone().with(&more, "audio:x:29:\n").unwrap().groups, [0, 29, 1000]);
        assert!(user.with(&["absent".to_owned()], "").is_err());
    }

    #[test]
    fn names_bring_group_home_and_supplementary_groups() {
        let expected = User { uid: 33, gid: 34, groups: vec![34, 10, 29], home: "/var/www".into() };
        assert_eq!(resolve("www-data"), expected);
        assert_eq!(resolve("33"), expected);
    }

    #[test]
    fn a_group_of_ones_own_replaces_all_groups() {
        assert_eq!(resolve("www-data:audio").groups, [29]);
        assert_eq!(resolve("www-data:4242").gid, 4242);
        assert_eq!(resolve(":wheel"), User { uid: 0, gid: 10, groups: vec![10], home: "/root".into() });
    }

    #[test]
    fn numbers_need_no_entry_and_names_win_over_numbers() {
        assert_eq!(resolve("4000"), User { uid: 4000, gid: 0, groups: vec![0], home: "/".into() });
        assert_eq!(resolve("1000").uid, 77);
        assert_eq!(resolve("bare").home, "/");
        let bare = User::resolve("12:13", "", "").unwrap();
        assert_eq!((bare.uid, bare.gid, bare.home.as_str()), (12, 13, "/"));
    }

    #[test]
    fn refusals_are_dockers() {
        assert_eq!(refusal("nosuch"), "unable to find user nosuch: no matching entries in passwd file");
        assert_eq!(refusal("root:nosuch"), "unable to find group nosuch: no matching entries in group file");
        assert_eq!(refusal("bad"), "unable to find user bad: no matching entries in passwd file");
        assert_eq!(refusal("4294967295"), "uids and gids must be in range 0-2147483647");
        assert_eq!(refusal("0:2147483648"), "uids and gids must be in range 0-2147483647");
        assert_eq!(refusal("-1"), "unable to find user -1: no matching entries in passwd file");
    }
}
