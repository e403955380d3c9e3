//! Small images, written byte by byte: a docker archive and an OCI layout of one layer.

use std::fs;
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// An image `app:1` as `docker save` writes it.
pub(crate) fn docker_archive(path: &Path) {
    let layer = layer();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]);
    let mut archive = Vec::new();
    file(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    file(&mut archive, "config.json", &config(&layer));
    file(&mut archive, "layer.tar", &layer);
    archive.resize(archive.len() + 1024, 0);
    fs::write(path, archive).unwrap();
}

/// The same image as an OCI layout, named `v1`.
pub(crate) fn oci_layout(dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        fs::write(blobs.join(hex(bytes)), bytes).unwrap();
        json!({"digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()})
    };
    let typed = |mut descriptor: serde_json::Value, media_type: &str| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{media_type}").into();
        descriptor
    };
    let layer = layer();
    let manifest = json!({
        "schemaVersion": 2,
        "config": typed(blob(&config(&layer)), "config.v1+json"),
        "layers": [typed(blob(&layer), "layer.v1.tar")],
    });
    let mut entry = typed(blob(manifest.to_string().as_bytes()), "manifest.v1+json");
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string()).unwrap();
}

fn config(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/entry"], "Cmd": ["default"], "Env": ["FROM_IMAGE=1", "KEPT=2"], "WorkingDir": "/srv"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(layer))]},
    });
    config.to_string().into_bytes()
}

fn layer() -> Vec<u8> {
    let mut layer = Vec::new();
    file(&mut layer, "entry", b"#!/bin/sh\n");
    layer.resize(layer.len() + 1024, 0);
    layer
}

/// Appends a file to a tar archive (POSIX ustar).
fn file(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = [0_u8; 512];
    let mut put = |offset: usize, text: &[u8]| header[offset..offset + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
