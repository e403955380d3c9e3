//! PID 1 of a pod's virtual machine: boots it, runs its containers, powers it off.
//!
//! The boot is plain synchronous code, then one event loop on the main thread runs the pod; other threads only do what
//! blocks on files. The host starts it as `/init` of the initramfs; see [`spec`] for what the two agree on.

mod attend;
mod attributes;
mod boot;
mod connection;
mod container;
mod disks;
mod engine;
mod files;
mod grow;
mod heap;
mod host;
mod input;
mod interfaces;
mod kmsg;
mod latch;
mod launch;
mod lifecycle;
mod listener;
mod loopback;
mod member;
mod mountfd;
mod output;
mod plug;
mod pod;
mod processes;
mod processors;
mod queue_pairs;
mod reaper;
mod runtime;
mod signals;
mod stage;
mod stats;
mod stdin;
mod stream;
mod verity;
mod vsock;
mod watch;

use spec::{ExitRecord, Stage};
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;

/// The kernel's log, whose most severe lines reach the host's console log.
static KERNEL_LOG: OnceLock<File> = OnceLock::new();

fn main() {
    container::init::run_if_asked();
    if std::process::id() != 1 {
        eprintln!("guest-init is PID 1 of a pod's virtual machine and has nothing to do elsewhere");
        std::process::exit(2);
    }
    // Opened now: the boot hides the initramfs, and its last words may be due before it has mounted another /dev.
    let _silent = File::options().write(true).open("/dev/kmsg").map(|log| KERNEL_LOG.set(log));
    std::panic::set_hook(Box::new(|panic| {
        // The clone of PID 1 tells PID 1 of its panics itself.
        if !container::spawn::in_child() {
            last_words(&format!("panic: {panic}"));
        }
    }));
    let run = std::panic::catch_unwind(run);
    match run {
        Ok(Ok(())) => end(Stage::PowerOff),
        Ok(Err(error)) => {
            last_words(&chain(error.as_ref()));
            end(Stage::InitFailed)
        }
        Err(_) => end(Stage::InitFailed),
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    runtime::run(boot::boot()?)
}

/// Ends the machine with last words, for what must not go on whoever may be to blame.
fn fail(message: &str) -> ! {
    last_words(message);
    end(Stage::InitFailed)
}

/// Ends the machine; where the stage port does nothing, through reboot(2).
fn end(stage: Stage) -> ! {
    stage::reached(stage);
    rustix::fs::sync();
    loop {
        // PID 1 must not return: the kernel would panic.
        let _refused = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
        std::thread::park();
    }
}

/// Writes a line to the kernel's log at the level that always reaches the console.
fn last_words(message: &str) {
    if let Some(mut log) = KERNEL_LOG.get() {
        // Nothing is left to report a failure to. One write is one record.
        let _deaf = log.write_all(format!("<0>guest-init: {message}\n").as_bytes());
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _infallible = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The exit record as the payload of one frame: where many long errors do not fit, they are left out, as the
/// host has had each of them.
fn final_payload(mut record: ExitRecord) -> Vec<u8> {
    let json = |record: &ExitRecord| serde_json::to_vec(record).unwrap_or_default();
    let payload = json(&record);
    if payload.len() <= spec::frame::MAX_PAYLOAD {
        return payload;
    }
    record.containers.iter_mut().for_each(|container| container.error = None);
    json(&record)
}
