//! What the API says of a path: the header `X-Docker-Container-Path-Stat`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::api::ApiError;

/// Bits of Go's `os.FileMode`.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;

/// A path of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PathStat {
    mode: u32,
    /// Where a link leads, as an absolute path.
    pub(super) link_target: String,
}

impl PathStat {
    /// Reads the header.
    pub(super) fn decode(header: Option<&[u8]>) -> Result<Self, ApiError> {
        let header = header.ok_or(ApiError::Malformed("no stat of the path"))?;
        let json = STANDARD.decode(header).map_err(|_| ApiError::Malformed("a stat that is no base64"))?;
        serde_json::from_slice(&json).map_err(|_| ApiError::Malformed("a stat that is no JSON"))
    }

    pub(super) fn is_directory(&self) -> bool {
        self.mode & DIRECTORY != 0
    }

    pub(super) fn is_symlink(&self) -> bool {
        self.mode & SYMLINK != 0
    }

    pub(super) fn is_device(&self) -> bool {
        self.mode & DEVICE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_base64_of_json() {
        let json =
            r#"{"name":"l","size":4,"mode":134218239,"mtime":"2026-01-01T00:00:00Z","linkTarget":"/tmp"}"#;
        let stat = PathStat::decode(Some(STANDARD.encode(json).as_bytes())).unwrap();
        assert!(stat.is_symlink() && !stat.is_directory() && !stat.is_device());
        assert_eq!(stat.link_target, "/tmp");
        for header in [None, Some(&b"%"[..]), Some(b"bm8=")] {
            assert!(matches!(PathStat::decode(header), Err(ApiError::Malformed(_))));
        }
    }
}
