//! Files of containers for the Docker API: stat and archives in both directions (`docker cp`), changes, export, sizes.
//!
//! Each operation has a thread of its own ([`thread`]) that works with plain calls below the descriptor of the
//! container's root, and exchanges chunks with the event loop. Whatever a container swaps in meanwhile, names are only
//! resolved below that root ([`trail`]). The words of errors are Docker's.

mod changes;
mod descriptors;
mod error;
mod incoming;
mod outgoing;
mod pack;
mod path;
mod place;
mod remove;
mod stat;
mod thread;
mod trail;
mod unpack;
mod usage;
mod xattr;

pub(crate) use changes::Layers;
pub(crate) use place::Place;

use crate::files::descriptors::Descriptors;
use crate::files::error::FilesError;
use crate::files::outgoing::Outgoing;
use crate::files::pack::Packer;
use crate::files::path::Wanted;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use vdocker::archive::{Change, Chunks, PathStat, WriteOptions};
use vdocker::engine::EngineError;

/// Operations under way at one time.
const MAX_OPERATIONS: u32 = 16;
/// Chunks between the event loop and a thread.
const CHUNKS_AHEAD: usize = 2;
/// How long operations may take to end with the pod.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose files, and where they are.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The container's name, for errors.
    pub(crate) name: String,
    /// Where its files are.
    pub(crate) place: Place,
}

/// Runs operations on containers' files.
#[derive(Debug)]
pub(crate) struct Files {
    slots: Arc<Semaphore>,
    /// Whether all operations are to end.
    over: Arc<AtomicBool>,
}

impl Files {
    /// With no operation under way.
    pub(crate) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(MAX_OPERATIONS as usize)), over: Arc::default() }
    }

    /// See [`vdocker::engine::Engine::stat`].
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) async fn stat(&self, subject: Subject, path: &str) -> Result<PathStat, EngineError> {
        let Subject { name, place } = subject;
        let wanted = Wanted::as_typed(path);
        let done = self.run(move || stat::look(&place.enter()?, &wanted).map(|(_, stat)| stat)).await?;
        done.map_err(|error| error.told(path, &name))
    }

    /// See [`vdocker::engine::Engine::read_archive`].
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) async fn read(&self, subject: Subject, path: &str) -> Result<(PathStat, Chunks), EngineError> {
        let Subject { name, place } = subject;
        let wanted = Wanted::cleaned(path);
        let (tell, told) = oneshot::channel();
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        self.begin(move || {
            let found = Descriptors::new()
                .and_then(|descriptors| Ok((descriptors, stat::look(&place.enter()?, &wanted)?)));
            match found {
                Err(error) => drop(tell.send(Err(error))),
                Ok((descriptors, (found, stat))) => {
                    if tell.send(Ok(stat)).is_ok() {
                        let mut out = Outgoing::new(sender);
                        let done = Packer::new(&mut out, &descriptors).named(found, &wanted);
                        out.finish(done);
                    }
                }
            }
        })?;
        let stat = told.await.unwrap_or(Err(FilesError::Lost));
        Ok((stat.map_err(|error| error.told(path, &name))?, chunks))
    }

    /// See [`vdocker::engine::Engine::write_archive`]. `user` is whom the container runs as (`user[:group]`).
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) async fn write(
        &self,
        subject: Subject,
        user: &str,
        path: &str,
        options: WriteOptions,
        archive: Chunks,
    ) -> Result<(), EngineError> {
        let Subject { name, place } = subject;
        let (user, wanted) = (user.to_owned(), Wanted::cleaned(path));
        let done = self.run(move || unpack::into(&place.enter()?, &user, &wanted, options, archive)).await?;
        done.map_err(|error| error.told(path, &name))
    }

    /// See [`vdocker::engine::Engine::changes`].
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) async fn changes(&self, layers: Layers) -> Result<Vec<Change>, EngineError> {
        let done = self.run(move || changes::list(&layers)).await?;
        done.map_err(|error| error.told("/", ""))
    }

    /// See [`vdocker::engine::Engine::export`]. `root` is where the container's tree is mounted, without what is
    /// mounted into the container.
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) fn export(&self, root: PathBuf) -> Result<Chunks, EngineError> {
        self.pack(move |packer| packer.all(&root))
    }

    /// See [`vdocker::engine::Engine::layer`]. `mounts` are the paths where the container has something mounted.
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) fn layer(&self, layers: Layers, mounts: Vec<String>) -> Result<Chunks, EngineError> {
        self.pack(move |packer| packer.layer(&layers, &mounts))
    }

    /// See [`vdocker::engine::Engine::disk_usage`].
    ///
    /// # Errors
    /// Those of the trait.
    pub(crate) async fn disk_usage(&self, layers: Layers) -> Result<(u64, u64), EngineError> {
        let done = self.run(move || usage::of(&layers)).await?;
        done.map_err(|error| error.told("/", ""))
    }

    /// Does something else that can take long as one of these operations; whoever waits for it need not.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub(crate) fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, EngineError> {
        let (tell, told) = oneshot::channel();
        // Nobody listens where the client has gone.
        self.begin(move || drop(tell.send(work())))?;
        Ok(told)
    }

    /// Ends all operations, whose threads hold containers' file trees, and waits for that, for a while. Whether they
    /// have ended.
    pub(crate) async fn end(&self) -> bool {
        self.over.store(true, Ordering::Relaxed);
        let threads = self.slots.acquire_many(MAX_OPERATIONS);
        tokio::time::timeout(PATIENCE, threads).await.is_ok()
    }

    /// Starts an operation that makes an archive of PID 1's own files.
    fn pack(
        &self,
        pack: impl FnOnce(Packer<'_>) -> Result<(), FilesError> + Send + 'static,
    ) -> Result<Chunks, EngineError> {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        self.begin(move || {
            let mut out = Outgoing::new(sender);
            let done = Descriptors::new().and_then(|descriptors| pack(Packer::new(&mut out, &descriptors)));
            out.finish(done);
        })?;
        Ok(chunks)
    }

    /// Starts an operation on a thread of its own.
    fn begin(&self, operation: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
        let busy = || EngineError::Busy("too many operations on files are under way".to_owned());
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| busy())?;
        thread::start(Arc::clone(&self.over), move || {
            operation();
            drop(slot);
        })
        .map_err(|_| busy())
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
    ) -> Result<Result<T, FilesError>, EngineError> {
        Ok(self.beside(operation)?.await.unwrap_or(Err(FilesError::Lost)))
    }
}

#[cfg(test)]
mod tests;
