//! Which file a command's first word means, as Docker looks it up: inside the container, as its user.

use crate::container::environment::Environment;
use crate::container::failure::{Failure, plain};
use crate::container::spawn;
use rustix::fd::BorrowedFd;
use rustix::fs::{Access, AtFlags, CWD};
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::unix::fs::PermissionsExt;

/// The path to execute for `name`: itself where it has a slash, else the first hit in `path` (a PATH).
/// Relative paths count from the current directory.
///
/// # Errors
/// 127 where there is no such file, 126 where it may not be executed or is a directory.
fn look_up(name: &str, path: &str) -> Result<String, Failure> {
    if name.contains('/') {
        return match executable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure { code: 127, message: format!("exec: {name:?}: stat {name}: {}", plain(&error)) })
            }
            Err(error) => Err(refused(name, &error)),
        };
    }
    for dir in path.split(':') {
        let candidate = match dir {
            "" => format!("./{name}"),
            dir => format!("{}/{name}", dir.trim_end_matches('/')),
        };
        if !name.is_empty() && executable(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    Err(Failure { code: 127, message: format!("exec: {name:?}: executable file not found in $PATH") })
}

/// A container's init that is executed in the place of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Init<'a> {
    /// Its file.
    pub(crate) file: BorrowedFd<'a>,
    /// Where it tells why the program cannot be executed.
    pub(crate) report: BorrowedFd<'a>,
}

/// Replaces the process by a command's program, with those variables or its own; or by an init with these words. No
/// string of the command holds NUL.
///
/// # Errors
/// Those of [`look_up`] and of execve(2).
pub(crate) fn execute(
    command: &[String],
    environment: Option<&Environment>,
    init: Option<Init<'_>>,
) -> Result<Infallible, Failure> {
    let name = command.first().map_or("", String::as_str);
    let (dir, path) = match init {
        Some(init) => (init.file, String::new()),
        None => {
            let own = std::env::var("PATH");
            let path = environment.map_or_else(|| own.as_deref().ok(), |environment| environment.get("PATH"));
            (CWD, look_up(name, path.unwrap_or_default())?)
        }
    };
    // Whoever gave the command has refused NUL bytes.
    let string = |text: String| CString::new(text).unwrap_or_default();
    let arguments: Vec<CString> = command.iter().cloned().map(string).collect();
    let variables: Option<Vec<CString>> =
        environment.map(|environment| environment.strings().map(string).collect());
    let closed =
        spawn::close_all_on_exec().and_then(|()| init.map_or(Ok(()), |init| spawn::leave(init.report)));
    closed.map_err(|error| Failure::new("cannot close descriptors", &error))?;
    spawn::execute(dir, &string(path), &arguments, variables.as_deref())
        .map_err(|error| refused(name, &error))
}

/// The failure of an exec that got as far as the system call.
fn refused(name: &str, error: &io::Error) -> Failure {
    let failure = Failure::new(format_args!("exec: {name:?}"), error);
    // ENOEXEC and the like: the file is there, and cannot be executed.
    Failure { code: if failure.code == 125 { 126 } else { failure.code }, ..failure }
}

fn executable(path: &str) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/tool")).unwrap();
        fs::create_dir_all(dir.path().join("b")).unwrap();
        for (name, mode) in [("b/tool", 0o755), ("a/plain", 0o644), ("b/plain", 0o644)] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        dir
    }

    #[test]
    fn the_first_executable_file_in_path_wins() {
        let dir = tree();
        let root = dir.path().display();
        assert_eq!(
            look_up("tool", &format!("{root}/none:{root}/a:{root}/b/")).unwrap(),
            format!("{root}/b/tool")
        );
    }

    #[test]
    fn refusals_are_dockers() {
        let dir = tree();
        let root = dir.path().display();
        let code_and_message = |name: &str, path: &str| {
            let failure = look_up(name, path).unwrap_err();
            (failure.code, failure.message)
        };
        let path = format!("{root}/a:{root}/b");
        let not_in_path = |name| (127, format!("exec: \"{name}\": executable file not found in $PATH"));
        assert_eq!(code_and_message("nosuch", &path), not_in_path("nosuch"));
        assert_eq!(code_and_message("plain", &path), not_in_path("plain"));
        assert_eq!(code_and_message("", &path), not_in_path(""));
        let file = format!("{root}/nosuch");
        assert_eq!(
            code_and_message(&file, ""),
            (127, format!("exec: \"{file}\": stat {file}: no such file or directory"))
        );
        let file = format!("{root}/b/plain");
        assert_eq!(code_and_message(&file, ""), (126, format!("exec: \"{file}\": permission denied")));
        let file = format!("{root}/a");
        assert_eq!(code_and_message(&file, ""), (126, format!("exec: \"{file}\": is a directory")));
    }

    #[test]
    fn a_file_of_no_known_format_is_126() {
        let failure = refused("/x", &io::Error::from_raw_os_error(libc::ENOEXEC));
        assert_eq!((failure.code, failure.message.as_str()), (126, "exec: \"/x\": exec format error"));
    }
}
