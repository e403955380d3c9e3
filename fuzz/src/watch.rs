//! An eye on a parser that does not return: its input is saved, and the process ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// No sound parser takes that long for an input.
const PATIENCE: Duration = Duration::from_secs(30);

/// What runs now, and since when.
type Running = Arc<Mutex<(Instant, Vec<u8>)>>;

#[derive(Debug)]
pub(super) struct Watch(Running);

impl Watch {
    pub(super) fn new(folder: PathBuf) -> Self {
        let running = Running::new(Mutex::new((Instant::now(), Vec::new())));
        let watched = Arc::downgrade(&running);
        thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                let running = running.lock().unwrap_or_else(PoisonError::into_inner);
                if running.0.elapsed() > PATIENCE {
                    give_up(&folder, &running.1);
                }
                drop(running);
                thread::sleep(PATIENCE / 10);
            }
        });
        Self(running)
    }

    pub(super) fn begin(&self, input: &[u8]) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.0 = Instant::now();
        running.1.clear();
        running.1.extend_from_slice(input);
    }
}

fn give_up(folder: &Path, input: &[u8]) -> ! {
    let file = folder.join(format!("hang-{:016x}", super::shape(input)));
    let saved = fs::create_dir_all(folder).and_then(|()| fs::write(&file, input));
    eprintln!("the parser does not return\nFUZZ_INPUT={} ({saved:?})", file.display());
    std::process::abort();
}
