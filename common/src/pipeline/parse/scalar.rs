//! What an unquoted word means: the core schema of YAML 1.2.2, section 10.3.2. `yes`, `no`, `on` and `off` are text
//! there, while YAML 1.1 readers take them for booleans.

/// The value of an unquoted scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Core {
    Null,
    Bool(bool),
    /// `None`: a whole number beyond 64 bits.
    Int(Option<i64>),
    Float(f64),
    Text,
}

/// Reads an unquoted scalar.
pub(super) fn resolve(text: &str) -> Core {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Core::Null,
        "true" | "True" | "TRUE" => return Core::Bool(true),
        "false" | "False" | "FALSE" => return Core::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Core::Float(f64::NAN),
        _ => {}
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|d| all(d, |b| matches!(b, b'0'..=b'7'))) {
        return Core::Int(i64::from_str_radix(digits, 8).ok());
    }
    if let Some(digits) = text.strip_prefix("0x").filter(|d| all(d, |b| b.is_ascii_hexdigit())) {
        return Core::Int(i64::from_str_radix(digits, 16).ok());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Core::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if all(unsigned, |b| b.is_ascii_digit()) {
        return Core::Int(text.parse().ok());
    }
    match is_float(unsigned).then(|| text.parse()) {
        Some(Ok(value)) => Core::Float(value),
        _ => Core::Text,
    }
}

/// Whether a YAML 1.1 reader would take this text for a boolean.
pub(super) fn is_yaml_1_1_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" => Some(true),
        "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn all(text: &str, check: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(check)
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty()),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    mantissa_fits && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_the_core_schema_says() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(text), Core::Null, "{text}");
        }
        for (text, value) in [("0", 0), ("-7", -7), ("+12", 12), ("010", 10), ("0o17", 15), ("0xff", 255)] {
            assert_eq!(resolve(text), Core::Int(Some(value)), "{text}");
        }
        assert_eq!(resolve("99999999999999999999"), Core::Int(None));
        for (text, value) in [("1.0", 1.0), (".5", 0.5), ("1.", 1.0), ("-2e3", -2000.0), ("1E-2", 0.01), ("-.inf", f64::NEG_INFINITY)] {
            assert_eq!(resolve(text), Core::Float(value), "{text}");
        }
        for text in ["yes", "no", "on", "tRuE", ".", "-", "+", "1e", "e5", "1.2.3", "1_000", "0x", "inf", "nan", "2024-01-31", "10:30", "é"]
        {
            assert_eq!(resolve(text), Core::Text, "{text}");
        }
    }
}
