//! Which files a pattern means: `*`, `?` and `[…]` within a segment of a path, as a shell reads them.

use glob::{MatchOptions, Pattern};

/// As a shell reads a pattern: a file whose name begins with a dot is one that is still being written.
pub const LIKE_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A path with wildcards, or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePattern {
    pattern: Pattern,
    fixed: usize,
}

impl FilePattern {
    /// Reads one; what is wrong with it, in words that follow its text.
    pub fn parse(path: &str) -> Result<Self, String> {
        if path.contains('\0') {
            return Err("holds a NUL character, which no path can".to_owned());
        }
        if path.split('/').any(|segment| segment == "..") {
            return Err("holds `..`: write the directory that is meant".to_owned());
        }
        if path.contains("**") {
            return Err("holds `**`: a wildcard stands for a part of one name; write a `*` for each directory".to_owned());
        }
        let pattern = Pattern::new(path).map_err(|error| format!("is no pattern: {error}"))?;
        let wild = path.find(['*', '?', '[']).unwrap_or(path.len());
        let fixed = path[..wild].rfind('/').unwrap_or(0);
        Ok(Self { pattern, fixed })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.pattern.as_str()
    }

    /// The directory below which all that it means is: no wildcard, no slash at its end.
    pub fn fixed(&self) -> &str {
        &self.as_str()[..self.fixed]
    }

    /// Whether all that it means is in that directory itself.
    pub fn is_flat(&self) -> bool {
        !self.as_str()[self.fixed..].trim_start_matches('/').contains('/')
    }

    /// Whether it means this path.
    pub fn matches(&self, path: &str) -> bool {
        self.pattern.matches_with(path, LIKE_A_SHELL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stays_within_a_name_and_hidden_files_are_not_meant() {
        let pattern = FilePattern::parse("/in/2024/[ab]?/*.csv").unwrap();
        assert_eq!(pattern.fixed(), "/in/2024");
        assert!(!pattern.is_flat());
        assert!(pattern.matches("/in/2024/a1/x.csv"));
        for other in ["/in/2024/c1/x.csv", "/in/2024/a1/.x.csv", "/in/2024/a1/b/x.csv", "/in/2024/a1/x.csv.tmp"] {
            assert!(!pattern.matches(other), "{other}");
        }
        let (flat, plain) = (FilePattern::parse("in/*.csv").unwrap(), FilePattern::parse("/in/a.csv").unwrap());
        assert_eq!((flat.fixed(), flat.is_flat()), ("in", true));
        assert_eq!((plain.fixed(), plain.is_flat()), ("/in", true));
        assert!(plain.matches("/in/a.csv"));
        assert_eq!(FilePattern::parse("*.csv").unwrap().fixed(), "");
    }

    #[test]
    fn what_leads_elsewhere_or_everywhere_is_refused() {
        for (path, word) in [("/in/../etc/*", ".."), ("/in/**/a", "**"), ("/in/[a", "no pattern"), ("/in/\0", "NUL")] {
            let why = FilePattern::parse(path).unwrap_err();
            assert!(why.contains(word), "{path}: {why}");
        }
        assert!(FilePattern::parse("/in/a..b/*").is_ok());
    }
}
