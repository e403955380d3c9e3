//! `kcradle ls`: the pods that the image store knows, and how they stand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::LsArgs;
use crate::clock;
use crate::failure::Failure;
use crate::home;
use crate::run::is_running;
use crate::stdout;
use crate::table;
use pod::state::SECOND;
use pod::{PodDir, PodRecord, PodState, Status};

/// A line of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    dir: PathBuf,
    id: String,
    images: Vec<String>,
    status: &'static str,
    /// The exit code of a pod that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    /// RFC 3339.
    created: String,
    /// The pid of a running pod's VM process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    labels: BTreeMap<String, String>,
    /// Seconds since 1970 of the last start or end.
    #[serde(skip)]
    since: u64,
    #[serde(skip)]
    created_at: u64,
}

/// Lists the pods.
pub(crate) fn run(args: &LsArgs) -> Result<u8, Failure> {
    let store = home::store(&home::find()?)?;
    let images = store.list().context("cannot list the pods")?;
    let mut dirs: Vec<PathBuf> = images.into_iter().flat_map(|image| image.pods).collect();
    dirs.sort();
    dirs.dedup();
    let mut pods = Vec::with_capacity(dirs.len());
    for dir in dirs {
        let dir = PodDir::new(&dir).context("cannot name a pod directory")?;
        // A directory that was removed by hand, or that is of another version, must not hide the others.
        match dir.read_record() {
            Ok(record) => pods.push(describe(&dir, record)?),
            Err(error) if !args.quiet => {
                eprintln!("kcradle: {}", Failure::from(anyhow::Error::from(error)).line());
            }
            Err(_) => {}
        }
    }
    if args.quiet {
        pods.iter().for_each(|pod| stdout::line(format_args!("{}", pod.dir.display())));
    } else if args.json {
        stdout::line(format_args!(
            "{}",
            serde_json::to_string_pretty(&pods).context("cannot print the list")?
        ));
    } else {
        print(&pods);
    }
    Ok(0)
}

fn print(pods: &[Pod]) {
    let now = clock::now();
    let ago = |time: u64| clock::age(now.saturating_sub(time));
    let row = |pod: &Pod| {
        let status = match (pod.status, pod.exit_code) {
            ("running", _) => format!("Up {}", ago(pod.since)),
            ("restarting", code) => format!("Restarting ({})", code.unwrap_or(0)),
            ("exited", Some(code)) => format!("Exited ({code}) {} ago", ago(pod.since)),
            _ => "Created".to_owned(),
        };
        vec![
            pod.dir.display().to_string(),
            pod.id.chars().take(12).collect(),
            pod.images.iter().map(|image| short(image)).collect::<Vec<_>>().join(","),
            status,
            format!("{} ago", ago(pod.created_at)),
        ]
    };
    table::print(&["DIR", "POD ID", "IMAGE", "STATUS", "CREATED"], pods.iter().map(row).collect());
}

/// An image as the table shows it: of a file or directory, the last part of its path.
fn short(image: &str) -> String {
    const PATHS: [&str; 4] = ["docker-archive", "oci", "oci-archive", "bundle"];
    match image.split_once(':') {
        Some((scheme, path)) if PATHS.contains(&scheme) => {
            format!("{scheme}:{}", path.trim_end_matches('/').rsplit('/').next().unwrap_or(path))
        }
        _ => image.to_owned(),
    }
}

/// How a pod stands: its lock says whether it lives, the state file the rest.
fn describe(dir: &PodDir, record: PodRecord) -> Result<Pod, Failure> {
    let running = is_running(dir)?;
    let state = dir.read_state().ok().flatten();
    let (status, exit_code, since) = standing(running, state.as_ref());
    Ok(Pod {
        dir: dir.path().to_owned(),
        id: record.id,
        images: record.images.into_iter().map(|image| image.reference).collect(),
        status,
        exit_code,
        created: clock::rfc3339(record.created),
        pid: state.filter(|_| running).map(|state| state.pid),
        labels: record.labels,
        since,
        created_at: record.created,
    })
}

fn standing(running: bool, state: Option<&PodState>) -> (&'static str, Option<u8>, u64) {
    match (running, state) {
        (false, None) => ("created", None, 0),
        (true, Some(PodState { status: Status::Restarting { code }, started, .. })) => {
            ("restarting", Some(*code), *started / SECOND)
        }
        (true, state) => ("running", None, state.map_or_else(clock::now, |state| state.started / SECOND)),
        (false, Some(PodState { status: Status::Exited { code, finished, .. }, .. })) => {
            ("exited", Some(*code), *finished / SECOND)
        }
        // It was killed, and could not say so.
        (false, Some(state)) => ("exited", Some(137), state.started / SECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pod::state::VERSION;

    #[test]
    fn long_paths_are_cut_and_names_are_not() {
        assert_eq!(short("docker-archive:/a/b/c.tar:web:1"), "docker-archive:c.tar:web:1");
        assert_eq!(short("oci:dir"), "oci:dir");
        assert_eq!(short("ghcr.io/team/web:1"), "ghcr.io/team/web:1");
        assert_eq!(short("docker://ghcr.io/a/b"), "docker://ghcr.io/a/b");
    }

    #[test]
    fn the_lock_decides_whether_a_pod_lives() {
        let state = |status| PodState {
            version: VERSION,
            status,
            pid: 1,
            started: 5 * SECOND,
            restarts: 0,
            stopped: false,
        };
        let running = state(Status::Running);
        let exited = state(Status::Exited { finished: 9 * SECOND, code: 3, record: None, error: None });
        assert_eq!(standing(true, Some(&running)), ("running", None, 5));
        assert_eq!(standing(false, Some(&running)), ("exited", Some(137), 5));
        assert_eq!(standing(false, Some(&exited)), ("exited", Some(3), 9));
        assert_eq!(standing(true, Some(&state(Status::Restarting { code: 1 }))), ("restarting", Some(1), 5));
        assert_eq!(standing(false, None), ("created", None, 0));
    }
}
