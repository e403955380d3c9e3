//! An exec's life from its start: its streams to and from the client that started it, its exit code, its end.
//!
//! The program does not depend on its client: when that is gone, what it writes is read for nobody.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::sync::oneshot;

use super::ExecError;
use super::outputs::Outputs;
use super::registry::{Exec, Starting};
use crate::detach::Watch;
use crate::encoding::Encoding;
use crate::engine::{Engine, EngineError};
use crate::events::Event;
use crate::hijack::{Hijacked, Writer};
use crate::log::Stream;
use crate::task;

/// How long after the program's end its streams are read on, where its children hold them open.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes that are read after that, if they are there.
const LAST_BYTES: usize = 1 << 20;

/// Characters of an event's action that come from a client.
const MAX_ACTION: usize = 1024;

/// The exit code of a program that ended unseen, with the machine.
const LOST: u8 = 137;

/// Tells what a request did with an exec: `exec_create`, `exec_start`.
pub(crate) fn tell<E: Engine>(engine: &E, exec: &Exec, what: &str) {
    let command: String = exec.cmd().join(" ").chars().take(MAX_ACTION).collect();
    let action = format!("{what}: {command}");
    engine.events().push(Event::now(&exec.container, &action, &[("execID", &exec.id)]));
}

/// An exec whose process has been made.
pub(crate) struct Begun<E: Engine> {
    engine: Rc<E>,
    exec: Rc<Exec>,
    started: oneshot::Receiver<Started<E>>,
}

/// What became of its program.
type Started<E> = Result<Process<<E as Engine>::Input, <E as Engine>::Output>, ExecError>;

/// Makes the process of an exec. Its start goes on whoever waits for it; a client that leaves meanwhile leaves no
/// program that nobody knows of.
///
/// # Errors
/// Those of [`Engine::exec`]: the exec has not been started then.
pub(crate) fn begin<E: Engine>(engine: &Rc<E>, starting: Starting) -> Result<Begun<E>, EngineError> {
    let spec = starting.exec().spec();
    let process = engine.exec(&starting.exec().container, &spec)?;
    let exec = starting.go();
    tell(&**engine, &exec, "exec_start");
    let (tell, started) = oneshot::channel();
    task::spawn({
        let (engine, exec) = (Rc::clone(engine), Rc::clone(&exec));
        async move {
            let process = process.await.inspect_err(|error| exec.ended(error.code)).map(|process| {
                exec.started(process.pid, spec.size, process.resize);
                task::spawn(note_exit(engine, exec, process.exit));
                Process { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr }
            });
            if let Err(Ok(unheard)) = tell.send(process) {
                Outputs::new(unheard.stdout, unheard.stderr).drain().await;
            }
        }
    });
    Ok(Begun { engine: Rc::clone(engine), exec, started })
}

/// Waits for the start of an exec that nobody listens to.
pub(crate) async fn detached<E: Engine>(begun: Begun<E>) -> Result<(), ExecError> {
    let process = begun.started.await.unwrap_or_else(|_| Err(lost()))?;
    task::spawn(Outputs::new(process.stdout, process.stderr).drain());
    Ok(())
}

/// Gives the streams of an exec to a client until the program has ended, or the client leaves or is gone.
pub(crate) async fn run<E: Engine>(begun: Begun<E>, encoding: Encoding, stream: Hijacked) {
    let Begun { engine, exec, started } = begun;
    let (mut reader, mut writer) = stream.split();
    // A container can hold up the start for long.
    let started = tokio::select! {
        biased;
        started = started => started.unwrap_or_else(|_| Err(lost())),
        () = reader.gone() => return,
    };
    let Process { mut stdin, stdout, stderr } = match started {
        Ok(process) => process,
        Err(error) => {
            let text = format!("{error}\r\n");
            // The client may be gone; the exit code is there for whoever asks.
            let _told = writer.write_all_buf(&mut encoding.frame(Stream::Stdout, text.as_bytes())).await;
            return writer.finish(reader).await;
        }
    };
    let mut outputs = Outputs::new(stdout, stderr);
    let watch = stdin.as_ref().filter(|_| exec.tty()).map(|_| Watch::new(&exec.keys));
    let is_served = tokio::select! {
        biased;
        end = copy_out(&exec, &mut outputs, &mut writer, encoding) => end.is_ok(),
        has_left = reader.forward(&mut stdin, !exec.tty(), watch) => {
            if has_left {
                let attributes = [("execID", exec.id.as_str())];
                engine.events().push(Event::now(&exec.container, "exec_detach", &attributes));
            }
            has_left
        }
    };
    if let Some(stdin) = stdin.as_mut().filter(|_| !exec.tty()) {
        // Whoever reads it may be gone.
        let _closed = stdin.shutdown().await;
    }
    task::spawn(outputs.drain());
    if is_served {
        writer.finish(reader).await;
    }
}

/// Gives a client what the program writes. Returns once the exit code is known, so that a client which sees the end
/// of the stream finds it.
async fn copy_out<O: AsyncRead + Unpin>(
    exec: &Exec,
    outputs: &mut Outputs<O>,
    writer: &mut Writer,
    encoding: Encoding,
) -> io::Result<()> {
    let mut is_late = pin!(async {
        exec.wait().await;
        tokio::time::sleep(GRACE).await;
    });
    loop {
        let piece = tokio::select! {
            biased;
            () = &mut is_late => break,
            piece = outputs.next() => piece,
        };
        let Some((stream, bytes)) = piece else {
            exec.wait().await;
            return Ok(());
        };
        send(exec, stream, bytes, writer, encoding).await?;
    }
    copy_last(exec, outputs, writer, encoding).await
}

/// Gives a client what is there when the program has ended, but children of it hold its streams open.
async fn copy_last<O: AsyncRead + Unpin>(
    exec: &Exec,
    outputs: &mut Outputs<O>,
    writer: &mut Writer,
    encoding: Encoding,
) -> io::Result<()> {
    let mut left = LAST_BYTES;
    while left > 0
        && let Some((stream, bytes)) = outputs.try_next().await
    {
        left = left.saturating_sub(bytes.len());
        send(exec, stream, bytes, writer, encoding).await?;
    }
    Ok(())
}

async fn send(
    exec: &Exec,
    stream: Stream,
    bytes: &[u8],
    writer: &mut Writer,
    encoding: Encoding,
) -> io::Result<()> {
    let is_wanted = match stream {
        Stream::Stdout => exec.streams.stdout,
        Stream::Stderr => exec.streams.stderr,
    };
    if is_wanted { writer.write_all_buf(&mut encoding.frame(stream, bytes)).await } else { Ok(()) }
}

/// The start was given up with the machine.
fn lost() -> ExecError {
    ExecError { code: LOST, message: "the program's start was given up".into() }
}

/// What [`begin`] leaves of a process.
struct Process<I, O> {
    stdin: Option<I>,
    stdout: O,
    stderr: Option<O>,
}

/// Notes the exit code of a program, whatever becomes of its client.
async fn note_exit<E: Engine>(engine: Rc<E>, exec: Rc<Exec>, exit: oneshot::Receiver<u8>) {
    let code = exit.await.unwrap_or(LOST);
    exec.ended(code);
    let attributes = [("execID", exec.id.as_str()), ("exitCode", &code.to_string())];
    engine.events().push(Event::now(&exec.container, "exec_die", &attributes));
}
