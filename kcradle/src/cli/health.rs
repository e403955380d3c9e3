//! The arguments of `summon` about the container's health check, with Docker's names and rules.

use clap::Args;
use spec::launch::HealthSpec;

use crate::duration::GoDuration;
use crate::failure::Failure;

/// How to find out whether the container works, where it differs from the image's check.
#[derive(Debug, Default, Args)]
pub(crate) struct HealthArgs {
    /// Command line that finds out whether the container works
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks, as in 1m30s [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_interval: Option<GoDuration>,
    /// The longest that a check may take [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_timeout: Option<GoDuration>,
    /// Failures in a row that make the container unhealthy [default: 3]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) health_retries: Option<i32>,
    /// Time after a start in which failures do not count [default: 0s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_start_period: Option<GoDuration>,
    /// Time between two checks in the start period [default: 5s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) health_start_interval: Option<GoDuration>,
    /// Have no health check, also where the image has one
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}

impl HealthArgs {
    /// The ids of the arguments.
    pub(super) const NAMES: [&'static str; 7] = [
        "health_cmd",
        "health_interval",
        "health_timeout",
        "health_retries",
        "health_start_period",
        "health_start_interval",
        "no_healthcheck",
    ];

    /// What is to be otherwise than the image has it; `None`: nothing.
    pub(crate) fn wishes(&self) -> Result<Option<HealthSpec>, Failure> {
        let wishes = HealthSpec {
            test: self
                .health_cmd
                .as_ref()
                .filter(|line| !line.is_empty())
                .map_or_else(Vec::new, |line| vec!["CMD-SHELL".to_owned(), line.clone()]),
            interval: time("interval", self.health_interval)?,
            timeout: time("timeout", self.health_timeout)?,
            start_period: time("start-period", self.health_start_period)?,
            start_interval: time("start-interval", self.health_start_interval)?,
            retries: not_negative("retries", self.health_retries.unwrap_or(0))?,
        };
        match (self.no_healthcheck, wishes == HealthSpec::default()) {
            (true, false) => Err(Failure::new("--no-healthcheck conflicts with --health-* options")),
            (true, true) => Ok(Some(HealthSpec { test: vec!["NONE".to_owned()], ..wishes })),
            (false, unchanged) => Ok((!unchanged).then_some(wishes)),
        }
    }
}

fn time(name: &str, time: Option<GoDuration>) -> Result<u64, Failure> {
    not_negative(name, time.unwrap_or_default().0)
}

fn not_negative<T, U: TryFrom<T>>(name: &str, value: T) -> Result<U, Failure> {
    U::try_from(value).map_err(|_| Failure::new(format!("--health-{name} cannot be negative")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn wishes(arguments: &[&str]) -> Result<Option<HealthSpec>, String> {
        let all = ["kcradle", "summon"].iter().chain(arguments).chain(&["d", "image"]);
        let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        let Command::Summon(args) = cli.command else { panic!("not summon") };
        args.health.wishes().map_err(|failure| failure.line())
    }

    #[test]
    fn flags_become_a_check() {
        assert_eq!(wishes(&[]), Ok(None));
        let all = wishes(&[
            "--health-cmd=curl -f localhost || exit 1",
            "--health-interval=1m30s",
            "--health-timeout=500ms",
            "--health-retries=5",
            "--health-start-period=1h",
            "--health-start-interval=2s",
        ]);
        let expected = HealthSpec {
            test: vec!["CMD-SHELL".to_owned(), "curl -f localhost || exit 1".to_owned()],
            interval: 90_000_000_000,
            timeout: 500_000_000,
            start_period: 3_600_000_000_000,
            start_interval: 2_000_000_000,
            retries: 5,
        };
        assert_eq!(all, Ok(Some(expected)));
        assert_eq!(wishes(&["--health-retries", "2"]).unwrap().unwrap().test, Vec::<String>::new());
        assert_eq!(wishes(&["--no-healthcheck"]).unwrap().unwrap().test, ["NONE"]);
    }

    #[test]
    fn dockers_rules_hold_in_its_words() {
        for (arguments, message) in [
            (&["--no-healthcheck", "--health-cmd", "x"][..], "--no-healthcheck conflicts with --health-*"),
            (&["--health-interval", "-1s"], "--health-interval cannot be negative"),
            (&["--health-start-period=-1ns"], "--health-start-period cannot be negative"),
            (&["--health-retries", "-1"], "--health-retries cannot be negative"),
            (&["--health-timeout", "5"], "time: missing unit in duration \"5\""),
        ] {
            let error = wishes(arguments).unwrap_err();
            assert!(error.contains(message), "{arguments:?}: {error}");
        }
    }
}
