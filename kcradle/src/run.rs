//! `kcradle run`: this process is the virtual machine. The recipe reads top to bottom in [`boot_and_attach`].

mod archive;
mod boot;
mod console;
mod event;
mod frames;
mod grow;
mod input;
mod links;
mod measured;
mod networks;
mod outcome;
mod output;
mod pump;
mod served;
mod session;
pub(crate) mod shares;
pub(crate) mod signals;
mod supervise;
pub(crate) mod terminal;
mod throttles;
mod timeline;
mod volumes;
mod warnings;

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::Context as _;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spec::LaunchSpec;
use vmm::Vm;
use vmm::seccomp::{Filter, Mode, Role};

use crate::cli::RunArgs;
use crate::failure::{CODE_RUN_FAILED, Failure, HintExt as _};
use crate::network::addresses::Addresses;
use crate::network::wishes;
use pod::atomic_file;
use pod::{
    Home, LockError, Networking, PodDir, PodLock, PodRecord, PodState, RestartPolicy, SocketDir, StateFile,
    Status, network, socket, state,
};

use console::Console;
use event::{Event, QUEUE};
use grow::Growth;
use input::Window;
use outcome::Outcome;
use output::Output;
use pump::Demultiplexer;
use session::Session;
use signals::Signals;
use terminal::RawTerminal;
use throttles::Throttles;

/// Descriptors that a run may have before the kernel must lengthen its table of them: 8 KiB of host memory.
const DESCRIPTORS: i32 = 1024;

/// Networks that may be added to those that a pod begins with, while it runs: each costs its boot some exits.
const SPARE_NETS: usize = 3;

/// Runs a pod; `origin` is when the program began.
pub(crate) fn run(args: &RunArgs, origin: Instant) -> Result<u8, Failure> {
    let context = || format!("cannot run {}", args.dir.display());
    prepare_and_run(args, origin)
        .map_err(|failure| failure.code(CODE_RUN_FAILED).context(context()))?
        .finish(args)
}

/// How `kcradle run` ends.
enum End {
    /// With this exit code; everything was said.
    Code(u8),
    /// With what a machine of this process came to.
    Machine(Box<Outcome>),
}

impl End {
    fn finish(self, args: &RunArgs) -> Result<u8, Failure> {
        let outcome = match self {
            Self::Code(code) => return Ok(code),
            Self::Machine(outcome) => outcome,
        };
        for message in outcome.messages() {
            eprintln!("kcradle: {message}");
        }
        outcome.failure(&args.dir).map_or(Ok(outcome.code()), Err)
    }
}

fn prepare_and_run(args: &RunArgs, origin: Instant) -> Result<End, Failure> {
    let dir = PodDir::new(&args.dir).context("cannot name the pod directory")?;
    let record = dir.read_record().map_err(anyhow::Error::from)?;
    let launch = dir.read_launch().map_err(anyhow::Error::from)?;
    let lock = match args.supervised {
        Some(_) => None,
        None if args.served => Some(served::take_lock(&dir).map_err(anyhow::Error::from)?),
        None => Some(take_lock(&dir)?),
    };
    // Again: what was changed before the lock was taken counts.
    let record = if lock.is_some() { dir.read_record().map_err(anyhow::Error::from)? } else { record };
    let once = args.served || args.hold;
    let policy = if once { RestartPolicy::No } else { args.restart.unwrap_or(record.restart) };
    match lock {
        Some(lock) if policy != RestartPolicy::No => {
            supervise::supervise(args, &dir, &lock, policy).map(End::Code)
        }
        lock => {
            if lock.is_none() {
                supervise::join_parent(&dir)?;
            }
            let outcome = boot_and_attach(args, origin, &dir, &record, launch)?;
            drop(lock);
            Ok(End::Machine(Box::new(outcome)))
        }
    }
}

fn take_lock(dir: &PodDir) -> Result<PodLock, Failure> {
    PodLock::take(&dir.lock()).map_err(|error| {
        let held = matches!(error, LockError::Held);
        let failure = Failure::from(anyhow::Error::from(error));
        if !held {
            return failure;
        }
        failure.hint(format!("stop it with `kcradle stop {}`, or summon a second pod", dir.path().display()))
    })
}

/// Boots the pod's machine, attaches to its containers and waits for the end.
fn boot_and_attach(
    args: &RunArgs,
    origin: Instant,
    dir: &PodDir,
    record: &PodRecord,
    mut launch: LaunchSpec,
) -> Result<Outcome, Failure> {
    let clock = timeline::clock_at(origin);
    raise_descriptor_limit().context("cannot raise the limit on open files")?;
    reserve_descriptors().context("cannot reserve open files")?;
    // A process that is not started needs no variables.
    let host = |name: &str| std::env::var(name).ok().or_else(|| args.hold.then(String::new));
    resolve_environment(&mut launch, &host)?;
    (launch.hold, launch.quiet) = (args.hold, args.served);
    let networking = networking(args, dir, record, &mut launch)?;
    let attached = if args.served || args.hold { Attached::NOTHING } else { Attached::of(&launch)? };

    // Everything that this process will ever use is opened here.
    let (stream, guest_stream) = UnixStream::pair().context("cannot make the stdio stream")?;
    let console = Console::create(dir, args.console).context("cannot write console.log")?;
    let (early_console, console_reader) = console.sink().context("cannot make the console")?;
    warnings::keep(early_console.try_clone().context("cannot keep console.log open")?);
    let sockets = SocketDir::open(dir).context("cannot open the pod directory")?;
    let docker = match args.served {
        true => served::take_listener().context("cannot take docker.sock from standard input")?,
        false => sockets.bind(socket::DOCKER).context("cannot make docker.sock")?,
    };
    let mut networks = networks::attach(dir, &networking, &mut launch)?;
    let _locks = volumes::lock_directories(dir, record, &record.shares)?;
    let mut shares = shares::start(dir, &sockets, &record.shares)?;
    let parts =
        boot::Parts { stdio: guest_stream, docker, console: early_console, verbose: args.console, origin };
    let mut config = boot::config(dir, record, &mut launch, parts)?;
    let throttles = Throttles::new(record, &launch, &args.limits.wishes()?)?;
    config.disks = throttles.hold(config.disks, record);
    config.shares = shares.take_configs();
    config.nets = networks.take_configs();
    if networking.changes {
        config.spare_nets = SPARE_NETS;
        config.spare_queues = network::queues(&launch).into();
    }
    let machine = Vm::build(config).map_err(|error| shares.explain(error))?;
    let handle = machine.handle();
    let signals = Signals::block().context("cannot watch for signals")?;
    let filter = Filter::compile(Role::Stdio, Mode::Enforce).map_err(anyhow::Error::from)?;
    let pid = std::process::id();
    atomic_file::write(&dir.pid(), format!("{pid}\n").as_bytes(), 0o600).context("cannot write pid")?;
    let running = PodState {
        version: state::VERSION,
        status: Status::Running,
        pid,
        started: state::now(),
        restarts: args.supervised.unwrap_or(0),
        stopped: false,
    };
    let begin = || StateFile::begin(dir, running).context("cannot write state.json");
    let state = if args.hold { None } else { Some(begin()?) };
    // Last: whoever is answered finds the rest in place.
    let listener = sockets.bind(socket::CONTROL).context("cannot make control.sock")?;
    let terminal =
        if attached.raw { RawTerminal::enter().context("cannot set up the terminal")? } else { None };

    // From here on nothing is opened, and the threads inherit that this one has no rights left.
    vmm::sandbox::drop_privileges().map_err(anyhow::Error::from)?;
    let (events, received) = mpsc::sync_channel(QUEUE);
    let (frames, to_write) = mpsc::channel();
    let window = Arc::new(Window::default());
    let names: Vec<_> = launch.containers.iter().map(|container| container.name.as_str()).collect();
    let demultiplexer = Demultiplexer {
        containers: names.len(),
        quiet: launch.quiet,
        stdout: Output::new(std::io::stdout(), &names),
        stderr: Output::new(std::io::stderr(), &names),
        window: Arc::clone(&window),
        events: events.clone(),
    };
    let session = Session {
        machine: handle.clone(),
        events: received,
        frames: frames.clone(),
        console: console.try_clone().context("cannot keep console.log open")?,
        state,
        throttles,
        growth: Growth::of(&launch),
        links: networks.into_links(handle.net_slots()),
        terminal,
        tty: attached.tty,
        pids: vec![None; names.len()],
        held: args.hold,
        stops_on_signal: args.served || args.hold || names.len() > 1,
    };
    let spawned = (|| {
        let to_guest = stream.try_clone()?;
        if let Some(reader) = console_reader {
            let mut console = console;
            pump::spawn("console", &filter, &handle, move || console.tee(reader))?;
        }
        if let Some(words) = shares.into_words() {
            pump::spawn("shares", &filter, &handle, move || shares::keep_words(words))?;
        }
        pump::spawn("output", &filter, &handle, move || demultiplexer.pump(stream))?;
        pump::spawn("frames", &filter, &handle, move || pump::write_frames(&to_guest, &to_write))?;
        if let Some(container) = attached.stdin {
            let send = move |frame| frames.send(frame).is_ok();
            pump::spawn("input", &filter, &handle, move || {
                input::pump(std::io::stdin(), container, &window, send);
            })?;
        }
        let (to_session, also_to_session) = (events.clone(), events.clone());
        pump::spawn("signals", &filter, &handle, move || pump::watch_signals(&signals, &to_session))?;
        pump::spawn("control", &filter, &handle, move || pump::serve_control(&listener, &also_to_session))?;
        pump::spawn("session", &filter, &handle, move || session.run())
    })();
    let session = spawned.context("cannot start a thread")?;

    let end = machine.run().map_err(|error| Failure::from(anyhow::Error::from(error)).line());
    // Where the session panicked it hears nothing more.
    let _ = events.send(Event::MachineEnded(end));
    let outcome = session.join().ok().flatten().ok_or_else(|| Failure::new("the session's thread failed"))?;
    if args.timeline {
        let table = timeline::render(&handle.timeline().marks(), clock, args.json);
        let _ = std::io::stderr().write_all(table.as_bytes());
    }
    Ok(outcome)
}

/// The networks of this run: the record's, changed as the arguments say. A pod that only is read has none.
fn networking(
    args: &RunArgs,
    dir: &PodDir,
    record: &PodRecord,
    launch: &mut LaunchSpec,
) -> Result<Networking, Failure> {
    let mut networking = if args.hold { Networking::default() } else { record.networking.clone() };
    if !args.networks.is_empty() {
        let own = wishes::own_names(dir.path(), &launch.id, &launch.containers);
        let home = Home::at(record.home.clone());
        wishes::apply(
            &args.networks,
            &home,
            own,
            &Addresses::default(),
            &mut networking,
            &mut launch.network,
        )?;
    }
    Ok(networking)
}

/// Lets this process have as many open files as it may: each connection of the guest is one, and a shell's usual limit
/// is as low as the number of connections. Limits of containers are the guest's own.
fn raise_descriptor_limit() -> std::io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

/// Makes the kernel's table of this process's descriptors long enough for the run of most pods. To lengthen it when
/// there are threads, the kernel waits for all processors of the host (RCU): 20 to 30 ms in which the guest waits too.
fn reserve_descriptors() -> std::io::Result<()> {
    match fcntl_dupfd_cloexec(std::io::stderr(), DESCRIPTORS - 1) {
        // A limit below it: then there is less to lengthen.
        Ok(_) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Which containers the user's terminal and standard input belong to.
struct Attached {
    /// The first container that keeps standard input open.
    stdin: Option<u8>,
    /// The first container with a terminal.
    tty: Option<u8>,
    /// Whether what is typed goes to a terminal in the guest, key by key.
    raw: bool,
}

impl Attached {
    /// No container has any of the user's.
    const NOTHING: Self = Self { stdin: None, tty: None, raw: false };

    fn of(launch: &LaunchSpec) -> Result<Self, Failure> {
        let position = |wanted: fn(&spec::launch::ProcessSpec) -> bool| {
            let index = launch.containers.iter().position(|container| wanted(&container.process));
            index.and_then(|index| u8::try_from(index).ok())
        };
        let (stdin, tty) = (position(|process| process.stdin), position(|process| process.tty));
        let raw = stdin.is_some_and(|index| launch.containers[usize::from(index)].process.tty);
        if raw && !std::io::stdin().is_terminal() {
            return Err(Failure::new("the input device is not a TTY"))
                .hint("run it from a terminal, or summon the pod without -t");
        }
        Ok(Self { stdin, tty, raw })
    }
}

/// Gives the variables their values that are taken from this process's environment.
fn resolve_environment(
    launch: &mut LaunchSpec,
    host: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    for container in &mut launch.containers {
        for variable in &mut container.process.env {
            let Some(from) = variable.value_from.take() else { continue };
            let missing = || {
                Failure::new(format!(
                    "variable {} of container {} comes from {}, which is not set",
                    variable.name, container.name, from.pod_env
                ))
            };
            variable.value = host(&from.pod_env)
                .ok_or_else(missing)
                .hint(format!("set it for the run: {}=… kcradle run DIR", from.pod_env))?;
        }
    }
    Ok(())
}

/// Whether a process is at work as this pod.
pub(crate) fn is_running(dir: &PodDir) -> Result<bool, Failure> {
    Ok(dir.is_running().with_context(|| format!("cannot see whether {} runs", dir.path().display()))?)
}

#[cfg(test)]
mod tests;
