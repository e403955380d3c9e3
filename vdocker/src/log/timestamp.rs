//! Times in a log's lines: RFC 3339 in UTC with nine digits after the point, always 30 bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a time.
pub(crate) const LENGTH: usize = 30;

const DAY: u64 = 86_400;

/// The last second of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// Formats times; those of one second share the work.
#[derive(Debug, Default)]
pub(crate) struct Formatter {
    second: Option<u64>,
    text: [u8; 20],
}

impl Formatter {
    /// Appends a time, moved into the years 1970 to 9999.
    pub(crate) fn append(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(LATEST);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = civil(second);
        }
        out.extend_from_slice(&self.text);
        let mut fraction = [b'Z'; 10];
        digits(u64::from(since.subsec_nanos()), &mut fraction[..9]);
        out.extend_from_slice(&fraction);
    }
}

/// `YYYY-MM-DDTHH:MM:SS.`
fn civil(second: u64) -> [u8; 20] {
    let (year, month, day) = date(second / DAY);
    let time = second % DAY;
    let mut text = *b"0000-00-00T00:00:00.";
    digits(year, &mut text[..4]);
    digits(month, &mut text[5..7]);
    digits(day, &mut text[8..10]);
    digits(time / 3600, &mut text[11..13]);
    digits(time / 60 % 60, &mut text[14..16]);
    digits(time % 60, &mut text[17..19]);
    text
}

/// Fills a field with the last digits of a number.
fn digits(mut number: u64, field: &mut [u8]) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Year, month and day of a number of days since 1970, in years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let since_0000 = days + 719_468;
    let (era, of_era) = (since_0000 / 146_097, since_0000 % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Days since 1970 of a date from then on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Reads what [`Formatter::append`] wrote.
pub(super) fn parse(text: &[u8]) -> Option<SystemTime> {
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
    if separators.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    let plausible = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !plausible || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let nanos = u32::try_from(number(&text[20..29])?).ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |number, &digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}
