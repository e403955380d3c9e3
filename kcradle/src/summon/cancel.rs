//! Ends a summon at Ctrl-C and its like: the work stops soon and cleans up behind itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;
use crate::run::signals::{Arrival, Signals, is_termination};

/// The exit code of a process that a signal ended, as shells count.
const CODE_SIGNALLED: u32 = 128;

/// Whether the user wants the summon to end.
#[derive(Clone, Debug)]
pub(crate) struct Cancel {
    flag: Arc<AtomicBool>,
}

impl Cancel {
    /// Watches for signals in a thread of its own. The first one that asks the process to end sets the flag, the
    /// second one ends the process.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let signals = Signals::block()?;
        let flag = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&flag);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            while let Ok(arrival) = signals.next() {
                if let Arrival::Forward { number, .. } = arrival
                    && is_termination(number)
                    && watched.swap(true, Ordering::SeqCst)
                {
                    std::process::exit(i32::try_from(CODE_SIGNALLED + number).unwrap_or(1));
                }
            }
        })?;
        Ok(Self { flag })
    }

    /// Set once the work is to end.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// Fails once the work is to end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.flag.load(Ordering::SeqCst) { Err(Failure::new("cancelled")) } else { Ok(()) }
    }
}
