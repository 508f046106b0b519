//! Times and durations, as people write and read them.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The longest duration that is taken: 100 years.
const LONGEST: u64 = 100 * 365 * 86_400;

/// A duration like `10m`, `2h30m`, `90s` or `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a duration like 10m, 2h30m, 90s or 1d";
        let mut rest = text;
        let mut seconds: u64 = 0;
        let mut largest = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| EXPECTED)?;
            let unit = match rest.as_bytes().get(digits) {
                Some(b'd') => 86_400,
                Some(b'h') => 3600,
                Some(b'm') => 60,
                Some(b's') => 1,
                None if digits == text.len() => {
                    return Err(format!("{EXPECTED}: {text} of what? s, m, h or d"));
                }
                _ => return Err(EXPECTED.to_owned()),
            };
            // Each unit at most once, the larger first: 30m2h is a slip.
            if unit >= largest {
                return Err(EXPECTED.to_owned());
            }
            largest = unit;
            let more = number
                .checked_mul(unit)
                .and_then(|more| seconds.checked_add(more));
            seconds = more
                .filter(|total| *total <= LONGEST)
                .ok_or("longer than 100 years")?;
            rest = &rest[digits + 1..];
        }
        match seconds {
            0 => Err(EXPECTED.to_owned()),
            seconds => Ok(Span(Duration::from_secs(seconds))),
        }
    }
}

/// A duration in the form that [`Span`] reads; the part of a second that is left counts as one.
pub(crate) fn span(time: Duration) -> String {
    let mut seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, letter) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
        if seconds >= unit {
            out.push_str(&format!("{}{letter}", seconds / unit));
            seconds %= unit;
        }
    }
    out
}

/// A moment as it was written: `2026-11-21T18:00`, `18:00` (today, or tomorrow where that is over), `+2h`, or with the
/// offset of a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So long from now.
    In(Duration),
    /// The next time that a clock on the wall shows this.
    Next(Time),
    /// By a local clock.
    Local(DateTime),
    /// Wherever one is.
    Exact(Timestamp),
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(span) = text.strip_prefix('+') {
            return span.parse::<Span>().map(|span| Moment::In(span.0));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Moment::Exact(timestamp));
        }
        // Without its time, a date would mean midnight, which is rarely meant.
        if text.contains(':') {
            if let Ok(local) = text.parse::<DateTime>() {
                return Ok(Moment::Local(local));
            }
            if text.parse::<Date>().is_err()
                && let Ok(time) = text.parse::<Time>()
            {
                return Ok(Moment::Next(time));
            }
        }
        Err("expected a time like 2026-11-21T18:00, 18:00 or +2h".to_owned())
    }
}

impl Moment {
    /// The moment itself, in microseconds since the Unix epoch, seen from `now`. None where the calendar has no such time.
    pub(crate) fn microseconds(self, now: &Zoned) -> Option<i64> {
        let timestamp = match self {
            Moment::In(span) => now.timestamp().checked_add(span).ok()?,
            Moment::Exact(timestamp) => timestamp,
            Moment::Local(local) => local.to_zoned(now.time_zone().clone()).ok()?.timestamp(),
            Moment::Next(time) => {
                let on = |date: Date| date.to_datetime(time).to_zoned(now.time_zone().clone());
                let today = on(now.date()).ok()?;
                let next = match today > *now {
                    true => today,
                    false => on(now.date().tomorrow().ok()?).ok()?,
                };
                next.timestamp()
            }
        };
        Some(timestamp.as_microsecond())
    }
}

/// A time of the store for people: RFC 3339 to the second, in the local time zone.
pub(crate) fn local(microseconds: i64) -> String {
    match Timestamp::from_microsecond(microseconds) {
        Ok(time) => {
            let local = time.to_zoned(TimeZone::system());
            local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
        Err(_) => format!("{microseconds} µs"),
    }
}

/// A time that was written for machines, for people.
pub(crate) fn local_of(utc: &str) -> String {
    match utc.parse::<Timestamp>() {
        Ok(time) => local(time.as_microsecond()),
        Err(_) => utc.to_owned(),
    }
}

/// A time of the store for machines: RFC 3339 in UTC, to the microsecond.
pub(crate) fn utc(microseconds: i64) -> String {
    match Timestamp::from_microsecond(microseconds) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => format!("{microseconds} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("2h30m", 9000),
            ("1d", 86_400),
            ("1d2h3m4s", 93_784),
            ("0h5m", 300),
            ("36500d", LONGEST),
        ] {
            assert_eq!(
                text.parse::<Span>(),
                Ok(Span(Duration::from_secs(seconds))),
                "{text}"
            );
            let written = span(Duration::from_secs(seconds));
            assert_eq!(
                written.parse::<Span>(),
                Ok(Span(Duration::from_secs(seconds)))
            );
        }
        for text in [
            "",
            "10",
            "m",
            "10x",
            "-10m",
            "1.5h",
            "10 m",
            "30m2h",
            "1m1m",
            "0s",
            "36501d",
            "10mm",
            "ten",
            "99999999999999999999s",
            "١m",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!(span(Duration::from_millis(9500)), "10s");
        assert_eq!(span(Duration::ZERO), "0s");
    }

    #[test]
    fn moments_are_seen_from_now() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = "2026-11-21T17:30"
            .parse::<DateTime>()
            .unwrap()
            .to_zoned(zone)
            .unwrap();
        for (text, moment) in [
            ("+2h", "2026-11-21T18:30:00Z"),
            ("+90s", "2026-11-21T16:31:30Z"),
            ("18:00", "2026-11-21T17:00:00Z"),
            ("17:30", "2026-11-22T16:30:00Z"),
            ("17:29:59", "2026-11-22T16:29:59Z"),
            ("2026-11-21T18:00", "2026-11-21T17:00:00Z"),
            ("2026-11-21 18:00", "2026-11-21T17:00:00Z"),
            ("2026-11-21T18:00Z", "2026-11-21T18:00:00Z"),
            ("2026-11-21T18:00-05:00", "2026-11-21T23:00:00Z"),
            ("2025-01-01T00:00", "2024-12-31T23:00:00Z"),
        ] {
            let read: Moment = text.parse().unwrap();
            let expected: Timestamp = moment.parse().unwrap();
            assert_eq!(
                read.microseconds(&now),
                Some(expected.as_microsecond()),
                "{text}"
            );
        }
        for text in [
            "",
            "soon",
            "2026-11-21",
            "25:00",
            "18",
            "1800",
            "+",
            "+2",
            "2026-02-30T18:00",
            "-2h",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        let far: Moment = "+36500d".parse().unwrap();
        assert!(far.microseconds(&now).is_some());
    }

    #[test]
    fn times_are_written_for_people_and_machines() {
        assert_eq!(utc(1_795_280_400_123_456), "2026-11-21T17:00:00.123456Z");
        assert_eq!(utc(i64::MAX), format!("{} µs", i64::MAX));
        assert_eq!(local(i64::MIN), format!("{} µs", i64::MIN));
    }
}
