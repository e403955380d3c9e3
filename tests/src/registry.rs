//! Debian's docker-registry on loopback, over plain HTTP: with the test images in it, or empty. Used by tests that pull and
//! push.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running registry; ends with the value.
pub struct Registry {
    child: Child,
    address: String,
    storage: PathBuf,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry of the test images, which takes no others.
    #[must_use]
    pub fn start() -> Self {
        let storage = crate::images::folder().join("registry");
        Self::run(TempDir::new().unwrap(), storage, "  maintenance: {readonly: {enabled: true}}\n")
    }

    /// Starts a registry without images, which takes some.
    #[must_use]
    pub fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let storage = folder.path().join("storage");
        Self::run(folder, storage, "")
    }

    /// Starts a registry without images that lets in only `user` with the password `secret`.
    #[must_use]
    pub fn with_login() -> Self {
        let folder = TempDir::new().unwrap();
        let (storage, passwords) = (folder.path().join("storage"), folder.path().join("passwords"));
        let line = "user:$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
        std::fs::write(&passwords, line).unwrap();
        let auth = format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", passwords.display());
        Self::run(folder, storage, &auth)
    }

    /// Starts a registry on a free port; it answers when this returns.
    fn run(folder: TempDir, storage: PathBuf, more: &str) -> Self {
        let config = folder.path().join("config.yml");
        // Port 0: the kernel chooses; the registry logs which.
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nhttp: {{addr: \"127.0.0.1:0\"}}\nstorage:\n  \
             filesystem: {{rootdirectory: {}}}\n{more}",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry of the Debian package of that name");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = log.next().expect("docker-registry ended before it listened").unwrap();
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = entry["msg"].as_str().and_then(|text| text.strip_prefix("listening on ")) {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address, storage, _folder: folder }
    }

    /// Its host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.address
    }

    /// Where it keeps images.
    #[must_use]
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// The reference of an image in the registry.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
