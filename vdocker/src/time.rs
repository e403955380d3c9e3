//! Times as the Docker Engine API writes and takes them: RFC 3339 with nanoseconds out, Unix seconds with a
//! fraction or RFC 3339 in. All times are UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub mod clock;

/// What Docker says for a time that has not come: the zero of Go's `time.Time`.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

const DAY: i64 = 86_400;

/// RFC 3339 with nine digits after the point: what `logs --timestamps` puts before lines.
#[must_use]
pub fn fixed(time: SystemTime) -> String {
    let (seconds, nanos) = since_epoch(time);
    format!("{}.{nanos:09}Z", civil(seconds))
}

/// RFC 3339 without zeros at the fraction's end, as Go's `RFC3339Nano` and so as all JSON has it.
#[must_use]
pub fn trimmed(time: SystemTime) -> String {
    let (seconds, nanos) = since_epoch(time);
    let fraction = format!(".{nanos:09}");
    format!("{}{}Z", civil(seconds), fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// [`trimmed`], or [`NEVER`].
#[must_use]
pub fn trimmed_or_never(time: Option<SystemTime>) -> String {
    time.map_or_else(|| NEVER.to_owned(), trimmed)
}

/// Whole seconds since 1970.
#[must_use]
pub fn unix(time: SystemTime) -> i64 {
    since_epoch(time).0
}

/// Nanoseconds since 1970.
#[must_use]
pub fn unix_nanos(time: SystemTime) -> i64 {
    let (seconds, nanos) = since_epoch(time);
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos))
}

/// A time as clients send it: `secs`, `secs.nanos` (any number of digits up to nine) or RFC 3339. `None`: neither.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    if text.contains('T') { parse_rfc3339(text) } else { parse_unix(text) }
}

fn parse_unix(text: &str) -> Option<SystemTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    from_parts(seconds.parse().ok()?, parse_fraction(fraction)?)
}

/// Digits after a point as nanoseconds; those after the ninth are cut off.
fn parse_fraction(digits: &str) -> Option<u32> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine = digits.get(..9).unwrap_or(digits);
    format!("{nine:0<9}").parse().ok()
}

fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once('T')?;
    let zone_at = time.find(['Z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let local = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    from_parts(local - zone_offset(zone)?, parse_fraction(fraction)?)
}

/// `Z` or `±hh:mm` in seconds east of Greenwich.
fn zone_offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let [hours, minutes] = numbers(rest, ':')?;
    let offset = hours * 3600 + minutes * 60;
    (hours < 24 && minutes < 60).then_some(if sign == "-" { -offset } else { offset })
}

/// Exactly `N` short decimal numbers.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let parts: Vec<_> = text.split(separator).map(number).collect::<Option<_>>()?;
    parts.try_into().ok()
}

fn number(digits: &str) -> Option<i64> {
    let fits = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

fn from_parts(seconds: i64, nanos: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base?.checked_add(Duration::from_nanos(nanos.into()))
}

/// Seconds since 1970, negative before it, and nanoseconds after that second.
fn since_epoch(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanos => (seconds.saturating_sub(1), 1_000_000_000 - nanos),
            }
        }
    }
}

/// `2006-01-02T15:04:05`.
fn civil(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. A year is counted from March, so that the leap day
/// is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The reverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: u32) -> SystemTime {
        from_parts(seconds, nanos).unwrap()
    }

    #[test]
    fn writes_what_go_writes() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, 500_000_000, "2000-02-29T00:00:00.5Z", "2000-02-29T00:00:00.500000000Z"),
            (4_107_542_399, 1, "2100-02-28T23:59:59.000000001Z", "2100-02-28T23:59:59.000000001Z"),
            (4_107_542_400, 120, "2100-03-01T00:00:00.00000012Z", "2100-03-01T00:00:00.000000120Z"),
            (-1, 250_000_000, "1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.250000000Z"),
        ];
        for (seconds, nanos, short, long) in cases {
            assert_eq!(trimmed(at(seconds, nanos)), short);
            assert_eq!(fixed(at(seconds, nanos)), long);
            assert_eq!(parse(short), Some(at(seconds, nanos)));
            assert_eq!(parse(long), Some(at(seconds, nanos)));
        }
    }

    #[test]
    fn every_day_of_eight_centuries_survives_a_round_trip() {
        let first = days_from_civil(1600, 1, 1);
        for days in first..first + 2 * 146_097 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(first + 146_097), (2000, 1, 1));
    }

    #[test]
    fn takes_what_clients_send() {
        assert_eq!(parse("1700000000"), Some(at(1_700_000_000, 0)));
        assert_eq!(parse("1700000000.5"), Some(at(1_700_000_000, 500_000_000)));
        assert_eq!(parse("1700000000.000000001"), Some(at(1_700_000_000, 1)));
        assert_eq!(parse("-5"), Some(at(-5, 0)));
        assert_eq!(parse("2023-11-14T23:13:20+01:00"), Some(at(1_700_000_000, 0)));
        assert_eq!(parse("2023-11-14T21:13:20.25-01:00"), Some(at(1_700_000_000, 250_000_000)));
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ".",
            "1.x",
            "1.-2",
            "x",
            "1e9",
            "99999999999999999999",
            "2023-11-14",
            "T",
            "2023-13-14T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T00:00:00",
            "2023-11-14T00:00:00+1",
            "2023-11-14T00:00Z",
            "2023-11-14T00:00:00+é",
            "+2023-11-14T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
