//! Debian's docker-registry on loopback, over plain HTTP, with the test images in it. Used by tests that pull.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running registry; ends with the value.
pub struct Registry {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry on a free port; it answers when this returns.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("config.yml");
        let storage = crate::images::folder().join("registry");
        // Port 0: the kernel chooses; the registry logs which.
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nhttp: {{addr: \"127.0.0.1:0\"}}\nstorage:\n  \
             filesystem: {{rootdirectory: {}}}\n  maintenance: {{readonly: {{enabled: true}}}}\n",
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
        Self { child, address, _folder: folder }
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
