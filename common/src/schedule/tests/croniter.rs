//! Five thousand random expressions against croniter, in UTC: `tests/fixtures/croniter/README.md`.

use super::cron;
use crate::Timestamp;
use crate::schedule::Cron;

const FIXTURE: &str = include_str!("../../../../tests/fixtures/croniter/fires.txt");
/// How many fires after and before are listed, unless 1970–2100 has no more.
const NEXT: usize = 4;
const PREVIOUS: usize = 3;

fn numbers(text: &str) -> Vec<i64> {
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn random_expressions_fire_when_croniter_says() {
    let mut refused = 0;
    for line in FIXTURE.lines() {
        let (expression, rest) = line.split_once('|').unwrap();
        let (start, rest) = rest.split_once('|').unwrap();
        let Some((next, previous)) = rest.split_once('|') else {
            let problem = Cron::parse(expression).expect_err(line);
            assert!(problem.message.contains("never fires"), "{line}: {problem}");
            refused += 1;
            continue;
        };
        let schedule = cron(&[expression], "UTC");
        let start: i64 = start.parse().unwrap();
        let mut at = start;
        let next: Vec<_> = numbers(next)
            .into_iter()
            .scan(&mut at, |at, step| {
                **at += step;
                Some(**at)
            })
            .collect();
        let mut at = start;
        let previous: Vec<_> = numbers(previous)
            .into_iter()
            .scan(&mut at, |at, step| {
                **at -= step;
                Some(**at)
            })
            .collect();
        // Bounds, since the first one of 1970 ends no interval and so is no fire.
        let mut at = Timestamp(start * 60_000);
        for minute in &next {
            at = schedule.bound_after(at).expect(line);
            assert_eq!(at.0, minute * 60_000, "{line}");
        }
        assert!(next.len() == NEXT || schedule.bound_after(at).is_none(), "{line}");
        let mut at = Timestamp(start * 60_000);
        for minute in &previous {
            at = schedule.bound_at_or_before(Timestamp(at.0 - 1)).expect(line);
            assert_eq!(at.0, minute * 60_000, "{line}");
        }
        assert!(previous.len() == PREVIOUS || schedule.bound_at_or_before(Timestamp(at.0 - 1)).is_none(), "{line}");
    }
    assert!(FIXTURE.lines().count() == 5_000 && refused > 10, "{refused} that never fire");
}
