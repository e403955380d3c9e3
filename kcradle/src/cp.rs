//! `kcradle cp`: files from a container to the host, or the other way, by Docker's rules of what becomes of names.
//!
//! The archives that a pod sends are hostile: `unpack` writes them where they belong and nowhere else.

mod names;
mod pack;
mod place;
mod stat;
mod unpack;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::api::container;
use crate::api::http::Upload;
use crate::api::query::Query;
use crate::api::session::{SIGPIPE, code_of_signal};
use crate::api::{Api, ApiError};
use crate::cli::containers::CpArgs;
use crate::failure::Failure;
use crate::size;

use names::{Destination, PodPath};
use pack::Pack;
use place::Place;
use stat::PathStat;
use unpack::Unpack;

/// The most bytes behind the end of an archive.
const MAX_PADDING: u64 = 1 << 20;

/// Copies.
pub(crate) fn run(args: &CpArgs) -> Result<u8, Failure> {
    match (Place::of(&args.source), Place::of(&args.destination)) {
        (Place::Pod { .. }, Place::Pod { .. }) => {
            Err(Failure::new("copying between containers is not supported"))
        }
        (Place::Pod { dir, path }, to) => Copy::new(args, &dir)?.copy_out(&PodPath::new(&path), &to),
        (from, Place::Pod { dir, path }) => Copy::new(args, &dir)?.copy_in(&from, &PodPath::new(&path)),
        _ => Err(Failure::new("neither of the two is in a pod").hint(
            "write DIR:PATH for a place in a container, where DIR is a pod directory: `kcradle ls` lists them",
        )),
    }
}

/// A copy from or into a container.
struct Copy<'a> {
    args: &'a CpArgs,
    api: Api,
}

impl<'a> Copy<'a> {
    fn new(args: &'a CpArgs, dir: &Path) -> Result<Self, Failure> {
        Ok(Self { args, api: Api::of(dir)? })
    }

    fn query(&self, path: &[u8]) -> Query {
        Query::container(container::name(self.args.container.as_ref()), "archive").with("path", path)
    }

    /// What is at a path of the container.
    fn stat(&self, path: &PodPath) -> Result<PathStat, ApiError> {
        let response = self.api.call("HEAD", self.query(path.as_bytes()).as_str(), Upload::None)?;
        PathStat::decode(response.path_stat())
    }

    fn copy_out(&self, source: &PodPath, to: &Place) -> Result<u8, Failure> {
        let mut from = source.clone();
        if self.args.follow_link {
            let stat = self.stat(source).map_err(anyhow::Error::from)?;
            if stat.is_symlink() {
                from = source.of_target(&stat.link_target);
            }
        }
        // Before anything is asked for: what has no place is not fetched.
        let to = match to {
            Place::Host(path) => Some(names::on_host(path)?),
            _ => None,
        };
        let get = self.query(from.as_bytes());
        let response = self.api.call("GET", get.as_str(), Upload::None).map_err(anyhow::Error::from)?;
        let stat = PathStat::decode(response.path_stat()).map_err(anyhow::Error::from)?;
        let mut archive = Counted { input: response.into_body(), bytes: 0 };
        let Some(destination) = to else {
            let out = io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?;
            return match io::copy(&mut archive, &mut File::from(out)) {
                Ok(_) => Ok(0),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code_of_signal(SIGPIPE)),
                Err(error) => Err(anyhow::Error::from(error).context("cannot copy the archive").into()),
            };
        };
        let (folder, rename) = destination.place(stat.is_directory(), source.name())?;
        let unpack = Unpack::into(&folder, from.name(), rename, self.args.archive)
            .with_context(|| format!("cannot copy to {}", folder.display()))?;
        let left_out = unpack.run(&mut archive).map_err(anyhow::Error::from)?;
        // A whole answer is told from one that broke off by its end; what lies before it is padding, if it is honest.
        let padding = io::copy(&mut archive.by_ref().take(MAX_PADDING), &mut io::sink());
        if padding.context("the pod broke off")? == MAX_PADDING {
            return Err(Failure::new("the pod goes on after the end of its archive"));
        }
        for path in &left_out {
            eprintln!("kcradle: {} is a device and was left out", path.escape_debug());
        }
        self.say(archive.bytes, &self.args.destination);
        Ok(u8::from(!left_out.is_empty()))
    }

    fn copy_in(&self, from: &Place, destination: &PodPath) -> Result<u8, Failure> {
        let (destination, stat) = self.resolve(destination)?;
        if stat.as_ref().is_some_and(PathStat::is_device) {
            return Err(Failure::new("got a device"));
        }
        let is_directory = stat.as_ref().is_some_and(PathStat::is_directory);
        let Place::Host(path) = from else {
            if !is_directory {
                let error = format!("destination \"{}\" must be a directory", self.args.destination);
                return Err(Failure::new(error));
            }
            return self.put(destination.as_bytes(), &mut io::stdin().lock());
        };
        let source = pack::Source::open(path, self.args.follow_link)
            .with_context(|| format!("cannot copy {}", path.display()))?;
        let exists = stat.is_some();
        let target = Destination {
            path: PathBuf::from(std::ffi::OsStr::from_bytes(destination.as_bytes())),
            exists,
            is_directory,
            wants_directory: destination.wants_directory(),
        };
        let (folder, rename) = target.place(source.is_directory(), Some(source.name()))?;
        let name = rename.unwrap_or_else(|| source.name().to_vec());
        let mut pack = Pack::new(source, name);
        self.put(folder.as_os_str().as_bytes(), &mut pack)
    }

    /// A path of the container, and what is there; one link at its end is followed. An error is taken for nothing
    /// there: the archive's own request will tell.
    fn resolve(&self, path: &PodPath) -> Result<(PodPath, Option<PathStat>), Failure> {
        let found = |result: Result<PathStat, ApiError>| match result {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Failure::from(anyhow::Error::from(error))),
        };
        let stat = found(self.stat(path))?;
        match stat {
            Some(stat) if stat.is_symlink() => {
                let target = path.of_target(&stat.link_target);
                let stat = found(self.stat(&target))?;
                Ok((target, stat))
            }
            stat => Ok((path.clone(), stat)),
        }
    }

    fn put(&self, folder: &[u8], archive: &mut dyn Read) -> Result<u8, Failure> {
        let query = self.query(folder).with("noOverwriteDirNonDir", "true");
        let query = if self.args.archive { query.with("copyUIDGID", "true") } else { query };
        let mut archive = Counted { input: archive, bytes: 0 };
        self.api.call("PUT", query.as_str(), Upload::Archive(&mut archive)).map_err(anyhow::Error::from)?;
        self.say(archive.bytes, &self.args.destination);
        Ok(0)
    }

    fn say(&self, bytes: u64, to: &str) {
        if !self.args.quiet {
            eprintln!("Successfully copied {} to {}", size::decimal(bytes), to.escape_debug());
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
