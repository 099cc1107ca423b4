//! Every trigger rule over three upstreams, each ended in every way and in every order, beside what Airflow itself decided
//! (`tests/fixtures/airflow`). Where we differ is written here, and in the user documentation.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::pipeline::{Task, TriggerRule};
use penstock_common::{Reason, State};

use super::model::{Outcome, below, pipeline, ruled};
use super::world::World;
use crate::machine::rule::Accepts;

/// By rule: sequences of arrivals and what was decided after 0, 1, 2 and 3 of them.
type Decisions = BTreeMap<String, BTreeMap<String, String>>;

fn airflows() -> Decisions {
    let text = include_str!("../../../tests/fixtures/airflow/trigger_rules.json");
    let fixture: serde_json::Value = serde_json::from_str(text).unwrap();
    let rules = fixture["rules"].as_object().unwrap().iter();
    rules.map(|(rule, of)| (rule.clone(), serde_json::from_value(of["in_turn"].clone()).unwrap())).collect()
}

/// How the task below stands, in the letters of the fixture.
fn decided(w: &World) -> char {
    let task = w.task("r", "t");
    match (task.state, task.reason) {
        (State::Pending, None) => '.',
        (State::Running, None) => 'r',
        (State::Skipped, Some(Reason::UpstreamFailed)) => 'u',
        (State::Skipped, Some(_)) => 'k',
        other => panic!("{other:?}"),
    }
}

/// What we decide, as the upstreams end one after another.
fn ours(rule: TriggerRule, arrivals: &str) -> String {
    let names = ["x0", "x1", "x2"];
    let mut tasks: Vec<(String, Task)> = vec![("t".to_owned(), ruled(rule, &names))];
    for (name, letter) in names.iter().zip(arrivals.chars()) {
        if letter == 'u' {
            let above = format!("above_{name}");
            tasks.push(((*name).to_owned(), below(&[&above])));
            tasks.push((above, Task::noop()));
        } else {
            tasks.push(((*name).to_owned(), Task::noop()));
        }
    }
    let mut w = World::with(pipeline("p", tasks), 9);
    w.submit("r");
    let mut decisions = String::from(decided(&w));
    for (name, letter) in names.iter().zip(arrivals.chars()) {
        match letter {
            's' => w.end(name, &Outcome::Success),
            'f' => w.end(name, &Outcome::Exit(1)),
            'u' => w.end(&format!("above_{name}"), &Outcome::Exit(1)),
            'k' => w.end(name, &Outcome::Skip),
            other => panic!("{other}"),
        }
        decisions.push(decided(&w));
    }
    decisions
}

/// A rule, the upstreams in order of arrival, what Airflow decides in the end, and what we decide.
type Difference = (String, String, char, char);

/// Where the final decision is another one, and why.
fn expected() -> BTreeSet<Difference> {
    let mut differences = BTreeSet::new();
    let mut differ = |rule: TriggerRule, arrivals: String, airflow, ours| {
        differences.insert((rule.as_str().to_owned(), arrivals, airflow, ours));
    };
    for arrivals in sequences() {
        let has = |letter| arrivals.contains(letter);
        let failed = has('f') || has('u');
        // Airflow goes by which it sees first; here a failure is told from a skip whoever was faster.
        if let (Some(skip), Some(failure)) = (arrivals.find('k'), arrivals.find(['f', 'u']))
            && skip < failure
        {
            differ(TriggerRule::AllSuccess, arrivals.clone(), 'k', 'u');
        }
        // Airflow's documentation passes over skipped upstreams, and so do we; its code does not.
        if has('k') && (has('s') || failed) {
            differ(TriggerRule::AllDoneMinOneSuccess, arrivals.clone(), 'k', if has('s') { 'r' } else { 'u' });
        }
        // Here an upstream that could not run for a failure is a failure, as for every other rule.
        if has('u') && !has('f') && !has('s') {
            differ(TriggerRule::OneDone, arrivals.clone(), 'k', 'r');
        }
    }
    differences
}

fn sequences() -> Vec<String> {
    let letters = ['s', 'f', 'u', 'k'];
    let pairs = letters.iter().flat_map(|a| letters.iter().map(move |b| format!("{a}{b}")));
    pairs.flat_map(|pair| letters.iter().map(move |c| format!("{pair}{c}"))).collect()
}

#[test]
fn trigger_rules_decide_as_airflow_does_but_for_what_is_written_here() {
    let airflows = airflows();
    assert_eq!(airflows.len(), TriggerRule::WORDS.len());
    let (expected, mut found) = (expected(), BTreeSet::new());
    let mut timing: BTreeMap<(&str, char, &str), u32> = BTreeMap::new();
    for (word, rule) in TriggerRule::WORDS {
        for arrivals in sequences() {
            let (theirs, ours) = (&airflows[*word][&arrivals], ours(*rule, &arrivals));
            let last = |decisions: &str| decisions.chars().last().unwrap();
            if last(theirs) != last(&ours) {
                found.insert(((*word).to_owned(), arrivals.clone(), last(theirs), last(&ours)));
            }
            let waits = |decisions: &str| decisions.chars().take_while(|letter| *letter == '.').count();
            if last(theirs) == last(&ours) && waits(theirs) != waits(&ours) {
                let when = if waits(&ours) < waits(theirs) { "sooner" } else { "later" };
                *timing.entry((*word, last(&ours), when)).or_default() += 1;
            }
            // Nothing but a failure where a success would do and the end of the last upstream has a task skipped.
            let skipped_before_the_end = ours[..arrivals.len()].contains(['u', 'k']);
            let fails_at_once = Accepts::of_rule(*rule).is_broken_by_failure() && arrivals[..arrivals.len() - 1].contains(['f', 'u']);
            assert_eq!(skipped_before_the_end, fails_at_once, "{word} {arrivals}: {ours}");
        }
    }
    let (missing, more): (Vec<_>, Vec<_>) = (expected.difference(&found).collect(), found.difference(&expected).collect());
    assert!(missing.is_empty() && more.is_empty(), "not met: {missing:#?}\nnot written here: {more:?}");
    // Where the final decision is the same: Airflow skips once its rule cannot be met any more, and here one waits for all upstreams but
    // for a failure where a success would do; `one_done` takes one that is SKIPPED(upstream_failed) at once.
    let differ = BTreeMap::from([
        (("all_done_min_one_success", 'k', "later"), 1),
        (("all_failed", 'k', "later"), 48),
        (("all_skipped", 'k', "later"), 60),
        (("all_success", 'k', "later"), 6),
        (("none_skipped", 'k', "later"), 28),
        (("one_done", 'r', "sooner"), 14),
    ]);
    assert_eq!(timing, differ, "what the user documentation says of timing");
}
