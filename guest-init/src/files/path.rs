//! Paths as clients write them: cleaned as Go's `filepath` does, with the end that asks for a directory's contents kept.

/// A path that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Absolute.
    pub(super) path: String,
    /// What an archive calls it: the last component, `.` where the path ends in one, `/` for the root.
    pub(super) name: String,
}

impl Wanted {
    /// Not cleaned: `..` after a link means what the link leads to.
    pub(super) fn as_typed(path: &str) -> Self {
        let absolute = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Self { path: absolute, name: base(path).to_owned() }
    }

    /// Cleaned, with a `/` or `/.` at its end kept.
    pub(super) fn cleaned(path: &str) -> Self {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        let mut cleaned = format!("/{}", parts.join("/"));
        if base(path) == "." && base(&cleaned) != "." {
            if !cleaned.ends_with('/') {
                cleaned.push('/');
            }
            cleaned.push('.');
        }
        if path.ends_with('/') && !cleaned.ends_with('/') {
            cleaned.push('/');
        }
        let name = base(&cleaned).to_owned();
        Self { path: cleaned, name }
    }
}

/// The last component as Go's `filepath.Base` has it.
fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        None | Some("") => "/",
        Some(last) => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_paths_are_kept() {
        for (path, cleaned, name) in [
            ("/", "/", "/"),
            ("/.", "/.", "."),
            ("", "/.", "."),
            (".", "/.", "."),
            ("/tmp", "/tmp", "tmp"),
            ("tmp/", "/tmp/", "tmp"),
            ("/tmp/.", "/tmp/.", "."),
            ("/tmp/./", "/tmp/./", "."),
            ("//a/./b/../c//", "/a/c/", "c"),
            ("../../etc", "/etc", "etc"),
            ("/a/..", "/", "/"),
        ] {
            let wanted = Wanted::cleaned(path);
            assert_eq!((wanted.path.as_str(), wanted.name.as_str()), (cleaned, name), "{path:?}");
        }
        assert_eq!(Wanted::as_typed("a/../b/").path, "/a/../b/");
        assert_eq!(Wanted::as_typed("a/../b/").name, "b");
    }
}
