//! JSON as Penstock takes it from outside: every integer is what was written, or it is refused. Readers of JSON otherwise make a
//! float of an integer beyond 64 bits, which is another number (a key of a table, say) and nobody notices.

use serde::de::DeserializeOwned;

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON.
    #[error("{0}")]
    NotJson(#[from] serde_json::Error),
    /// It has an integer that would not stay what it is.
    #[error("the integer {0} has more than 64 bits: write it as a text, in quotes")]
    Inexact(String),
}

/// Reads a value.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let value = serde_json::from_slice(text)?;
    match inexact(text) {
        Some(number) => Err(Error::Inexact(number.chars().take(60).collect())),
        None => Ok(value),
    }
}

/// Whether an integer, as it is written, stays the same in 64 bits.
pub fn is_exact(integer: &str) -> bool {
    integer.parse::<i64>().is_ok() || integer.parse::<u64>().is_ok()
}

/// The first integer of a JSON text that does not.
fn inexact(text: &[u8]) -> Option<&str> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(&inside) = text.get(at) {
                    at += if inside == b'\\' { 2 } else { 1 };
                    if inside == b'"' {
                        break;
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                at += text[at..].iter().take_while(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).count();
                let number = std::str::from_utf8(&text[start..at]).unwrap_or_default();
                if !number.contains(['.', 'e', 'E']) && !is_exact(number) {
                    return Some(number);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    #[test]
    fn integers_are_exact_or_refused() {
        for exact in [
            "18446744073709551615",
            "[-9223372036854775808, 9007199254740993]",
            r#"{"a\"1234567890123456789012": "1234567890123456789012\\", "b": 1.5e300, "c": 1234567890123456789012.0}"#,
        ] {
            let value: Value = read(exact.as_bytes()).unwrap();
            assert_eq!(read::<Value>(value.to_string().as_bytes()).unwrap(), value);
        }
        for (text, number) in [
            ("18446744073709551616", "18446744073709551616"),
            (r#"{"a": ["\\", -9223372036854775809]}"#, "-9223372036854775809"),
            ("[1,12345678901234567890123]", "12345678901234567890123"),
        ] {
            assert!(read::<Value>(text.as_bytes()).unwrap_err().to_string().contains(&format!("integer {number} has")), "{text}");
        }
        assert!(matches!(read::<Value>(b"{"), Err(Error::NotJson(_))));
    }
}
