//! A guest that is its own driver of a share's device: requests that lie about lengths, nodes and names. What is beside the
//! share is neither read nor changed, and the machine goes on to its end.

mod requests;

#[path = "../../../vmm/tests/kvm_boot/asm.rs"]
#[expect(dead_code, reason = "guests of other tests use the rest")]
mod asm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Host, images};

use super::folder;
use asm::Code;
use requests::{Reply, Request};

/// Where the early console and the stages are, and the last stage (`spec::boot`).
const CONSOLE: u16 = 0x3f8;
const STAGE_PORT: u16 = 0x5c0;
const POWER_OFF: u8 = 0xf0;

/// The last entry of the guest's page directory, by which the guest has the devices at [`SLOTS`].
const LAST_DIRECTORY_ENTRY: u32 = 0xb000 + 511 * 8;
const DEVICES: u32 = 0xd000_0000;
const SLOTS: u32 = 0x3fe0_0000;

/// What a share's device says it is.
const FILE_SYSTEM: u8 = 26;

impl Code {
    /// The low byte of a word to the early console: `mov eax, [address]; mov dx, port; out dx, al`.
    fn show(self, address: u32) -> Self {
        let code = self.bytes(&[0x8b, 0x04, 0x25]).bytes(&address.to_le_bytes());
        code.bytes(&[0x66, 0xba]).bytes(&CONSOLE.to_le_bytes()).bytes(&[0xee])
    }
}

/// A pod with a share, whose kernel is to be written.
struct Liar<'h> {
    host: &'h Host,
    package: PathBuf,
}

impl<'h> Liar<'h> {
    fn with(host: &'h Host, share: &Path) -> Self {
        let package = host.folder().join("package");
        fs::create_dir(&package).unwrap();
        fs::write(package.join("initramfs"), "none").unwrap();
        let own = r#"{"version":3,"machine":"default","kernel":{"kernel":"vmlinux","initrd":"initramfs","release":"none"}}"#;
        fs::write(package.join("cradle.json"), own).unwrap();
        let liar = Self { host, package };
        liar.write(Code::default());
        let volume = format!("{}:/work", share.display());
        let image = images::layout("busybox");
        let summon = ["summon", "-q", "-m", "128m", "-v", &volume, "liar", &image, "true"];
        assert!(liar.command(&summon).status().unwrap().success());
        liar
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.kcradle(arguments);
        command.env("CRADLE_PKG", &self.package).current_dir(self.host.folder()).stdout(Stdio::null());
        command
    }

    fn write(&self, guest: Code) {
        let guest = guest.out(STAGE_PORT, POWER_OFF).hang().link(0x100_0000, 0x1000);
        fs::write(self.package.join("vmlinux"), guest).unwrap();
    }

    /// Runs `guest` to its end, and answers what it says on its early console.
    fn run(&self, guest: Code) -> Vec<u8> {
        self.write(guest);
        let mut machine = self.command(&["run", "liar"]).stderr(Stdio::null()).spawn().unwrap();
        let said = || fs::read(self.host.folder().join("liar/console.log")).unwrap();
        let begun = Instant::now();
        while machine.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(100) {
                machine.kill().unwrap();
                machine.wait().unwrap();
                panic!("the guest does not end: {}", String::from_utf8_lossy(&said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        said()
    }
}

/// The guest's beginning: the devices' registers are within its reach. The entry is present, writable, of 2 MiB.
fn begin() -> Code {
    Code::default().store(LAST_DIRECTORY_ENTRY, DEVICES | 0x83).store(LAST_DIRECTORY_ENTRY + 4, 0)
}

/// The registers of the share's device, whose place follows from the pod's other ones.
fn find(liar: &Liar<'_>) -> u32 {
    let slots = (SLOTS..).step_by(0x1000).take(10);
    let guest = slots.clone().fold(begin().print("<"), |code, slot| code.show(slot + 8)).print(">");
    let said = liar.run(guest);
    let start = said.iter().position(|byte| *byte == b'<').unwrap() + 1;
    let mut found = slots.zip(&said[start..]).filter(|(_, kind)| **kind == FILE_SYSTEM);
    found.next().unwrap_or_else(|| panic!("no share among {said:?}")).0
}

#[test]
fn requests_of_a_guest_that_lies_stay_within_the_share() {
    let host = Host::shared();
    let share = folder(&host, "share");
    fs::write(host.folder().join("secret"), "SECRET").unwrap();
    fs::create_dir(share.join("dir")).unwrap();
    fs::write(share.join("victim"), "").unwrap();
    std::os::unix::fs::symlink("../secret", share.join("link")).unwrap();
    let names = |place: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        names
    };
    let liar = Liar::with(&host, &share);
    let device = find(&liar);
    let before = (names(host.folder()), names(&share.join("dir")));

    let requests = requests::all();
    let mut said = liar.run(requests::guest(begin(), device, &requests, None));
    let replies = Reply::read(&said);
    assert_eq!(replies.len(), requests.len(), "{}", String::from_utf8_lossy(&said));
    for (Request { name, succeeds, .. }, reply) in requests.iter().zip(&replies) {
        let refused = (-4095..0).contains(&reply.error);
        let expected = match succeeds {
            Some(true) => reply.error == 0,
            Some(false) => refused,
            None => reply.error == 0 || refused,
        };
        assert!(expected, "{name}: {reply:?}");
    }
    // Some of these end the share's process, and none the machine: each guest comes to its end.
    for last in requests::lengths() {
        let answers = liar.run(requests::guest(begin(), device, &requests[..2], Some(&last)));
        assert_eq!(Reply::read(&answers).len(), 2, "{}: {}", last.name, String::from_utf8_lossy(&answers));
        said.extend(answers);
    }

    assert!(!said.windows(6).any(|window| window == b"SECRET"));
    assert_eq!((names(host.folder()), names(&share.join("dir"))), before);
    assert_eq!(fs::read_to_string(host.folder().join("secret")).unwrap(), "SECRET");
    assert_eq!(fs::read_to_string(share.join("here")).unwrap(), "share\n");
}
