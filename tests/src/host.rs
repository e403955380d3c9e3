//! A host's state (`CRADLE_HOME`) and the real `kcradle` on it. Used by every end-to-end test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::Pod;

/// Where one test's pods are, and which content store they use.
pub struct Host {
    folder: TempDir,
    home: PathBuf,
}

impl Host {
    /// A host that shares its content store with the other tests of the run: images are converted once.
    #[must_use]
    pub fn shared() -> Self {
        let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
        let home = std::env::temp_dir().join(format!("cradle-e2e-{run}"));
        Self { folder: TempDir::new().unwrap(), home }
    }

    /// A host with an empty content store of its own.
    #[must_use]
    pub fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let home = folder.path().join("home");
        Self { folder, home }
    }

    /// A folder that goes away with the host.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `CRADLE_HOME` of this host.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// `kcradle` with arguments, standard input at its end.
    pub fn kcradle<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env("CRADLE_HOME", &self.home).stdin(Stdio::null());
        if let Some(virtiofsd) = virtiofsd() {
            command.env("CRADLE_VIRTIOFSD", virtiofsd);
        }
        command
    }

    /// The output of `kcradle` with arguments, which must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.kcradle(arguments).output().unwrap();
        assert!(output.status.success(), "kcradle {arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error text of `kcradle` with arguments, which must fail without a panic and with a cause.
    pub fn refuse(&self, arguments: &[&str]) -> String {
        let output = self.kcradle(arguments).output().unwrap();
        assert!(!output.status.success(), "kcradle {arguments:?} succeeded: {}", text(&output));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!error.trim().is_empty() && !error.contains("panicked"), "kcradle {arguments:?}: {error}");
        error
    }

    /// A new pod directory; `wishes` are the options of `kcradle summon`, `image` and `command` what follows it.
    #[must_use]
    pub fn summon(&self, wishes: &[&str], image: &str, command: &[&str]) -> Pod<'_> {
        self.summon_as("pod", wishes, image, command)
    }

    /// As [`Self::summon`], for a test with more pods than one: `name` is new in this host.
    #[must_use]
    pub fn summon_as(&self, name: &str, wishes: &[&str], image: &str, command: &[&str]) -> Pod<'_> {
        let pod = self.pod(name);
        let mut arguments = vec!["summon", "--quiet"];
        arguments.extend(wishes);
        arguments.extend([pod.name(), image]);
        arguments.extend(command);
        self.succeed(&arguments);
        pod
    }

    /// A new pod directory made from a pod file.
    #[must_use]
    pub fn summon_file(&self, file: &serde_json::Value) -> Pod<'_> {
        let path = self.folder.path().join("pod.json");
        std::fs::write(&path, file.to_string()).unwrap();
        let pod = self.pod("pod");
        self.succeed(&["summon", "--quiet", "--file", path.to_str().unwrap(), pod.path().to_str().unwrap()]);
        pod
    }

    /// The pod directory of that name, which may not exist yet.
    #[must_use]
    pub fn pod(&self, name: &str) -> Pod<'_> {
        Pod::new(self, self.folder.path().join(name))
    }
}

/// The binary under test: `CRADLE_BIN`, or what `make` built.
fn binary() -> PathBuf {
    let path = std::env::var_os("CRADLE_BIN")
        .map_or_else(|| crate::work_tree().join("target/release/kcradle"), PathBuf::from);
    assert!(path.exists(), "no kcradle at {}: run `make`", path.display());
    path
}

/// The virtiofsd that tests/install has built, unless another one is named; without it that of the distribution is used.
pub(crate) fn virtiofsd() -> Option<PathBuf> {
    let named = std::env::var_os("CRADLE_VIRTIOFSD").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let built = Some(cache.join("cradle/tools/bin/virtiofsd")).filter(|path| path.exists());
    named.or(built)
}

/// Both outputs and the status of a command, for a failure's message.
fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\nstdout: {out}\nstderr: {err}", output.status)
}
