//! A state directory, a runtime package and a working directory of a test's own, and the binary under test.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spec::LaunchSpec;

use crate::image_files;

/// What a test works in; gone when it is dropped.
pub(crate) struct Host {
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        let package = host.path("package");
        fs::create_dir(&package).unwrap();
        let json = r#"{"version":3,"machine":"default","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"6.12"}}"#;
        fs::write(package.join("cradle.json"), json).unwrap();
        fs::write(package.join("vmlinux"), "").unwrap();
        fs::write(package.join("initramfs"), "").unwrap();
        image_files::docker_archive(&host.path("app.tar"));
        host
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The image that every test can have.
    pub(crate) fn image(&self) -> String {
        format!("docker-archive:{}", self.path("app.tar").display())
    }

    /// The binary with these arguments, in the test's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcradle"));
        self.set_up(&mut command);
        command.args(arguments);
        command
    }

    /// Gives a command the test's folder and environment.
    pub(crate) fn set_up(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env("CRADLE_HOME", self.path("home"))
            .env("CRADLE_PKG", self.path("package"))
            .stdin(Stdio::null());
    }

    /// Runs the binary to its end.
    pub(crate) fn kcradle(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments))
    }

    /// Standard output of a run that must succeed.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let ended = self.kcradle(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    /// The error of a run that must fail: one line with its chain, and perhaps a hint.
    pub(crate) fn refused(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.kcradle(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        let lines: Vec<_> = ended.err.lines().filter(|line| line.starts_with("kcradle: ")).collect();
        assert_eq!(lines.len(), 1, "{arguments:?}: {ended:?}");
        ended.err
    }

    /// Summons `app` with these options and this command.
    pub(crate) fn summon(&self, dir: &str, options: &[&str], command: &[&str]) -> LaunchSpec {
        let image = self.image();
        let arguments = [&["summon", "--quiet"], options, &[dir, &image], command].concat();
        self.good(&arguments);
        self.launch(dir)
    }

    /// A pod's launch.json.
    pub(crate) fn launch(&self, dir: &str) -> LaunchSpec {
        serde_json::from_slice(&fs::read(self.path(dir).join("launch.json")).unwrap()).unwrap()
    }

    /// Names of what is in the test's folder, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

/// Runs a command to its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Sorted names of a folder's entries.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
        .iter()
        .map(|name: &std::ffi::OsString| AsRef::<OsStr>::as_ref(name).to_str().unwrap().to_owned())
        .collect()
}
