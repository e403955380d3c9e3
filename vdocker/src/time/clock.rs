//! Times of day and durations in the short forms of ps(1).

use std::time::SystemTime;

use super::{DAY, civil_from_days, unix};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// `21:11`.
#[must_use]
pub fn hour_minute(time: SystemTime) -> String {
    let seconds = unix(time).rem_euclid(DAY);
    format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60)
}

/// `Nov11`.
#[must_use]
pub fn month_day(time: SystemTime) -> String {
    let (_, month, day) = civil_from_days(unix(time).div_euclid(DAY));
    format!("{}{day:02}", month_name(month))
}

/// `Tue Nov 14 22:13:20 2023`.
#[must_use]
pub fn full(time: SystemTime) -> String {
    let (days, seconds) = (unix(time).div_euclid(DAY), unix(time).rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let weekday = usize::try_from(days.rem_euclid(7)).map_or("", |index| WEEKDAYS[index]);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{weekday} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}", month_name(month))
}

fn month_name(month: i64) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
}

/// CPU seconds as `[days-]hh:mm:ss`.
#[must_use]
pub fn cpu(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

/// CPU seconds as `m:ss`.
#[must_use]
pub fn cpu_short(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Seconds as `[[days-]hh:]mm:ss`.
#[must_use]
pub fn elapsed(seconds: u64) -> String {
    if seconds < 3600 { format!("{:02}:{:02}", seconds / 60, seconds % 60) } else { cpu(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn writes_what_ps_writes() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(full(time), "Tue Nov 14 22:13:20 2023");
        assert_eq!((hour_minute(time), month_day(time)), ("22:13".into(), "Nov14".into()));
        assert_eq!(
            (elapsed(61), elapsed(3661), elapsed(90_061)),
            ("01:01".into(), "01:01:01".into(), "1-01:01:01".into())
        );
        assert_eq!((cpu(59), cpu_short(3599)), ("00:00:59".into(), "59:59".into()));
    }
}
