//! Small images, and what every test does with them.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{
    Digest, Event, Patience, Progress, ResolveError, ResolveOptions, Resolved, Source, Store, resolve,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A tar archive of regular files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        entry(&mut archive, name, b'0', "", content);
    }
    archive.extend([0; 1024]);
    archive
}

/// One entry: a ustar header and the content in whole blocks.
pub(crate) fn entry(archive: &mut Vec<u8>, name: &str, kind: u8, link: &str, content: &[u8]) {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zstd stream of several frames behind a skippable one (RFC 8878, 3.1.2).
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    for chunk in bytes.chunks(100_000) {
        stream.extend(compress_to_vec(chunk, CompressionLevel::Fastest));
    }
    stream
}

/// An image: what a registry or an archive holds of it.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    /// As they are transferred.
    pub(crate) layers: Vec<Vec<u8>>,
    /// As `tar` made them.
    pub(crate) archives: Vec<Vec<u8>>,
}

impl Sample {
    /// An OCI image of gzip layers.
    pub(crate) fn new(archives: &[Vec<u8>]) -> Self {
        Self::with_layers(archives, archives.iter().map(|archive| gzip(archive)).collect())
    }

    /// An OCI image of two files in two layers, which differs by `text` from others.
    pub(crate) fn of(text: &str) -> Self {
        Self::new(&[tar(&[("below", text.as_bytes())]), tar(&[("above", text.as_bytes())])])
    }

    /// An OCI image whose layers are transferred in a certain form.
    pub(crate) fn with_layers(archives: &[Vec<u8>], layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<_> = archives.iter().map(|archive| Digest::of(archive)).collect();
        let config = json!({
            "created": "2001-02-03T04:05:06Z", "architecture": "amd64", "os": "linux",
            "config": {"Cmd": ["run"], "Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self::with_config(&config, archives, layers)
    }

    /// An OCI image with a certain configuration.
    pub(crate) fn with_config(config: &Value, archives: &[Vec<u8>], layers: Vec<Vec<u8>>) -> Self {
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor(OCI_LAYER, layer)).collect::<Vec<_>>(),
        });
        Self { config, manifest: manifest.to_string().into_bytes(), layers, archives: archives.to_vec() }
    }

    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The blobs by digest.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (Digest, &Vec<u8>)> {
        self.layers.iter().chain([&self.config]).map(|blob| (Digest::of(blob), blob))
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// A store in a directory of its own.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// Options that never wait and know no logins.
pub(crate) fn options() -> ResolveOptions<'static> {
    let patience = Patience { attempts: 3, delay: Duration::ZERO, ..Patience::default() };
    ResolveOptions { patience, docker_config: Some("/nonexistent".into()), ..ResolveOptions::default() }
}

/// Remembers every event.
#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<String>>);

impl Progress for Events {
    fn event(&self, event: Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

impl Events {
    pub(crate) fn count(&self, start: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|event| event.starts_with(start)).count()
    }
}

pub(crate) fn get(store: &Store, source: &str) -> Result<Resolved, ResolveError> {
    get_with(store, source, &options())
}

pub(crate) fn get_with(
    store: &Store,
    source: &str,
    options: &ResolveOptions<'_>,
) -> Result<Resolved, ResolveError> {
    resolve(store, &source.parse::<Source>().unwrap(), options, &image::Silent)
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// The causes of a failure that left nothing half-made in the store.
pub(crate) fn failure(store: &Store, resolved: Result<Resolved, ResolveError>) -> String {
    let error = resolved.expect_err("a failure");
    assert_eq!(names(&store.root().join("tmp")), [""; 0], "temporary files");
    assert_eq!(names(&store.root().join("tags")), [""; 0], "names");
    chain(&error)
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
