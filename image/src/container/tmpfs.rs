//! The `--tmpfs` option: `/run:rw,size=64m,mode=1777,exec`, with Docker's defaults (noexec, nosuid, nodev).

use spec::launch::{MountSource, MountSpec};

/// Why a text is no memory file system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    /// The path is relative, the root, or has a NUL byte.
    #[error("invalid tmpfs path {0:?}: it needs to be absolute and not '/'")]
    Path(String),
    /// An option that is not known or not supported.
    #[error("invalid tmpfs option {0:?}")]
    Option(String),
}

/// Reads one `--tmpfs` option.
///
/// # Errors
/// The path or an option cannot be obeyed.
pub fn parse(text: &str) -> Result<MountSpec, TmpfsError> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let guest_path = super::clean(path);
    if !path.starts_with('/') || guest_path == "/" || path.contains('\0') {
        return Err(TmpfsError::Path(path.to_owned()));
    }
    let (mut size, mut mode, mut exec, mut read_only) = (None, 0o1777, false, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let invalid = || TmpfsError::Option(option.to_owned());
        match option.split_once('=') {
            Some(("size", value)) => size = Some(bytes(value).ok_or_else(invalid)?),
            Some(("mode", value)) => {
                mode =
                    u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(invalid)?;
            }
            None => match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                "exec" => exec = true,
                "noexec" => exec = false,
                "nosuid" | "nodev" | "defaults" => {}
                _ => return Err(invalid()),
            },
            Some(_) => return Err(invalid()),
        }
    }
    Ok(MountSpec { guest_path, source: MountSource::Tmpfs { size, mode, exec }, read_only })
}

/// Bytes of a size such as `65536`, `64k`, `64M` or `1gb`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|last: char| !last.is_ascii_digit());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(size: Option<u64>, mode: u32, exec: bool) -> MountSource {
        MountSource::Tmpfs { size, mode, exec }
    }

    #[test]
    fn options_are_read() {
        for (text, guest_path, source, read_only) in [
            ("/run", "/run", tmpfs(None, 0o1777, false), false),
            ("/run:rw,size=64m,mode=1777,exec", "/run", tmpfs(Some(64 << 20), 0o1777, true), false),
            ("//a/../b/:ro,nosuid,nodev,mode=0700", "/b", tmpfs(None, 0o700, false), true),
            ("/t:size=65536,exec,noexec", "/t", tmpfs(Some(65536), 0o1777, false), false),
            ("/t:size=1Gb", "/t", tmpfs(Some(1 << 30), 0o1777, false), false),
        ] {
            assert_eq!(
                parse(text),
                Ok(MountSpec { guest_path: guest_path.into(), source, read_only }),
                "{text}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for path in ["", "run", "/", "/a/..", "/a\0"] {
            assert_eq!(parse(path), Err(TmpfsError::Path(path.into())));
        }
        for option in
            ["size=", "size=-1", "size=50%", "size=99999999999g", "mode=8", "mode=17777", "uid=1", "x"]
        {
            assert_eq!(parse(&format!("/run:{option}")), Err(TmpfsError::Option(option.into())));
        }
    }
}
