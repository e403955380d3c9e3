//! An unpacked image: `rootfs/` and `config.json` of the OCI runtime specification, as `umoci unpack` leaves it.
//!
//! The root file system becomes one layer. It has no archive, so the layer is named by the digest of its EROFS
//! file, which is the same for the same tree.

use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::archive::{ArchiveError, Files, digest_of};
use crate::erofs::convert_directory;
use crate::install::{Candidate, Layers};
use crate::layer::{At, Blob};
use crate::progress::{Event, Progress};
use crate::resolve::ResolveOptions;
use crate::store::{Store, TempFile, extent_len};

const EXPECTED: &str = "an OCI runtime bundle";

#[derive(Deserialize)]
struct RuntimeConfig {
    #[serde(default)]
    process: Process,
    #[serde(default)]
    root: Root,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: String,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Deserialize)]
struct Root {
    path: String,
}

impl Default for Root {
    fn default() -> Self {
        Self { path: "rootfs".to_owned() }
    }
}

/// Converts the bundle's root file system and makes an image configuration of its runtime configuration.
pub(crate) fn candidate(
    dir: &Path,
    store: &Store,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
    source: &str,
) -> Result<Candidate<'static>, ArchiveError> {
    let json = Files::dir(dir).document("config.json", EXPECTED)?;
    let runtime: RuntimeConfig =
        serde_json::from_slice(&json).map_err(|error| ArchiveError::Json("config.json".into(), error))?;
    let rootfs = dir.join(&runtime.root.path);
    let read = |source| ArchiveError::Read { path: rootfs.clone(), source };
    // A bundle from elsewhere must not make an image of this machine's own files.
    let (inside, of) = (rootfs.canonicalize().map_err(read)?, dir.canonicalize().map_err(read)?);
    if !inside.starts_with(&of) {
        return Err(ArchiveError::Outside(inside));
    }
    if !inside.is_dir() {
        return Err(read(io::ErrorKind::NotADirectory.into()));
    }
    let temp = TempFile::new(store)?;
    let summary = convert_directory(&inside, temp.file(), &options.limits, &|| options.is_cancelled())
        .map_err(ArchiveError::Rootfs)?;
    let layer = digest_of(temp.file()).map_err(ArchiveError::Unpack)?;
    let path = store.layer_path(layer);
    if extent_len(&path)?.is_none() {
        temp.persist(&path)?;
        progress.event(Event::Done { layer, size: summary.file_bytes });
    }
    let process = runtime.process;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": format!("{}:{}", process.user.uid, process.user.gid),
            "Env": process.env,
            "Cmd": process.args,
            "WorkingDir": process.cwd,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    });
    Ok(Candidate {
        name: source.to_owned(),
        config: config.to_string().into_bytes(),
        manifest: None,
        index: None,
        in_registry: false,
        from_mirror: false,
        tags: Vec::new(),
        blobs: vec![Blob::default()],
        layers: Box::new(Converted),
    })
}

/// The layer of a bundle is in the store before it is asked for.
struct Converted;

impl Layers for Converted {
    fn open<'r>(&'r self, _: usize, _: At<'r>) -> io::Result<Box<dyn Read + 'r>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn are_archives(&self) -> bool {
        false
    }
}
