//! The URL of a request, put together from the document's words and the values among them. Pure.
//!
//! A value is data: within a URL it is percent-encoded, so it is one segment, one query value or a part of one, whatever it
//! holds. A value at the very start of the URL is taken as it is (`{{ params.base }}/items`), as is one that is marked
//! `| safe`.

use url::Url;

use crate::attempt::template::Piece;

/// The URL, or what is wrong with it.
pub(super) fn url(pieces: &[Piece]) -> Result<Url, String> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(words) => text.push_str(words),
            Piece::Value(value) if text.is_empty() => text.push_str(value),
            Piece::Value(value) if matches!(value.as_str(), "." | "..") => {
                return Err(format!("the value {value:?} within {text:?}… would step out of its place in the path"));
            }
            Piece::Value(value) => encode(&mut text, value),
        }
    }
    let url = Url::parse(&text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    check(&url)?;
    Ok(url)
}

/// What holds of redirects too.
pub(super) fn check(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{:?} is no URL that begins with http:// or https:// and names a host", url.as_str()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not shown: it may be somebody's password.
        return Err(format!(
            "the URL of {} holds a user or password, which would be in logs: give the header Authorization as a secret",
            url.host_str().unwrap_or_default()
        ));
    }
    Ok(())
}

fn encode(text: &mut String, value: &str) {
    // A port may be part of a value for the host; it cannot end the host.
    let in_host = text.find("://").is_some_and(|at| !text[at + 3..].contains(['/', '?', '#', '\\']));
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            b':' if in_host => text.push(':'),
            _ => {
                use std::fmt::Write as _;
                let _ = write!(text, "%{byte:02X}"); // into a String, which does not fail
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pieces: &[(bool, &str)]) -> Result<String, String> {
        let pieces: Vec<_> =
            pieces.iter().map(|(value, text)| if *value { Piece::Value((*text).into()) } else { Piece::Text((*text).into()) }).collect();
        url(&pieces).map(Into::into)
    }

    #[test]
    fn a_value_stays_where_it_is_put() {
        let nasty = "a/../b?x=1&y#z\"; touch pwned\n$(id)%2F";
        let path = made(&[(false, "http://h/v1/"), (true, nasty), (false, "/x")]).unwrap();
        assert_eq!(path, "http://h/v1/a%2F..%2Fb%3Fx%3D1%26y%23z%22%3B%20touch%20pwned%0A%24%28id%29%252F/x");
        let parsed = Url::parse(&made(&[(false, "http://h/?q="), (true, nasty), (false, "&r=1")]).unwrap()).unwrap();
        let query: Vec<_> = parsed.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        assert_eq!(query, [("q".to_owned(), nasty.to_owned()), ("r".to_owned(), "1".to_owned())]);
        assert!(made(&[(false, "http://h/a/"), (true, ".."), (false, "/b")]).is_err());
    }

    #[test]
    fn a_value_cannot_name_another_host() {
        assert_eq!(made(&[(true, "http://h:1/base"), (false, "/items")]).unwrap(), "http://h:1/base/items");
        assert_eq!(made(&[(false, "http://"), (true, "h:80"), (false, "/")]).unwrap(), "http://h/");
        for evil in ["evil.com/", "evil.com#", "evil.com?", "x@evil.com", "evil.com\\"] {
            assert!(made(&[(false, "http://"), (true, evil), (false, ".example.com/")]).is_err(), "{evil}");
        }
    }

    #[test]
    fn what_is_no_url_of_the_web_is_refused_and_no_password_is_shown() {
        for bad in ["ftp://h/", "file:///etc/passwd", "h/x", "", "http://"] {
            assert!(made(&[(false, bad)]).is_err(), "{bad}");
        }
        let error = made(&[(false, "http://user:hunter2@h/")]).unwrap_err();
        assert!(error.contains("Authorization") && !error.contains("hunter2"), "{error}");
    }
}
