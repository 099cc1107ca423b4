//! PostgreSQL's values to JSON and back.
//!
//! Values are sent in the text form, so the server reads them as the type that the statement wants there: a text as a date, a
//! number as numeric. Values come in the binary form, which every type has its own of; what JSON has no form for must be cast.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use penstock_common::json;
use serde_json::{Number, Value};
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::Cell;

/// A value that is bound.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let is_whole = matches!(*ty, Type::INT2 | Type::INT4 | Type::INT8 | Type::OID);
        let is_json = matches!(*ty, Type::JSON | Type::JSONB);
        let text = match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::String(text) if !is_json => text.clone(),
            // What a template computes is easily 3.0 where 3 is meant.
            Value::Number(number) if is_whole && number.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() < 1e15) => {
                format!("{:.0}", number.as_f64().unwrap_or_default())
            }
            other => other.to_string(),
        };
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
    to_sql_checked!();
}

/// A value that came.
pub(super) struct Read(pub(super) Cell);

impl<'a> FromSql<'a> for Read {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(
            read(ty, raw).unwrap_or_else(|| Err(format!("it is of type {}: cast it to one that JSON has, as in `x::text`", ty.name()))),
        ))
    }
    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Ok(Value::Null)))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

/// `None`: there is no form for it.
fn read(ty: &Type, raw: &[u8]) -> Option<Cell> {
    match ty.kind() {
        Kind::Domain(of) => return read(of, raw),
        Kind::Array(of) => {
            let items = <Vec<Read>>::from_sql(ty, raw).ok()?;
            return Some(
                items
                    .into_iter()
                    .map(|item| item.0)
                    .collect::<Result<Vec<_>, _>>()
                    .map(Value::Array)
                    .map_err(|why| format!("{why} ({})", of.name())),
            );
        }
        Kind::Enum(_) => return text(raw).map(Ok),
        _ => {}
    }
    let value = match *ty {
        Type::BOOL => Value::Bool(raw.first().is_some_and(|b| *b != 0)),
        Type::INT2 => i16::from_be_bytes(raw.try_into().ok()?).into(),
        Type::INT4 => i32::from_be_bytes(raw.try_into().ok()?).into(),
        Type::INT8 => i64::from_be_bytes(raw.try_into().ok()?).into(),
        Type::OID => u32::from_be_bytes(raw.try_into().ok()?).into(),
        Type::FLOAT4 => float(f32::from_be_bytes(raw.try_into().ok()?).to_string())?,
        Type::FLOAT8 => float(f64::from_be_bytes(raw.try_into().ok()?).to_string())?,
        Type::NUMERIC => numeric(raw)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::XML | Type::CHAR => text(raw)?,
        Type::JSON => return Some(json::read(raw).map_err(|why| why.to_string())),
        Type::JSONB => return Some(json::read(raw.strip_prefix(&[1])?).map_err(|why| why.to_string())),
        Type::UUID => uuid(raw)?,
        Type::DATE => date(i32::from_be_bytes(raw.try_into().ok()?))?,
        Type::TIME => {
            let of_day = SignedDuration::from_micros(i64::from_be_bytes(raw.try_into().ok()?));
            Time::midnight().checked_add(of_day).ok()?.to_string().into()
        }
        Type::TIMESTAMP => timestamp(raw, |t| t.to_zoned_datetime(TimeZone::UTC).datetime().to_string())?,
        Type::TIMESTAMPTZ => timestamp(raw, |t| t.to_string())?,
        _ if ty.name() == "citext" => text(raw)?,
        _ => return None,
    };
    Some(Ok(value))
}

fn text(raw: &[u8]) -> Option<Value> {
    std::str::from_utf8(raw).ok().map(Value::from)
}

/// NaN and infinity are texts.
fn float(text: String) -> Option<Value> {
    let number = text.parse().ok()?;
    Some(Number::from_f64(number).map_or(Value::String(text), Value::Number))
}

/// As a number where one holds it exactly (15 digits), else as text.
fn numeric(raw: &[u8]) -> Option<Value> {
    let field = |at: usize| Some(u16::from_be_bytes(raw.get(2 * at..2 * at + 2)?.try_into().ok()?));
    let (groups, weight, sign, scale) = (field(0)?, field(1)? as i16, field(2)?, field(3)?);
    match sign {
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        _ => {}
    }
    // Of ten thousand each; group 0 counts 10000^weight.
    let group = |exponent: i32| {
        let at = i32::from(weight) - exponent;
        usize::try_from(at).ok().filter(|at| *at < usize::from(groups)).map_or(Some(0), |at| field(4 + at))
    };
    let mut whole = String::new();
    for exponent in (0..=i32::from(weight)).rev() {
        whole.push_str(&format!("{:04}", group(exponent)?));
    }
    let mut fraction = String::new();
    for exponent in 1..=i32::from(scale.div_ceil(4)) {
        fraction.push_str(&format!("{:04}", group(-exponent)?));
    }
    fraction.truncate(usize::from(scale));
    let whole = whole.trim_start_matches('0');
    let digits = whole.len() + fraction.len();
    let sign = if sign == 0x4000 { "-" } else { "" };
    let text = match (whole, fraction.as_str()) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    };
    if !whole.bytes().chain(fraction.bytes()).any(|digit| digit != b'0') {
        return Some(0.into()); // with however many digits
    }
    let number = if digits <= 15 { serde_json::from_str::<Number>(&text).ok() } else { None };
    Some(number.map_or(Value::String(text), Value::Number))
}

fn uuid(raw: &[u8]) -> Option<Value> {
    let n = u128::from_be_bytes(raw.try_into().ok()?);
    let hex = format!("{n:032x}");
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]).into())
}

/// Days since 2000-01-01.
fn date(days: i32) -> Option<Value> {
    match days {
        i32::MAX => return Some("infinity".into()),
        i32::MIN => return Some("-infinity".into()),
        _ => {}
    }
    let since = Date::constant(2000, 1, 1);
    since.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok().map(|date| date.to_string().into())
}

/// Microseconds since 2000-01-01, in UTC.
fn timestamp(raw: &[u8], form: impl Fn(Timestamp) -> String) -> Option<Value> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?);
    match micros {
        i64::MAX => Some("infinity".into()),
        i64::MIN => Some("-infinity".into()),
        _ => {
            let at = micros.checked_add(946_684_800_000_000)?;
            Timestamp::from_microsecond(at).ok().map(|t| form(t).into())
        }
    }
}
