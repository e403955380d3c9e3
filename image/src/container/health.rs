//! The health check of a container: the image's, changed by the user's wishes, by Docker's rules (Docker Engine API,
//! `HealthConfig`).

use spec::launch::HealthSpec;

use crate::config::RunConfig;

/// The least time that a health check can have, in nanoseconds.
const LEAST: u64 = 1_000_000;

/// Why a health check cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    /// A time too short to be meant.
    #[error("{0} in Healthcheck cannot be less than 1ms")]
    TooShort(&'static str),
    /// A form of command that is not known.
    #[error("unknown type of health check {0:?}: \"NONE\", \"CMD\" and \"CMD-SHELL\" are known")]
    Kind(String),
    /// A form of command without one.
    #[error("the health check has no command behind {0:?}")]
    NoCommand(String),
}

/// The health check that a container has; `None` where nobody asks how it is. In `wishes` an empty `test` and zeros
/// leave the image's, and `["NONE"]` ends them all.
pub(super) fn merge(
    config: &RunConfig,
    wishes: Option<&HealthSpec>,
) -> Result<Option<HealthSpec>, HealthError> {
    if let Some(wishes) = wishes {
        check(wishes)?;
    }
    let image = config.healthcheck.as_ref().map(from_image).unwrap_or_default();
    let wishes = wishes.cloned().unwrap_or_default();
    let or = |wish: u64, image: u64| if wish == 0 { image } else { wish };
    let merged = HealthSpec {
        test: if wishes.test.is_empty() { image.test } else { wishes.test },
        interval: or(wishes.interval, image.interval),
        timeout: or(wishes.timeout, image.timeout),
        start_period: or(wishes.start_period, image.start_period),
        start_interval: or(wishes.start_interval, image.start_interval),
        retries: if wishes.retries == 0 { image.retries } else { wishes.retries },
    };
    let words: Vec<&str> = merged.test.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["NONE", ..] | [""] => Ok(None),
        ["CMD" | "CMD-SHELL", command, ..] if !command.is_empty() => {
            Ok(Some(in_shell(merged, &config.shell)))
        }
        [kind @ ("CMD" | "CMD-SHELL"), ..] => Err(HealthError::NoCommand((*kind).to_owned())),
        [kind, ..] => Err(HealthError::Kind((*kind).to_owned())),
    }
}

/// An image that names a shell of its own has its lines run by that.
fn in_shell(health: HealthSpec, shell: &[String]) -> HealthSpec {
    match health.test.split_first() {
        Some((kind, line)) if kind == "CMD-SHELL" && !shell.is_empty() => {
            let test = std::iter::once("CMD".to_owned()).chain(shell.iter().chain(line).cloned());
            HealthSpec { test: test.collect(), ..health }
        }
        _ => health,
    }
}

/// Numbers of an image that make no sense are Docker's defaults.
fn from_image(health: &crate::config::Healthcheck) -> HealthSpec {
    let time = |time: i64| u64::try_from(time).ok().filter(|time| *time >= LEAST).unwrap_or(0);
    HealthSpec {
        test: health.test.clone(),
        interval: time(health.interval),
        timeout: time(health.timeout),
        start_period: time(health.start_period),
        start_interval: time(health.start_interval),
        retries: u32::try_from(health.retries).unwrap_or(0),
    }
}

fn check(wishes: &HealthSpec) -> Result<(), HealthError> {
    let times = [
        ("Interval", wishes.interval),
        ("Timeout", wishes.timeout),
        ("StartPeriod", wishes.start_period),
        ("StartInterval", wishes.start_interval),
    ];
    match times.iter().find(|(_, time)| (1..LEAST).contains(time)) {
        Some((name, _)) => Err(HealthError::TooShort(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Healthcheck;

    const SECOND: i64 = 1_000_000_000;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn image(test: &[&str], interval: i64, retries: i64) -> RunConfig {
        let healthcheck = Healthcheck { test: words(test), interval, retries, ..Healthcheck::default() };
        RunConfig { healthcheck: Some(healthcheck), ..RunConfig::default() }
    }

    fn wish(test: &[&str], interval: u64) -> HealthSpec {
        HealthSpec { test: words(test), interval, ..HealthSpec::default() }
    }

    #[test]
    fn wishes_change_what_they_name_and_leave_the_rest() {
        let config = image(&["CMD", "probe"], 5 * SECOND, 4);
        assert_eq!(merge(&RunConfig::default(), None), Ok(None));
        let own = merge(&config, None).unwrap().unwrap();
        assert_eq!((&own.test, own.interval, own.retries), (&words(&["CMD", "probe"]), 5_000_000_000, 4));
        let slower = merge(&config, Some(&wish(&[], 9_000_000_000))).unwrap().unwrap();
        assert_eq!((&slower.test, slower.interval, slower.retries), (&own.test, 9_000_000_000, 4));
        let other = merge(&config, Some(&wish(&["CMD-SHELL", "true"], 0))).unwrap().unwrap();
        assert_eq!((other.test, other.interval), (words(&["CMD-SHELL", "true"]), 5_000_000_000));
        // Times alone check nothing.
        assert_eq!(merge(&RunConfig::default(), Some(&wish(&[], 9_000_000_000))), Ok(None));
    }

    #[test]
    fn none_ends_them() {
        assert_eq!(merge(&image(&["NONE"], 0, 0), None), Ok(None));
        assert_eq!(merge(&image(&["CMD", "probe"], 0, 0), Some(&wish(&["NONE"], 0))), Ok(None));
        let again = merge(&image(&["NONE"], SECOND, 0), Some(&wish(&["CMD", "x"], 0))).unwrap().unwrap();
        assert_eq!((again.test, again.interval), (words(&["CMD", "x"]), 1_000_000_000));
    }

    #[test]
    fn lines_run_in_the_images_shell() {
        let config = RunConfig { shell: words(&["/bin/ash", "-ec"]), ..image(&["CMD-SHELL", "a | b"], 0, 0) };
        let health = merge(&config, None).unwrap().unwrap();
        assert_eq!(health.test, words(&["CMD", "/bin/ash", "-ec", "a | b"]));
        let health = merge(&config, Some(&wish(&["CMD", "c"], 0))).unwrap().unwrap();
        assert_eq!(health.test, words(&["CMD", "c"]));
    }

    #[test]
    fn senseless_numbers_of_an_image_are_defaults_and_of_a_user_are_refused() {
        let health = merge(&image(&["CMD", "x"], -1, -7), None).unwrap().unwrap();
        assert_eq!((health.interval, health.retries), (0, 0));
        assert_eq!(merge(&image(&["CMD", "x"], 999_999, 0), None).unwrap().unwrap().interval, 0);
        assert_eq!(
            merge(&RunConfig::default(), Some(&wish(&["CMD", "x"], 999_999))).unwrap_err().to_string(),
            "Interval in Healthcheck cannot be less than 1ms"
        );
    }

    #[test]
    fn a_check_without_a_command_is_refused() {
        let error = |test: &[&str]| merge(&image(test, 0, 0), None).unwrap_err().to_string();
        assert!(error(&["CMD"]).contains("no command behind \"CMD\""));
        assert!(error(&["CMD-SHELL", ""]).contains("no command"));
        assert!(error(&["SHELL", "x"]).contains("unknown type of health check \"SHELL\""));
    }
}
