//! Ranges: a number becomes the lower bound of its range, a date the first day of its year or month, an address its
//! network. No key: whoever sees it knows in which range the value lies, which is what it is for.

use crate::engine::masking::masker::{DateRange, TransformSettings};
use crate::engine::masking::value::{
    DAY_US, Decimal, Declared, Value, date_of, day_of, day_of_text, text_of_day,
};

pub(super) fn of(
    settings: &TransformSettings,
    declared: Declared,
    value: &Value<'_>,
) -> Option<Value<'static>> {
    let width = i64::from(settings.range_width);
    Some(match value {
        Value::Integer(number) => Value::Integer(number.div_euclid(width).checked_mul(width)?),
        Value::Decimal(number) => Value::Decimal(Decimal::whole(floor(number.floor()?, width)?)),
        Value::Float(number) => {
            let width = width as f64;
            Value::Float((number / width).floor() * width)
        }
        Value::Day(day) => Value::Day(first_of(*day, settings)?),
        Value::Moment(us) => {
            let day = first_of(i32::try_from(us.div_euclid(DAY_US)).ok()?, settings)?;
            Value::Moment(i64::from(day) * DAY_US)
        }
        Value::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            // A document is not a number, even where it looks like one.
            declared.is_text().then_some(())?;
            let made = match day_of_text(text) {
                Some(day) => text_of_day(first_of(day, settings)?)?,
                None => Decimal::whole(floor(Decimal::of_text(text)?.floor()?, width)?).to_text(),
            };
            Value::Text(made.into_bytes().into())
        }
        // A network that is as wide already would be shown as it is.
        Value::Address(address) => {
            let network = address.network(24, 48);
            (network.prefix < address.prefix).then_some(Value::Address(network))?
        }
        Value::Bytes(_) | Value::Uuid(_) | Value::Hardware(_) => return None,
    })
}

fn floor(number: i128, width: i64) -> Option<i128> {
    number.div_euclid(width.into()).checked_mul(width.into())
}

fn first_of(day: i32, settings: &TransformSettings) -> Option<i32> {
    let date = date_of(day)?.first_of_month();
    day_of(match settings.range_dates {
        DateRange::Year => date.first_of_year(),
        DateRange::Month => date,
    })
}
