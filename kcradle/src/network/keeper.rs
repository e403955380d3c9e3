//! `kcradle network-keeper`, hidden: the process of a network (see [`net::keeper`]), which `kcradle run` starts.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use net::keeper;

use crate::failure::{CODE_FAILED, Failure};

/// `network-keeper -- DIR`, and `--resume DIR` where one was killed; `--check`; and the processes behind it: `--store DIR`,
/// which starts it again, and `--uplink`, which keeps one more, `--pasta`, at work.
pub(crate) fn keep() -> Result<u8, Failure> {
    // Not one of the commands: its arguments come from this program alone.
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
    match arguments.as_slice() {
        [mark, dir] if *mark == "--" => {
            // What went wrong is told to whoever waits; the log has it, too.
            keeper::run(Path::new(dir), vmm::tap::open).map_err(anyhow::Error::from)?;
            Ok(0)
        }
        [resume, dir] if *resume == "--resume" => {
            keeper::resume(Path::new(dir), vmm::tap::open).map_err(anyhow::Error::from)?;
            Ok(0)
        }
        [store, dir] if *store == "--store" => {
            keeper::keep_store(Path::new(dir)).context("cannot start the network's keeper")?;
            Ok(0)
        }
        [check] if *check == "--check" => {
            keeper::check().map_err(anyhow::Error::from)?;
            Ok(0)
        }
        [uplink] if *uplink == "--uplink" => Ok(keeper::keep_pasta().context("cannot start pasta")?),
        [pasta] if *pasta == "--pasta" => {
            let error = keeper::become_pasta();
            eprintln!("kcradle: cannot start pasta: {error}");
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            Ok(if missing { keeper::CODE_MISSING } else { CODE_FAILED })
        }
        _ => Err(Failure::new("network-keeper is for kcradle itself")),
    }
}
