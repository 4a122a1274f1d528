//! Dates and moments moved by a time that the key and the value decide: near, of the same type, never the same.
//!
//! Each value has a shift of its own, so the order of two dates, and the time between them, do not hold. Moments are
//! moved by whole seconds and lose their fractions: the time of day is as telling as the day.

use super::Context;
use crate::engine::masking::value::{DAY_US, Value, day_of_text, text_of_day};

pub(super) fn of(context: &Context<'_>, value: &Value<'_>) -> Option<Value<'static>> {
    match value {
        Value::Day(day) => Some(Value::Day(moved(context, *day)?)),
        Value::Moment(us) => {
            let seconds = i64::from(context.settings.shift_days) * (DAY_US / 1_000_000);
            // The same moment with another fraction of a second is another value, and is moved otherwise.
            let by = amount(context, &Value::Moment(*us), seconds)?;
            Some(Value::Moment((us.div_euclid(1_000_000) + by) * 1_000_000))
        }
        Value::Text(text) => {
            let day = day_of_text(std::str::from_utf8(text).ok()?)?;
            Some(Value::Text(text_of_day(moved(context, day)?)?.into_bytes().into()))
        }
        _ => None,
    }
}

fn moved(context: &Context<'_>, day: i32) -> Option<i32> {
    let by = amount(context, &Value::Day(day), context.settings.shift_days.into())?;
    day.checked_add(i32::try_from(by).ok()?)
}

/// From −most to most, but not 0.
fn amount(context: &Context<'_>, value: &Value<'_>, most: i64) -> Option<i64> {
    let mut choices = context.choices("shift", value)?;
    let by = i64::try_from(choices.below(u64::try_from(most).ok()?)).ok()? + 1;
    Some(if choices.below(2) == 0 { by } else { -by })
}
