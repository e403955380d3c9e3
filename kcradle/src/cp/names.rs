//! What becomes of names in a copy (docker's `cp`): into a directory that exists a source keeps its name, else it takes
//! the destination's.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::failure::Failure;

/// Links that are followed to find a destination.
const MAX_LINKS: usize = 10;

/// A path of a container: absolute, without `.` and `..` but for a `.` at the end, which means what is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodPath {
    text: Vec<u8>,
    wants_directory: bool,
}

impl PodPath {
    /// As the user wrote it; relative to the root.
    pub(super) fn new(text: &str) -> Self {
        Self::clean(text.as_bytes(), true)
    }

    fn clean(text: &[u8], content: bool) -> Self {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in text.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let last = text.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_content = content && last == b"." && !parts.is_empty();
        let wants_directory = matches!(last, b"" | b"." | b"..");
        let mut clean = [b"/", parts.join(&b'/').as_slice()].concat();
        if is_content {
            clean.extend_from_slice(b"/.");
        } else if wants_directory && !parts.is_empty() {
            clean.push(b'/');
        }
        Self { text: clean, wants_directory }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Whether only a directory can be meant.
    pub(super) fn wants_directory(&self) -> bool {
        self.wants_directory
    }

    /// The name that the source has in its archive; `None` where the archive has what is in it.
    pub(super) fn name(&self) -> Option<&[u8]> {
        let name = self.text.strip_suffix(b"/").unwrap_or(&self.text);
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        (!name.is_empty() && name != b".").then_some(name)
    }

    /// Where a link at this path leads.
    pub(super) fn of_target(&self, target: &str) -> Self {
        if target.starts_with('/') {
            return Self::clean(target.as_bytes(), false);
        }
        let parent = self.text.strip_suffix(b"/").unwrap_or(&self.text);
        let parent = &parent[..parent.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        Self::clean(&[parent, b"/", target.as_bytes()].concat(), false)
    }
}

/// Where a copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) path: PathBuf,
    pub(super) exists: bool,
    pub(super) is_directory: bool,
    /// The user wrote it so that only a directory can be meant.
    pub(super) wants_directory: bool,
}

impl Destination {
    /// The folder to unpack in, and the name that the source takes there in place of its own. `name` is its own;
    /// without one, what is in a directory is copied.
    pub(super) fn place(
        &self,
        source_is_directory: bool,
        name: Option<&[u8]>,
    ) -> Result<(PathBuf, Option<Vec<u8>>), Failure> {
        if self.exists && self.is_directory {
            return Ok((self.path.clone(), name.map(<[u8]>::to_vec)));
        }
        if self.exists && source_is_directory {
            return Err(Failure::new("cannot copy directory"));
        }
        if !source_is_directory && self.wants_directory {
            return Err(Failure::new("no such directory"));
        }
        let name = self.path.file_name().context("the destination has no name")?;
        let folder = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok((folder, Some(name.as_bytes().to_vec())))
    }
}

/// A destination on the host; links at its end are followed, and the folder it is in must exist.
pub(super) fn on_host(path: &Path) -> Result<Destination, Failure> {
    let bytes = path.as_os_str().as_bytes();
    let last = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let wants_directory = matches!(last, b"" | b"." | b"..");
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match path.metadata() {
            Ok(metadata) => {
                let is_directory = metadata.is_dir();
                // A file is replaced where it is, not where a link to it is.
                let path = path.canonicalize().context("cannot resolve the destination")?;
                return Ok(Destination { path, exists: true, is_directory, wants_directory });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let context = format!("cannot examine {}", path.display());
                return Err(anyhow::Error::from(error).context(context).into());
            }
        }
        let trimmed = trim(&path);
        let parent = match trimmed.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let Ok(target) = std::fs::read_link(&trimmed) else {
            if !parent.is_dir() {
                let error = format!("invalid output path: directory \"{}\" does not exist", parent.display());
                return Err(Failure::new(error));
            }
            return Ok(Destination { path: trimmed, exists: false, is_directory: false, wants_directory });
        };
        path = parent.join(target);
    }
    Err(Failure::new("too many links lead to the destination"))
}

fn trim(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    PathBuf::from(OsStr::from_bytes(&bytes[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_containers_are_absolute_and_clean() {
        for (text, clean, name) in [
            ("/etc/x", "/etc/x", Some("x")),
            ("etc//x/", "/etc/x/", Some("x")),
            ("/etc/../a/./b", "/a/b", Some("b")),
            ("/dir/.", "/dir/.", None),
            ("dir/./.", "/dir/.", None),
            ("/a/b/..", "/a/", Some("a")),
            ("/", "/", None),
            ("", "/", None),
            (".", "/", None),
            ("../..", "/", None),
        ] {
            let path = PodPath::new(text);
            assert_eq!(path.as_bytes(), clean.as_bytes(), "{text}");
            assert_eq!(path.name(), name.map(str::as_bytes), "{text}");
        }
        assert_eq!(PodPath::new("/a/link").of_target("../x").as_bytes(), b"/x");
        assert_eq!(PodPath::new("/a/link/").of_target("y").as_bytes(), b"/a/y");
        assert_eq!(PodPath::new("/a/link").of_target("/z/.").as_bytes(), b"/z/");
    }

    fn place(
        exists: bool,
        is_directory: bool,
        wants: bool,
        source: bool,
    ) -> Result<(String, String), String> {
        let path = PathBuf::from("/to/here");
        let destination = Destination { path, exists, is_directory, wants_directory: wants };
        let (folder, name) = destination.place(source, Some(b"own")).map_err(|failure| failure.line())?;
        let name = String::from_utf8(name.unwrap_or_default()).unwrap();
        Ok((folder.display().to_string(), name))
    }

    #[test]
    fn a_source_keeps_its_name_in_a_directory_and_takes_the_destinations_elsewhere() {
        let pair = |folder: &str, name: &str| Ok((folder.to_owned(), name.to_owned()));
        assert_eq!(place(true, true, true, true), pair("/to/here", "own"));
        assert_eq!(place(true, true, false, false), pair("/to/here", "own"));
        assert_eq!(place(true, false, false, false), pair("/to", "here"));
        assert_eq!(place(false, false, false, false), pair("/to", "here"));
        assert_eq!(place(false, false, true, true), pair("/to", "here"));
        assert_eq!(place(true, false, false, true), Err("cannot copy directory".to_owned()));
        assert_eq!(place(false, false, true, false), Err("no such directory".to_owned()));
        assert_eq!(place(true, false, true, false), Err("no such directory".to_owned()));
    }

    #[test]
    fn links_lead_to_a_destination_on_the_host() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("dir")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        for (link, target) in
            [("to-dir", "dir"), ("to-file", "file"), ("to-new", "dir/new"), ("loop", "loop")]
        {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let on_host = |path: &str| super::on_host(&root.join(path)).map_err(|failure| failure.line());
        let found = |path: &str, exists, is_directory| {
            let destination = on_host(path).unwrap();
            (destination.path.strip_prefix(&root).unwrap().display().to_string(), exists, is_directory)
                == (
                    destination.path.strip_prefix(&root).unwrap().display().to_string(),
                    destination.exists,
                    destination.is_directory,
                )
        };
        assert!(found("dir/", true, true) && found("to-dir", true, true) && found("file", true, false));
        assert_eq!(on_host("to-file").unwrap().path, root.join("file"));
        assert_eq!(on_host("to-new").unwrap().path, root.join("dir/new"));
        assert_eq!(
            on_host("new/").unwrap(),
            Destination { path: root.join("new"), exists: false, is_directory: false, wants_directory: true }
        );
        assert!(on_host("gone/new").unwrap_err().contains("invalid output path: directory"));
        assert!(on_host("loop").is_err());
    }
}
