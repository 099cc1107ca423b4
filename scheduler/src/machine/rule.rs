//! When a task may start: every trigger rule and every condition on an edge compiled to one predicate over counters, so that an
//! upstream that ends costs its out-edges and never a rescan.
//!
//! | rule | accepts of each upstream | and needs |
//! | --- | --- | --- |
//! | `all_success` | success | |
//! | `all_failed` | failed | |
//! | `all_skipped` | skipped | |
//! | `all_done` | anything | |
//! | `none_failed` | success, skipped | |
//! | `none_skipped` | success, failed | |
//! | `all_done_min_one_success` | anything | a success |
//! | `none_failed_min_one_success` | success, skipped | a success |
//! | an edge `success`, `failed`, `completed`, `skipped` | that | |
//! | `one_success`, `one_failed`, `one_done` | | one of these, at once |
//! | `always` | | nothing |
//!
//! A failure that an edge which would take a success does not accept decides at once: SKIPPED(upstream_failed); unless an upstream that
//! is still open is a branch, which may not pick the task: then it is SKIPPED(branch), whoever was faster. Everything else waits until
//! all upstreams have ended, so final states do not depend on the order in which they do, `one_*` and `always` apart.
//! Then an unaccepted success or failure is SKIPPED(rule), and what only skips make impossible is SKIPPED(upstream_skipped).

use penstock_common::Reason;
use penstock_common::pipeline::{Condition, TriggerRule};
use penstock_common::state::Outcome;

/// Outcomes that an edge accepts, and whether its upstream is a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepts(u8);

impl Accepts {
    const SUCCESS: Self = Self(1);
    const FAILED: Self = Self(2);
    const SKIPPED: Self = Self(4);
    pub(crate) const ANY: Self = Self(7);
    const CHOOSES: u8 = 8;

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Of an edge from a branch.
    pub(crate) fn below_branch(self) -> Self {
        Self(self.0 | Self::CHOOSES)
    }
    fn chooses(self) -> bool {
        self.0 & Self::CHOOSES != 0
    }
    pub(crate) fn has(self, outcome: Outcome) -> bool {
        let bit = match outcome {
            Outcome::Success => Self::SUCCESS,
            Outcome::Failed => Self::FAILED,
            Outcome::Skipped => Self::SKIPPED,
        };
        self.0 & bit.0 != 0
    }
    pub(crate) fn of_condition(condition: Condition) -> Self {
        match condition {
            Condition::Success => Self::SUCCESS,
            Condition::Failed => Self::FAILED,
            Condition::Completed => Self::SUCCESS.and(Self::FAILED),
            Condition::Skipped => Self::SKIPPED,
        }
    }
    pub(crate) fn of_rule(rule: TriggerRule) -> Self {
        match rule {
            TriggerRule::AllSuccess => Self::SUCCESS,
            TriggerRule::AllFailed => Self::FAILED,
            TriggerRule::AllSkipped => Self::SKIPPED,
            TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess => Self::SUCCESS.and(Self::SKIPPED),
            TriggerRule::NoneSkipped => Self::SUCCESS.and(Self::FAILED),
            TriggerRule::AllDone
            | TriggerRule::AllDoneMinOneSuccess
            | TriggerRule::OneFailed
            | TriggerRule::OneSuccess
            | TriggerRule::OneDone
            | TriggerRule::Always => Self::ANY,
        }
    }
    /// Whether a failure of this upstream makes the task impossible at once.
    pub(crate) fn is_broken_by_failure(self) -> bool {
        self.has(Outcome::Success) && !self.has(Outcome::Failed)
    }
}

/// What a task needs besides upstreams that its edges accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// That all have ended so.
    All,
    /// And that one is a success.
    AllAndSuccess,
    /// A success.
    OneSuccess,
    /// A failure.
    OneFailed,
    /// A success or a failure.
    OneDone,
    /// Nothing.
    Nothing,
}

impl Needs {
    pub(crate) fn of_rule(rule: TriggerRule) -> Self {
        match rule {
            TriggerRule::AllSuccess
            | TriggerRule::AllFailed
            | TriggerRule::AllDone
            | TriggerRule::AllSkipped
            | TriggerRule::NoneFailed
            | TriggerRule::NoneSkipped => Self::All,
            TriggerRule::AllDoneMinOneSuccess | TriggerRule::NoneFailedMinOneSuccess => Self::AllAndSuccess,
            TriggerRule::OneSuccess => Self::OneSuccess,
            TriggerRule::OneFailed => Self::OneFailed,
            TriggerRule::OneDone => Self::OneDone,
            TriggerRule::Always => Self::Nothing,
        }
    }
    /// Whether each upstream is accepted or not by itself.
    pub(crate) fn is_all(self) -> bool {
        matches!(self, Self::All | Self::AllAndSuccess)
    }
}

/// How many upstreams are still open, how the others ended, and how many of them their edges do not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Upstream {
    pub(crate) open: u32,
    pub(crate) success: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    /// Of those that are open, branches.
    choosing: u32,
    /// Failures that decide at once.
    breaking: u32,
    /// Successes and failures that the edge does not accept.
    refused: u32,
    /// Skips that the edge does not accept.
    passed_over: u32,
}

/// What a task's rule says of its upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wait,
    Ready,
    Skip(Reason),
}

impl Upstream {
    /// One that was open ended.
    pub(crate) fn settle(&mut self, outcome: Outcome, accepts: Accepts) {
        self.open = self.open.saturating_sub(1);
        self.choosing = self.choosing.saturating_sub(u32::from(accepts.chooses()));
        match outcome {
            Outcome::Success => self.success += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
        if accepts.has(outcome) {
            return;
        }
        match outcome {
            Outcome::Failed if accepts.is_broken_by_failure() => self.breaking += 1,
            Outcome::Success | Outcome::Failed => self.refused += 1,
            Outcome::Skipped => self.passed_over += 1,
        }
    }

    /// One more upstream, as it is now.
    pub(crate) fn read(&mut self, outcome: Option<Outcome>, accepts: Accepts) {
        self.open += 1;
        self.choosing += u32::from(accepts.chooses());
        if let Some(outcome) = outcome {
            self.settle(outcome, accepts);
        }
    }

    /// Whether a branch may yet decide that the task is not to run.
    pub(crate) fn is_chosen_among(self) -> bool {
        self.choosing > 0
    }

    /// The predicate.
    pub(crate) fn verdict(self, needs: Needs) -> Verdict {
        let nothing_else = || if self.failed > 0 { Reason::UpstreamFailed } else { Reason::UpstreamSkipped };
        let upstreams = self.open + self.success + self.failed + self.skipped;
        let one = |met: bool, otherwise: Reason| match (met || upstreams == 0, self.open) {
            (true, _) => Verdict::Ready,
            (false, 1..) => Verdict::Wait,
            (false, 0) => Verdict::Skip(otherwise),
        };
        match needs {
            Needs::Nothing => Verdict::Ready,
            Needs::OneSuccess => one(self.success > 0, nothing_else()),
            Needs::OneFailed => one(self.failed > 0, if self.success > 0 { Reason::Rule } else { Reason::UpstreamSkipped }),
            Needs::OneDone => one(self.success + self.failed > 0, Reason::UpstreamSkipped),
            Needs::All | Needs::AllAndSuccess => {
                if self.breaking > 0 && self.choosing == 0 {
                    Verdict::Skip(Reason::UpstreamFailed)
                } else if self.open > 0 {
                    Verdict::Wait
                } else if self.refused > 0 {
                    Verdict::Skip(Reason::Rule)
                } else if self.passed_over > 0 {
                    Verdict::Skip(Reason::UpstreamSkipped)
                } else if needs == Needs::AllAndSuccess && self.success == 0 && upstreams > 0 {
                    Verdict::Skip(nothing_else())
                } else {
                    Verdict::Ready
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(rule: TriggerRule, open: u32, ended: &[Outcome]) -> Verdict {
        let mut upstream = Upstream::default();
        let ended = ended.iter().copied().map(Some);
        ended.chain((0..open).map(|_| None)).for_each(|outcome| upstream.read(outcome, Accepts::of_rule(rule)));
        upstream.verdict(Needs::of_rule(rule))
    }

    #[test]
    fn a_failure_decides_at_once_and_a_skip_only_when_all_have_ended() {
        use Outcome::{Failed, Skipped, Success};
        let of = |open, ended: &[Outcome]| verdict(TriggerRule::AllSuccess, open, ended);
        assert_eq!(of(0, &[]), Verdict::Ready);
        assert_eq!(of(1, &[Success]), Verdict::Wait);
        assert_eq!(of(1, &[Skipped]), Verdict::Wait);
        assert_eq!(of(1, &[Failed, Skipped]), Verdict::Skip(Reason::UpstreamFailed));
        assert_eq!(of(0, &[Success, Skipped]), Verdict::Skip(Reason::UpstreamSkipped));
        assert_eq!(of(0, &[Failed, Skipped]), Verdict::Skip(Reason::UpstreamFailed));
    }

    #[test]
    fn a_failure_waits_for_a_branch_that_may_not_pick_the_task() {
        let mut upstream = Upstream::default();
        upstream.read(None, Accepts::SUCCESS.below_branch());
        upstream.read(Some(Outcome::Failed), Accepts::SUCCESS);
        assert_eq!(upstream.verdict(Needs::All), Verdict::Wait);
        upstream.settle(Outcome::Success, Accepts::SUCCESS.below_branch());
        assert_eq!(upstream.verdict(Needs::All), Verdict::Skip(Reason::UpstreamFailed));
    }

    #[test]
    fn a_task_without_upstreams_is_ready_under_every_rule() {
        for (word, rule) in TriggerRule::WORDS {
            assert_eq!(verdict(*rule, 0, &[]), Verdict::Ready, "{word}");
        }
    }
}
