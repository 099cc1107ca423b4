//! No text makes the language panic; what is wrong is within the text; and what is accepted keeps its promises.

use proptest::prelude::*;

use super::{at, definition};
use crate::Timestamp;
use crate::schedule::{Cron, Every, Moment, Problem, Schedule, Timing, Zone};

fn is_placed(problem: &Problem, text: &str) -> bool {
    text.get(problem.at.clone()).is_some() && !problem.message.is_empty() && !problem.hint.is_empty()
}

/// Text that is nearly an expression.
fn nearly() -> impl Strategy<Value = String> {
    let field = "(\\*|[0-9]{1,3}|mon|FEB|sunday|L|15W|[0-9]#2|\\?|H|,)([-/,][0-9a-z*]{0,3}){0,3}";
    prop_oneof![prop::collection::vec(field, 3..8).prop_map(|fields| fields.join(" ")), "[0-9*/,\\- a-zL#?@é]{0,40}", ".{0,40}",]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_with_a_place_and_a_hint(text in nearly()) {
        match Cron::parse(&text) {
            Ok(cron) => {
                for warning in cron.warnings() {
                    prop_assert!(is_placed(warning, &text), "{warning:?}");
                }
                prop_assert_eq!(Cron::parse(cron.as_str()).ok(), Some(cron.clone()));
                let schedule = Schedule::new(definition(Timing::Cron(vec![cron]), "Europe/Paris")).unwrap();
                let now = at("2024-03-31T00:59:00Z");
                if let Some(next) = schedule.next_after(now) {
                    prop_assert!(next > now && schedule.previous_at_or_before(next) == Some(next));
                    let interval = schedule.interval_of(next).unwrap();
                    prop_assert!(interval.start() < next && schedule.interval_at(interval.start()) == Some(interval));
                    prop_assert_eq!(schedule.intervals_starting(interval.start()..=interval.start()).collect::<Vec<_>>(), [interval]);
                }
            }
            Err(problem) => prop_assert!(is_placed(&problem, &text), "{problem:?}"),
        }
    }

    #[test]
    fn any_text_is_a_moment_a_period_and_a_zone_or_refused(
        text in prop_oneof!["[0-9T:+\\-Z. é]{0,25}", "20[0-9]{2}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-9]{2}(:[0-9]{2}(\\.[0-9]{0,4})?)?(Z|[+-][0-2][0-9](:?[0-9]{2})?)?)?", ".{0,30}"],
    ) {
        let zone = Zone::get("America/Havana").unwrap();
        match Moment::parse(&text, &zone) {
            Ok(moment) => prop_assert!(moment.first().0 <= moment.last().0 + 1),
            Err(problem) => prop_assert!(is_placed(&problem, &text), "{problem:?}"),
        }
        if let Err(problem) = Every::parse(&text) {
            prop_assert!(is_placed(&problem, &text), "{problem:?}");
        }
        if let Err(problem) = Zone::get(&text) {
            prop_assert!(is_placed(&problem, &text), "{problem:?}");
        }
    }

    #[test]
    fn any_instant_can_be_asked_about(ms in any::<i64>(), period in 1_000_u64..100_000_000, near in -5_000_000_000_000_i64..5_000_000_000_000) {
        let every = Timing::Every(Every::new(crate::Millis(period)).unwrap());
        let cron = Timing::Cron(vec![Cron::parse("*/5 3 * * *").unwrap()]);
        for timing in [every, cron] {
            let mut definition = definition(timing, "Pacific/Apia");
            for start in [None, Some(Timestamp(ms)), Some(Timestamp(near))] {
                definition.start = start;
                let Ok(schedule) = Schedule::new(definition.clone()) else { continue };
                for at in [ms, near].map(Timestamp) {
                    let (next, previous) = (schedule.next_after(at), schedule.previous_at_or_before(at));
                    prop_assert!(next.is_none_or(|next| next > at) && previous.is_none_or(|previous| previous <= at));
                    for fire in next.iter().chain(&previous) {
                        let interval = schedule.interval_of(*fire).unwrap();
                        prop_assert!(start.is_none_or(|start| interval.start() >= start));
                    }
                    schedule.intervals_starting(at..=Timestamp(i64::MAX)).next();
                    schedule.starts(at);
                    definition.timezone.local(at);
                    definition.timezone.date(at);
                }
            }
        }
    }
}
