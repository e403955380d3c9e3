//! One run of a health check: a program in the container, with a time limit and the first of its output kept.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::container::{Container, HealthCheck};
use crate::engine::Engine;
use crate::exec::{ExecProcess, ExecSpec};

/// Bytes of output that are kept.
const MAX_OUTPUT: usize = 4096;

/// For output that comes after the program's end, from others that have its streams.
const LATE_OUTPUT: Duration = Duration::from_millis(100);

/// Runs a check and tells how it went; a check that takes longer than `limit` is killed.
pub(super) async fn run<E: Engine>(
    engine: &E,
    container: &Container,
    cmd: &[String],
    limit: Duration,
) -> HealthCheck {
    let start = SystemTime::now();
    let output = RefCell::new(Vec::new());
    let spec = ExecSpec { cmd: cmd.to_vec(), ..ExecSpec::default() };
    let run = async {
        let process = engine.exec(container, &spec).map_err(|error| error.to_string())?;
        let process = process.await.map_err(|error| error.to_string())?;
        Ok::<_, String>(finish(process, &output).await)
    };
    let (exit_code, words) = match timeout(limit, run).await {
        Ok(Ok(code)) => (code, text(&output.borrow())),
        Ok(Err(message)) => (-1, message),
        Err(_) => {
            let output = text(&output.borrow());
            let separator = if output.is_empty() { "" } else { ": " };
            (-1, format!("Health check exceeded timeout ({limit:?}){separator}{output}"))
        }
    };
    HealthCheck { start, end: SystemTime::now(), exit_code, output: words }
}

/// Kills the program where its check is given up before its end: by the limit, or since the container's run is over.
struct KillOnDrop<I, O> {
    process: ExecProcess<I, O>,
    ended: bool,
}

impl<I, O> Drop for KillOnDrop<I, O> {
    fn drop(&mut self) {
        if !self.ended {
            (self.process.kill)();
        }
    }
}

/// Waits for the program's end, reading what it writes.
async fn finish<I, O: AsyncRead + Unpin>(process: ExecProcess<I, O>, output: &RefCell<Vec<u8>>) -> i32 {
    let mut guard = KillOnDrop { process, ended: false };
    let ExecProcess { stdout, stderr, exit, .. } = &mut guard.process;
    let reading = async {
        let stderr = async {
            if let Some(stderr) = stderr {
                keep_first(stderr, output).await;
            }
        };
        tokio::join!(keep_first(stdout, output), stderr);
    };
    let mut reading = std::pin::pin!(reading);
    let mut all_read = false;
    let code = loop {
        tokio::select! {
            biased;
            () = &mut reading, if !all_read => all_read = true,
            code = &mut *exit => break code,
        }
    };
    if !all_read {
        // What comes later is not waited for.
        let _late = timeout(LATE_OUTPUT, reading).await;
    }
    guard.ended = true;
    code.map_or(-1, i32::from)
}

/// Reads to the end; keeps the first bytes.
async fn keep_first(stream: &mut (impl AsyncRead + Unpin), output: &RefCell<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let mut output = output.borrow_mut();
        let room = MAX_OUTPUT - output.len();
        output.extend_from_slice(&buffer[..length.min(room)]);
    }
}

fn text(output: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(output).into_owned();
    let end = (0..=MAX_OUTPUT.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or(0));
    text
}
