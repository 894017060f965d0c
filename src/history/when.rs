//! A moment of the past as people type it: `14:00`, `2h ago`, `30m`, `yesterday 9:30` as a date, or RFC 3339.

use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};

/// The moment that `text` means; a time of day is the last one that was.
///
/// # Errors
/// With a sentence on what is wanted.
pub(crate) fn parse(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    moment(text, now).ok_or_else(|| {
        format!("{text:?}: a time is wanted, such as 14:00, \"2026-03-01 14:00\", or 2h for two hours ago")
    })
}

fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let zone = now.time_zone().clone();
    if let Some(time) = time_of_day(text) {
        let today = now.date().to_datetime(time).to_zoned(zone.clone()).ok()?;
        if today <= *now {
            return Some(today.timestamp());
        }
        let yesterday = now.date().checked_sub(1.day()).ok()?;
        return Some(yesterday.to_datetime(time).to_zoned(zone).ok()?.timestamp());
    }
    let span = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Ok(before) = span.parse::<SignedDuration>() {
        return now.timestamp().checked_sub(before.abs()).ok();
    }
    let date_time: DateTime = text.parse().ok()?;
    Some(date_time.to_zoned(zone).ok()?.timestamp())
}

/// `14:00`, `9:30`, `14:00:05`.
fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.split(':').map(|part| {
        let digits =
            (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<i8>().ok()).flatten()
    });
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Zoned = "2026-03-02T12:00:00+00:00[UTC]".parse().unwrap();
        for (text, expected) in [
            ("11:30", "2026-03-02T11:30:00Z"),
            ("9:05:07", "2026-03-02T09:05:07Z"),
            ("14:00", "2026-03-01T14:00:00Z"),
            ("2h", "2026-03-02T10:00:00Z"),
            ("90m ago", "2026-03-02T10:30:00Z"),
            ("2026-02-28 08:00", "2026-02-28T08:00:00Z"),
            ("2026-02-28T08:00:00+01:00", "2026-02-28T07:00:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(parse(text, &now), Ok(expected), "{text}");
        }
        for wrong in ["", "noon", "25:00", "14:00:00:00", "14"] {
            assert!(parse(wrong, &now).is_err(), "{wrong}");
        }
    }
}
