//! Why an entry of an archive, a directory or a layer's file cannot be part of a tree. Paths are those of the entry,
//! cut to a readable length.

/// Why an entry cannot enter a tree.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// `..` leads out of the root.
    #[error("path {0:?} leads out of the root")]
    EscapesRoot(String),
    /// A path is longer than the limit, or one of its names longer than 255 bytes.
    #[error("path {path:?}… is too long: at most {limit} bytes, 255 a name")]
    PathTooLong {
        /// Its beginning.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// A path is empty where it must not be, or holds a NUL byte.
    #[error("path {0:?} is not a file's name")]
    InvalidPath(String),
    /// Too many directories below each other.
    #[error("path {path:?} is more than {limit} directories deep")]
    TooDeep {
        /// The entry.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A parent of the path is neither a directory nor a link to one.
    #[error("a parent of {0:?} is not a directory")]
    ParentNotDirectory(String),
    /// A parent of the path goes through too many symbolic links.
    #[error("too many symbolic links in the parents of {0:?}")]
    SymlinkLoop(String),
    /// The root is named as something else than a directory.
    #[error("the archive makes its root something else than a directory")]
    RootNotDirectory,
    /// A hard link names a directory.
    #[error("hard link {link:?} names the directory {target:?}")]
    LinkToDirectory {
        /// The link.
        link: String,
        /// What it names.
        target: String,
    },
    /// A whiteout hides no possible name.
    #[error("whiteout {0:?} names nothing")]
    InvalidWhiteout(String),
    /// More nodes than allowed.
    #[error("more than {0} entries")]
    TooManyEntries(u64),
    /// Names, attributes and sparse maps need more memory than allowed.
    #[error("names and attributes need more than {0} bytes")]
    TooMuchMetadata(u64),
}
