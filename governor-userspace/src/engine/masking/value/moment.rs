//! Days and moments, and their ISO texts. Years 1 to 9999; what is infinite or before Christ is not read.

use jiff::civil::{Date, Time};
use jiff::{Span, Unit};

/// The first day of PostgreSQL's own count.
const EPOCH: Date = jiff::civil::date(2000, 1, 1);
pub(in crate::engine::masking) const DAY_US: i64 = 86_400_000_000;

pub(in crate::engine::masking) fn date_of(day: i32) -> Option<Date> {
    let span = Span::new().try_days(day).ok()?;
    EPOCH.checked_add(span).ok().filter(|date| (1..=9999).contains(&date.year()))
}

pub(in crate::engine::masking) fn day_of(date: Date) -> Option<i32> {
    date.since((Unit::Day, EPOCH)).ok().map(|span| span.get_days())
}

pub(super) fn finite_day(day: i32) -> Option<i32> {
    date_of(day).map(|_| day)
}

pub(super) fn finite_moment(us: i64) -> Option<i64> {
    finite_day(i32::try_from(us.div_euclid(DAY_US)).ok()?).map(|_| us)
}

/// `YYYY-MM-DD` and nothing else.
pub(in crate::engine::masking) fn day_of_text(text: &str) -> Option<i32> {
    let iso = text.len() == 10 && text.as_bytes().get(4) == Some(&b'-');
    iso.then(|| text.parse::<Date>().ok())?.filter(|date| date.year() >= 1).and_then(day_of)
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`, and with a zone its offset behind it: `+02`, `-03:30`, `+00:19:32`.
pub(super) fn moment_of_text(text: &str, has_zone: bool) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix([' ', 'T'])?;
    let (time, offset_s) = match rest.find(['+', '-']).and_then(|at| rest.split_at_checked(at)) {
        Some((time, offset)) if has_zone => (time, seconds_of(offset)?),
        None if !has_zone => (rest, 0),
        _ => return None,
    };
    let time: Time = time.parse().ok()?;
    let midnight = jiff::civil::time(0, 0, 0, 0);
    let ns = midnight.until((Unit::Nanosecond, time)).ok()?.get_nanoseconds();
    let us = i64::from(day_of_text(date)?) * DAY_US + ns / 1000 - offset_s * 1_000_000;
    finite_moment(us)
}

fn seconds_of(offset: &str) -> Option<i64> {
    let (sign, parts) = match offset.as_bytes().first()? {
        b'-' => (-1, offset.get(1..)?),
        _ => (1, offset.get(1..)?),
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in parts.split(':') {
        let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) && unit > 0;
        seconds += plain.then(|| part.parse::<i64>().ok())?? * unit;
        unit /= 60;
    }
    Some(sign * seconds)
}

pub(in crate::engine::masking) fn text_of_day(day: i32) -> Option<String> {
    date_of(day).map(|date| date.to_string())
}

pub(super) fn text_of_moment(us: i64, has_zone: bool) -> Option<String> {
    let date = date_of(i32::try_from(us.div_euclid(DAY_US)).ok()?)?;
    let of_day = us.rem_euclid(DAY_US);
    let (s, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    let zone = if has_zone { "+00" } else { "" };
    Some(format!("{date} {h:02}:{m:02}:{s:02}{fraction}{zone}"))
}
