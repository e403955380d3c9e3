//! Files of the fake engine's containers: tar(1) packs and unpacks a folder.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::mpsc;
use vdocker::EngineError;
use vdocker::archive::{Change, ChangeKind, Chunks, PathStat};

/// Go's bits for a directory and a link.
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;

/// Where a container's path is on the host; links on the way are followed, that at the end where asked to.
fn host_path(root: &Path, path: &str, follow: bool) -> PathBuf {
    let mut ahead: Vec<_> = parts(Path::new(path)).into_iter().rev().collect();
    let mut place = root.to_owned();
    while let Some(part) = ahead.pop() {
        match place.join(&part).read_link() {
            Ok(target) if follow || !ahead.is_empty() => {
                if target.is_absolute() {
                    root.clone_into(&mut place);
                }
                ahead.extend(parts(&target).into_iter().rev());
            }
            _ => place.push(part),
        }
    }
    place
}

fn parts(path: &Path) -> Vec<OsString> {
    let plain = path.components().filter(|part| matches!(part, Component::Normal(_)));
    plain.map(|part| part.as_os_str().to_owned()).collect()
}

fn not_found(path: &str) -> EngineError {
    EngineError::NotFound(format!("Could not find the file {path} in container"))
}

pub(super) fn stat(root: &Path, path: &str) -> Result<PathStat, EngineError> {
    let host = host_path(root, path, false);
    let metadata = host.symlink_metadata().map_err(|_| not_found(path))?;
    let (kind, link_target) = match metadata.file_type() {
        kind if kind.is_dir() => (DIRECTORY, String::new()),
        kind if kind.is_symlink() => (LINK, host.read_link().unwrap().to_str().unwrap().to_owned()),
        _ => (0, String::new()),
    };
    let name = host.file_name().unwrap().to_str().unwrap().to_owned();
    let mode = kind | metadata.mode() & 0o777;
    Ok(PathStat { name, size: metadata.len(), mode, mtime: metadata.modified().unwrap(), link_target })
}

pub(super) fn pack(root: &Path, path: &str) -> Result<Chunks, EngineError> {
    let host = host_path(root, path, false);
    host.symlink_metadata().map_err(|_| not_found(path))?;
    let (folder, name) = match path == "/" {
        true => (root, ".".as_ref()),
        false => (host.parent().unwrap(), host.file_name().unwrap()),
    };
    let mut tar = Command::new("tar");
    let mut tar =
        tar.arg("-C").arg(folder).args(["-cf", "-"]).arg(name).stdout(Stdio::piped()).spawn().unwrap();
    let (chunks, archive) = mpsc::channel(4);
    tokio::task::spawn_local(async move {
        let mut output = tar.stdout.take().unwrap();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = output.read(&mut buffer).await {
            if chunks.send(Ok(Bytes::copy_from_slice(&buffer[..length]))).await.is_err() {
                break;
            }
        }
        drop(output);
        tar.wait().await.unwrap();
    });
    Ok(archive)
}

/// Unpacks into a folder; where the archive breaks off nothing is said to be unpacked.
pub(super) async fn unpack(root: &Path, path: &str, mut archive: Chunks) -> Result<(), EngineError> {
    let host = host_path(root, path, true);
    if !host.is_dir() {
        return Err(not_found(path));
    }
    let mut tar = Command::new("tar");
    let tar = tar.arg("-C").arg(host).args(["-xf", "-"]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut tar = tar.spawn().unwrap();
    let mut input = tar.stdin.take().unwrap();
    let broken: io::Result<()> = async {
        while let Some(chunk) = archive.recv().await {
            input.write_all(&chunk?).await?;
        }
        Ok(())
    }
    .await;
    drop(input);
    let status = tar.wait().await.unwrap();
    match broken {
        Ok(()) if status.success() => Ok(()),
        Ok(()) => Err(EngineError::BadRequest("not an archive".into())),
        Err(error) => {
            std::fs::write(root.join("broken"), error.to_string()).unwrap();
            Err(EngineError::BadRequest(error.to_string()))
        }
    }
}

/// The root's own entries, as files that no image has.
pub(super) fn changes(root: &Path) -> Vec<Change> {
    let mut names: Vec<_> = root.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let path = |name: OsString| format!("/{}", name.to_str().unwrap());
    names.into_iter().map(|name| Change { path: path(name), kind: ChangeKind::Added }).collect()
}
