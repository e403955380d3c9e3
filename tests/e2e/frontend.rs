//! The real docker client on `kcradle serve`: each container in a microVM of its own. One module a subject.

mod compose;
mod faults;
mod files;
mod housekeeping;
mod images;
mod init;
mod lifecycle;
mod networks;
mod run;
mod sdk;
mod shared;
mod words;
