//! The test images that `tests/images/make` keeps outside the tree. Used by every end-to-end test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the test images, see `tests/images/make`.
pub fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let make = crate::work_tree().join("tests/images/make");
        let output = Command::new(make).arg("--where").output().unwrap();
        let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        assert!(folder.exists(), "no test images at {}: run tests/images/make", folder.display());
        folder
    })
}

/// The reference of an image in the OCI layout.
#[must_use]
pub fn layout(tag: &str) -> String {
    format!("oci:{}:{tag}", folder().join("oci").display())
}

/// The reference of an archive file: `busybox.docker.tar` is a docker-archive, `redis.oci.tar` an oci-archive.
#[must_use]
pub fn archive(file: &str) -> String {
    let kind = if file.ends_with(".docker.tar") { "docker-archive" } else { "oci-archive" };
    format!("{kind}:{}", folder().join(file).display())
}
