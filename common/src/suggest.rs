//! The nearest of some known words, for "did you mean".

/// The candidate nearest to `found`, if it is near enough to be a slip of the pen. `budget` is lowered by one for each
/// candidate and ten more for each comparison, so that a document with many errors cannot ask for quadratic work.
pub fn closest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>, budget: &mut usize) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if found.len() > LONGEST {
        return None;
    }
    let found = plain(found);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if *budget == 0 {
            break;
        }
        *budget -= 1;
        let allowed = (found.len().max(candidate.len()) / 3).min(3);
        if candidate.len() > LONGEST || found.len().abs_diff(candidate.len()) > allowed {
            continue;
        }
        *budget = budget.saturating_sub(10);
        let distance = distance(&found, &plain(candidate));
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Case and the kind of dash do not count as differences.
fn plain(word: &str) -> Vec<u8> {
    word.bytes().map(|b| if b == b'-' { b'_' } else { b.to_ascii_lowercase() }).collect()
}

/// Edits (a letter more, less, other, or two exchanged) that lead from one word to the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let exchanged: &Vec<usize> = &before_last;
                least = least.min(exchanged[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognized_and_other_words_are_not() {
        let known = ["retries", "timeout", "queue_timeout", "run"];
        let near = |word| closest(word, known, &mut 1_000);
        assert_eq!(near("retires"), Some("retries"));
        assert_eq!(near("Timeout"), Some("timeout"));
        assert_eq!(near("queue-timeout"), Some("queue_timeout"));
        assert_eq!(near("rn"), Some("run"));
        assert_eq!(near("warehouse"), None);
        assert_eq!(closest("timeot", known, &mut 0), None, "the budget is kept");
    }
}
