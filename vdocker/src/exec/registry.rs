//! The execs that clients have created: found by id, kept a while after their end so that clients can ask for the exit
//! code, and bounded in number and size.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use tokio::sync::watch;

use super::ExecSpec;
use crate::container::Container;
use crate::detach::DetachKeys;
use crate::engine::{EngineError, TerminalSize};

/// Execs that are known at a time.
const MAX_EXECS: usize = 256;

/// Bytes of their arguments and environments.
const MAX_BYTES: usize = 8 << 20;

/// Which streams a client wants of an exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// An exec from its creation until it is forgotten.
pub(crate) struct Exec {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) container: Rc<Container>,
    pub(crate) streams: Streams,
    /// What leaves its terminal.
    pub(crate) keys: DetachKeys,
    spec: ExecSpec,
    size: Cell<TerminalSize>,
    pid: Cell<u32>,
    resize: RefCell<Option<Resize>>,
    stage: watch::Sender<Stage>,
}

/// Changes the size of a terminal.
type Resize = Box<dyn Fn(TerminalSize)>;

/// Where an exec stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Created,
    Running,
    /// With the exit code.
    Ended(u8),
}

impl Exec {
    /// What to run, in the size that was asked for last.
    pub(crate) fn spec(&self) -> ExecSpec {
        ExecSpec { size: self.size.get(), ..self.spec.clone() }
    }

    pub(crate) fn cmd(&self) -> &[String] {
        &self.spec.cmd
    }

    pub(crate) const fn tty(&self) -> bool {
        self.spec.tty
    }

    pub(crate) const fn privileged(&self) -> bool {
        self.spec.privileged
    }

    /// The user it runs as, the container's where none was given.
    pub(crate) fn user(&self) -> &str {
        if self.spec.user.is_empty() { &self.container.spec.process.user } else { &self.spec.user }
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Its pid in the guest; 0 before it runs.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid.get()
    }

    /// Notes that it is being started. Only once.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] in Docker's words.
    pub(crate) fn begin(self: &Rc<Self>) -> Result<Starting, EngineError> {
        let words = match self.stage() {
            Stage::Created => {
                self.stage.send_replace(Stage::Running);
                return Ok(Starting(Some(Rc::clone(self))));
            }
            Stage::Running => "is already running",
            Stage::Ended(_) => "has already run",
        };
        Err(EngineError::Conflict(format!("exec command {} {words}", self.id)))
    }

    /// Notes that its program runs, and gives its terminal the size that was asked for meanwhile.
    pub(crate) fn started(&self, pid: u32, given: TerminalSize, resize: Resize) {
        self.pid.set(pid);
        if self.size.get() != given {
            resize(self.size.get());
        }
        *self.resize.borrow_mut() = Some(resize);
    }

    /// Notes its exit code.
    pub(crate) fn ended(&self, code: u8) {
        *self.resize.borrow_mut() = None;
        self.stage.send_replace(Stage::Ended(code));
    }

    /// Returns once the exit code is known.
    pub(crate) async fn wait(&self) {
        let mut stage = self.stage.subscribe();
        // The sender lives as long as `self`.
        let _ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await;
    }

    /// Changes the size of its terminal, or remembers it for its start.
    pub(crate) fn resize(&self, size: TerminalSize) {
        self.size.set(size);
        if let Some(resize) = &*self.resize.borrow() {
            resize(size);
        }
    }

    fn bytes(&self) -> usize {
        let strings = self.spec.cmd.iter().chain(&self.spec.env).chain([&self.spec.workdir, &self.spec.user]);
        strings.map(|string| string.len() + size_of::<String>()).sum()
    }
}

/// An exec that is to be started. Dropped before it [goes](Starting::go), it has not been: a client for which there
/// was no stream may try again, and what nobody runs does not count as running.
pub(crate) struct Starting(Option<Rc<Exec>>);

impl Starting {
    /// The exec.
    pub(crate) fn exec(&self) -> &Rc<Exec> {
        self.0.as_ref().expect("it is there until it goes")
    }

    /// The exec, for the engine: from here it is started, or ends.
    pub(crate) fn go(mut self) -> Rc<Exec> {
        self.0.take().expect("it is there until it goes")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(exec) = self.0.take() {
            exec.stage.send_replace(Stage::Created);
        }
    }
}

/// The execs of a pod.
#[derive(Default)]
pub(crate) struct Registry {
    /// Oldest first.
    execs: RefCell<VecDeque<Rc<Exec>>>,
    ids: Ids,
}

impl Registry {
    /// Makes an exec known. The oldest that do not run are forgotten where there is no room.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where all that are known run.
    pub(crate) fn add(
        &self,
        container: &Rc<Container>,
        spec: ExecSpec,
        streams: Streams,
        keys: DetachKeys,
    ) -> Result<Rc<Exec>, EngineError> {
        let exec = Rc::new(Exec {
            id: self.ids.next(),
            container: Rc::clone(container),
            streams,
            keys,
            size: Cell::new(spec.size),
            spec,
            pid: Cell::new(0),
            resize: RefCell::new(None),
            stage: watch::Sender::new(Stage::Created),
        });
        let mut execs = self.execs.borrow_mut();
        while execs.len() >= MAX_EXECS || total_bytes(&execs) + exec.bytes() > MAX_BYTES {
            forget_oldest(&mut execs)?;
        }
        execs.push_back(Rc::clone(&exec));
        Ok(exec)
    }

    /// Finds an exec.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] in Docker's words.
    pub(crate) fn find(&self, id: &str) -> Result<Rc<Exec>, EngineError> {
        let execs = self.execs.borrow();
        let found = execs.iter().find(|exec| exec.id == id).map(Rc::clone);
        found.ok_or_else(|| EngineError::NotFound(format!("No such exec instance: {id}")))
    }

    /// The ids of a container's execs that have not ended.
    pub(crate) fn of(&self, container: &Container) -> Vec<String> {
        let execs = self.execs.borrow();
        let open = execs
            .iter()
            .filter(|exec| exec.container.id == container.id && !matches!(exec.stage(), Stage::Ended(_)));
        open.map(|exec| exec.id.clone()).collect()
    }
}

fn total_bytes(execs: &VecDeque<Rc<Exec>>) -> usize {
    execs.iter().map(|exec| exec.bytes()).sum()
}

/// Forgets the oldest that has ended, else the oldest that nobody has started.
fn forget_oldest(execs: &mut VecDeque<Rc<Exec>>) -> Result<(), EngineError> {
    let oldest = |wanted: fn(Stage) -> bool| execs.iter().position(|exec| wanted(exec.stage()));
    let at =
        oldest(|stage| matches!(stage, Stage::Ended(_))).or_else(|| oldest(|stage| stage == Stage::Created));
    let at = at.ok_or_else(|| EngineError::Busy("too many exec commands".into()))?;
    execs.remove(at);
    Ok(())
}

/// Ids of 64 hexadecimal digits, no two the same.
#[derive(Default)]
struct Ids {
    keys: [RandomState; 4],
    given: Cell<u64>,
}

impl Ids {
    fn next(&self) -> String {
        self.given.set(self.given.get() + 1);
        self.keys.iter().map(|key| format!("{:016x}", key.hash_one(self.given.get()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixture;

    fn spec(bytes: usize) -> ExecSpec {
        ExecSpec { cmd: vec!["x".repeat(bytes)], ..ExecSpec::default() }
    }

    fn add(registry: &Registry, bytes: usize) -> Result<Rc<Exec>, EngineError> {
        registry.add(&fixture::container("web"), spec(bytes), Streams::default(), DetachKeys::default())
    }

    #[test]
    fn ids_are_unique_and_long() {
        let ids = Ids::default();
        let given: BTreeSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 10_000);
        assert!(given.iter().all(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn runs_once() {
        let registry = Registry::default();
        let exec = add(&registry, 1).unwrap();
        drop(exec.begin().unwrap());
        assert_eq!(exec.stage(), Stage::Created, "a start that came to nothing");
        let refused = || exec.begin().err().unwrap().to_string();
        exec.begin().unwrap().go();
        assert_eq!(refused(), format!("exec command {} is already running", exec.id));
        exec.ended(3);
        assert_eq!(refused(), format!("exec command {} has already run", exec.id));
        assert_eq!(registry.find(&exec.id).unwrap().stage(), Stage::Ended(3));
    }

    #[test]
    fn forgets_those_that_ended_first() {
        let registry = Registry::default();
        let created = add(&registry, 1).unwrap();
        let ended = add(&registry, 1).unwrap();
        ended.ended(0);
        for _ in 2..MAX_EXECS {
            add(&registry, 1).unwrap().begin().unwrap().go();
        }
        add(&registry, 1).unwrap().begin().unwrap().go();
        assert!(registry.find(&ended.id).is_err() && registry.find(&created.id).is_ok());
        add(&registry, 1).unwrap().begin().unwrap().go();
        assert!(registry.find(&created.id).is_err());
        assert!(matches!(add(&registry, 1), Err(EngineError::Busy(_))));
    }

    #[test]
    fn bounds_the_bytes_too() {
        let registry = Registry::default();
        let first = add(&registry, MAX_BYTES - 1000).unwrap();
        first.begin().unwrap().go();
        assert!(matches!(add(&registry, 1000), Err(EngineError::Busy(_))));
        first.ended(0);
        add(&registry, 1000).unwrap();
        assert_eq!(
            registry.find(&first.id).map(|exec| exec.id.clone()).unwrap_err().to_string(),
            format!("No such exec instance: {}", first.id)
        );
    }

    #[test]
    fn a_size_before_the_start_is_remembered() {
        let registry = Registry::default();
        let exec = add(&registry, 1).unwrap();
        let [early, between, late] =
            [(24, 80), (30, 90), (40, 100)].map(|(rows, columns)| TerminalSize { rows, columns });
        exec.resize(early);
        let given = exec.spec().size;
        assert_eq!(given, early);
        exec.resize(between);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sizes = Rc::clone(&seen);
        exec.started(7, given, Box::new(move |size| sizes.borrow_mut().push(size)));
        exec.resize(late);
        exec.ended(0);
        exec.resize(early);
        assert_eq!(*seen.borrow(), [between, late]);
    }

    #[test]
    fn lists_those_that_have_not_ended() {
        let registry = Registry::default();
        let (first, second) = (add(&registry, 1).unwrap(), add(&registry, 1).unwrap());
        first.ended(0);
        assert_eq!(registry.of(&second.container), std::slice::from_ref(&second.id));
    }
}
