//! The processes behind a pod's shares: started first, so that they get ready while the machine is made. Each has one end
//! of a connection, of which the VMM has the other: it ends with the VMM.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use pod::{PodDir, ShareRecord, SocketDir};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use vmm::BuildError;
use vmm::devices::fs::FsConfig;

use crate::failure::{Failure, HintExt as _};
use crate::share::Work;

/// Names the program, where it is none of the usual places.
const VARIABLE: &str = "CRADLE_VIRTIOFSD";

/// Where distributions have it. The last is QEMU's own of old, in Debian 12.
const PLACES: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// Where to have it from.
pub(crate) const INSTALL: &str = "install it (Debian 13, Ubuntu and Fedora: virtiofsd; Debian 12: qemu-system-common; elsewhere: \
                                  cargo install virtiofsd), or name it in CRADLE_VIRTIOFSD";

/// The socket at which a process is met; its name is gone as soon as there is a connection.
const SOCKET: &str = "share.sock";

/// Bytes of what a process says that are looked at.
const MAX_WORDS: u64 = 4096;

/// The processes of a run's shares.
#[derive(Default)]
pub(super) struct Shares {
    configs: Vec<FsConfig>,
    /// What they write to standard error.
    words: Option<File>,
}

/// Starts a process a share.
pub(super) fn start(dir: &PodDir, sockets: &SocketDir, records: &[ShareRecord]) -> Result<Shares, Failure> {
    if records.is_empty() {
        return Ok(Shares::default());
    }
    let program = find()?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let mut configs = Vec::with_capacity(records.len());
    for record in records {
        record.check().map_err(anyhow::Error::from)?;
        let work = Work {
            program: program.clone(),
            place: dir.path().to_owned(),
            source: record.path.clone(),
            file: record.file,
            read_only: record.read_only,
            cache: record.cache,
        };
        let stderr = writer.try_clone().context("cannot pass on a pipe")?;
        let backend = connect(sockets, &work, stderr.into())
            .with_context(|| format!("cannot start the process that shares {record}"))?;
        configs.push(FsConfig { tag: record.tag.clone(), backend });
    }
    Ok(Shares { configs, words: Some(File::from(reader)) })
}

/// Starts the process of a share, connected. The connection is there before the process is: nobody else can be its client.
fn connect(
    sockets: &SocketDir,
    work: &Work,
    stderr: Stdio,
) -> std::io::Result<std::os::unix::net::UnixStream> {
    let listener = sockets.bind(SOCKET)?;
    let backend = sockets.connect(SOCKET)?;
    sockets.remove(SOCKET)?;
    let mut command = work.command();
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).stdout(Stdio::null()).stderr(stderr);
    command.spawn()?;
    Ok(backend)
}

impl Shares {
    /// What the machine gets.
    pub(super) fn take_configs(&mut self) -> Vec<FsConfig> {
        std::mem::take(&mut self.configs)
    }

    /// Why a machine cannot be built, with what the processes say.
    pub(super) fn explain(&mut self, error: BuildError) -> Failure {
        let is_share = matches!(error, BuildError::Share { .. });
        let failure = Failure::from(anyhow::Error::from(error));
        match self.words.take() {
            Some(words) if is_share => failure.details(&last_words(words)),
            _ => failure,
        }
    }

    /// What the processes say from now on.
    pub(super) fn into_words(self) -> Option<File> {
        self.words
    }
}

/// What a process has said that did not get so far as to serve.
fn last_words(mut words: File) -> Vec<String> {
    let mut text = Vec::new();
    // Other processes may still have the other end.
    if rustix::fs::fcntl_setfl(&words, OFlags::NONBLOCK).is_ok() {
        let _ = (&mut words).take(MAX_WORDS).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

/// Keeps what the processes say as warnings, until the last one has ended.
pub(super) fn keep_words(words: File) {
    let mut words = BufReader::new(words);
    let mut line = Vec::new();
    loop {
        line.clear();
        match words.by_ref().take(MAX_WORDS).read_until(b'\n', &mut line) {
            Ok(count) if count > 0 => log::warn!("share: {}", String::from_utf8_lossy(&line).trim_end()),
            _ => return,
        }
    }
}

/// Finds virtiofsd.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    let is_program = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_absolute() && is_program(&path) {
            return Ok(path);
        }
        return Err(Failure::new(format!("{VARIABLE} is {}, which is no program", path.display()))
            .hint("let it be the absolute path of a virtiofsd"));
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&search).filter(|folder| folder.is_absolute());
    let mut all = in_path.map(|folder| folder.join("virtiofsd")).chain(PLACES.map(PathBuf::from));
    all.find(|path| is_program(path))
        .ok_or_else(|| Failure::new("there is no virtiofsd, which shares directories and files of the host"))
        .hint(INSTALL)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_a_process_says_is_shown_while_others_go_on() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (&File::from(writer.try_clone().unwrap())).write_all(b"no such thing\nbye").unwrap();
        assert_eq!(last_words(File::from(reader)), ["no such thing", "bye"]);
        drop(writer);
    }
}
