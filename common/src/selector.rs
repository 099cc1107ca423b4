//! Which tasks of a run are meant: `t`, `+t` with all above it, `t+` with all below it, `+t+` with both.

use std::fmt;
use std::str::FromStr;

use crate::TaskKey;
use crate::ids::InvalidId;

/// A task, and whether what is above and below it is meant too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// With all above it.
    pub above: bool,
    /// The task, or one instance of a mapped one.
    pub task: TaskKey,
    /// With all below it.
    pub below: bool,
}

impl FromStr for Selector {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (above, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let (below, name) = rest.strip_suffix('+').map_or((false, rest), |name| (true, name));
        Ok(Self { above, task: TaskKey::parse(name)?, below })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plus = |on: bool| if on { "+" } else { "" };
        write!(f, "{}{}{}", plus(self.above), self.task, plus(self.below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_before_means_above_and_after_means_below() {
        for (text, above, below) in [("t", false, false), ("+t", true, false), ("t[3]+", false, true), ("+t[x]+", true, true)] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!((selector.above, selector.below, selector.to_string().as_str()), (above, below, text));
        }
        for bad in ["", "+", "++t", "t++", "t[", "t[]", "T"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
