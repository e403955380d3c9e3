//! `kcradle logs`: what a container has written, and goes on to write.

use std::time::SystemTime;

use anyhow::Context as _;
use vdocker::time;

use crate::api::Api;
use crate::api::container::{self, Inspect};
use crate::api::http::Upload;
use crate::api::output::Output;
use crate::api::query::Query;
use crate::api::session::{SIGPIPE, code_of_signal};
use crate::cli::containers::LogsArgs;
use crate::duration::GoDuration;
use crate::failure::Failure;

/// Prints the log.
pub(crate) fn run(args: &LogsArgs) -> Result<u8, Failure> {
    let api = Api::of(&args.pod.dir)?;
    let name = container::name(args.pod.container.as_ref());
    let inspect = Inspect::of(&api, name).map_err(anyhow::Error::from)?;
    let mut query = Query::container(name, "logs").with("stdout", "1").with("stderr", "1");
    for (name, value) in [("since", &args.since), ("until", &args.until)] {
        if let Some(text) = value {
            let time = timestamp(text, SystemTime::now()).ok_or_else(|| {
                Failure::new(format!(
                    "invalid value for \"{name}\": failed to parse {text:?} as time or duration"
                ))
            })?;
            query = query.with(name, time);
        }
    }
    let query = query
        .flag("timestamps", args.timestamps)
        .flag("follow", args.follow)
        .with("tail", &args.tail)
        .flag("details", args.details);
    let response = api.call("GET", query.as_str(), Upload::None).map_err(anyhow::Error::from)?;
    let output = Output::standard().context("cannot use standard output")?;
    let body = response.into_body();
    match if inspect.config.tty { output.copy_raw(body) } else { output.copy_frames(body) } {
        Ok(()) => Ok(0),
        Err(error) if error.is_broken_pipe() => Ok(code_of_signal(SIGPIPE)),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

/// What the API takes for a time: a duration counts back from `now`, a date without a zone is UTC.
fn timestamp(text: &str, now: SystemTime) -> Option<String> {
    if let Ok(GoDuration(back)) = text.parse() {
        let nanos = i128::from(time::unix_nanos(now)) - i128::from(back);
        let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        return Some(format!("{seconds}.{nanos:09}"));
    }
    if time::parse(text).is_some() {
        return Some(text.to_owned());
    }
    // As far as it is given: 2024-05-06, 2024-05-06T07, 2024-05-06T07:08, with seconds, with a zone.
    let (date, clock) = text.split_once('T').unwrap_or((text, ""));
    let (date, zone) = match date.split_at_checked(10) {
        Some((date, zone)) if clock.is_empty() => (date, zone),
        _ => (date, ""),
    };
    let (clock, zone) = match clock.find(['Z', '+', '-']) {
        Some(at) => clock.split_at(at),
        None => (clock, zone),
    };
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        2 => format!("{clock}:00:00"),
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let full = format!("{date}T{clock}{}", if zone.is_empty() { "Z" } else { zone });
    time::parse(&full).map(|_| full)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_as_docker_takes_them() {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        for (text, expected) in [
            ("10m", "1699999400.250000000"),
            ("1h30m", "1699994600.250000000"),
            ("0", "1700000000.250000000"),
            ("1700000000", "1700000000"),
            ("1700000000.5", "1700000000.5"),
            ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456789Z"),
            ("2024-05-06T07:08:09+02:00", "2024-05-06T07:08:09+02:00"),
            ("2024-05-06T07:08:09", "2024-05-06T07:08:09Z"),
            ("2024-05-06T07:08", "2024-05-06T07:08:00Z"),
            ("2024-05-06T07", "2024-05-06T07:00:00Z"),
            ("2024-05-06", "2024-05-06T00:00:00Z"),
            ("2024-05-06Z", "2024-05-06T00:00:00Z"),
            ("2024-05-06+02:00", "2024-05-06T00:00:00+02:00"),
        ] {
            assert_eq!(timestamp(text, now).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "2024-13-01", "2024-05-06T25", "2024-05-06T7", "12:00"] {
            assert_eq!(timestamp(text, now), None, "{text}");
        }
    }
}
