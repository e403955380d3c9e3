//! An argument of `cp`: a place in a pod, a path of the host, or a stream.

use std::path::{Path, PathBuf};

use pod::PodDir;

/// A place to copy from or to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A path in a container of a pod.
    Pod {
        /// The pod directory.
        dir: PathBuf,
        /// As the user wrote it.
        path: String,
    },
    /// A path of the host.
    Host(PathBuf),
    /// An archive on standard input or output.
    Stream,
}

impl Place {
    /// Reads an argument: it is in a pod where the text before one of its colons names a pod directory.
    pub(super) fn of(text: &str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        for (at, _) in text.match_indices(':') {
            let dir = Path::new(&text[..at]);
            if at > 0 && PodDir::new(dir).is_ok_and(|dir| dir.record().is_file()) {
                return Self::Pod { dir: dir.to_owned(), path: text[at + 1..].to_owned() };
            }
        }
        Self::Host(PathBuf::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_before_a_colon_names_a_pod_or_is_a_path() {
        let temp = tempfile::tempdir().unwrap();
        let pod = temp.path().join("a:b");
        std::fs::create_dir(&pod).unwrap();
        std::fs::write(pod.join("pod.json"), "{}").unwrap();
        let text = format!("{}:/etc/x:y", pod.display());
        assert_eq!(Place::of(&text), Place::Pod { dir: pod.clone(), path: "/etc/x:y".to_owned() });
        assert_eq!(Place::of(&format!("{}:", pod.display())), Place::Pod { dir: pod, path: String::new() });
        for text in ["./x", "/a:b/c", ":/x", "no-pod:/x"] {
            assert_eq!(Place::of(text), Place::Host(text.into()));
        }
        assert_eq!(Place::of("-"), Place::Stream);
    }
}
