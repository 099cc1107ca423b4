//! The arguments of what is about time: schedules and backfills.

use clap::{Args, Subcommand, ValueEnum};

use super::{Client, Why};

/// `schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Lists when a schedule fires, and what became of its intervals.
    #[command(after_help = "Example:\n  penstock schedule preview daily_etl --from 2024-03-30 --to 2024-04-01")]
    Preview {
        /// The pipeline.
        pipeline: String,
        /// Intervals that end at or after this date or time, in the pipeline's zone.
        #[arg(long, value_name = "DATE")]
        from: String,
        /// Intervals that end by then; at most 1,000 are shown.
        #[arg(long, value_name = "DATE", default_value = "")]
        to: String,
        #[command(flatten)]
        client: Client,
    },
    /// Shows the next intervals of a schedule, and what was skipped.
    Next {
        /// The pipeline.
        pipeline: String,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 5)]
        count: u32,
        #[command(flatten)]
        client: Client,
    },
    /// Starts nothing by a schedule, or by another trigger: what falls due meanwhile is skipped.
    Pause(Trigger),
    /// Undoes a pause, and tells what would fill the gap.
    Resume(Trigger),
    /// Makes intervals due again, or passes over those to come.
    #[command(after_help = "Example:\n  penstock schedule rewind daily_etl --to 2024-01-31 --note 'the source was corrected'")]
    Rewind {
        /// The pipeline.
        pipeline: String,
        /// Where the next interval begins: at the last time of the schedule that is not after this.
        #[arg(long, value_name = "DATE")]
        to: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        client: Client,
    },
}

/// `schedule pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// The pipeline.
    pub pipeline: String,
    /// Another of its triggers.
    #[arg(long, default_value = "schedule")]
    pub trigger: String,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// `triggers`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A trigger is paused and resumed with: penstock schedule pause PIPELINE --trigger NAME"
)]
pub(crate) struct Triggers {
    /// Only of this pipeline.
    #[arg(default_value = "")]
    pub pipeline: String,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
    /// Something else than to list them.
    #[command(subcommand)]
    pub verb: Option<TriggerVerb>,
}

/// What is done to a trigger.
#[derive(Debug, Subcommand)]
pub(crate) enum TriggerVerb {
    /// Makes a new token for an event trigger's webhook, and shows it once. The one before is no longer valid.
    #[command(
        after_help = "Then:\n  curl -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' -d '{}' http://COORDINATOR:7071/api/v1/hooks/default/PIPELINE/TRIGGER"
    )]
    Token {
        /// The pipeline.
        pipeline: String,
        /// The trigger.
        trigger: String,
        /// Takes the token away instead: nobody may call the webhook.
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        client: Client,
    },
}

/// `events`.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Tells the cluster that something happened: it starts a run of each pipeline that has a trigger for it.
    #[command(after_help = "Example:\n  penstock events emit claims.ready --payload '{\"region\": \"eu\"}' --id batch-4711")]
    Emit {
        /// The event's name.
        name: String,
        /// What it carries, as JSON.
        #[arg(long, default_value = "{}", value_name = "JSON")]
        payload: String,
        /// Its id: sent twice it is still one event. One is minted if it is not said.
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        client: Client,
    },
    /// Lists events that started no run where they should have, newest first, and why.
    Dead {
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        client: Client,
    },
}

/// Which intervals that ran before run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reprocess {
    /// None: only those that never ran, or were skipped.
    None,
    /// Also those that failed or were cancelled.
    Failed,
    /// All.
    All,
}

/// The order of a backfill's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// The oldest interval first.
    Oldest,
    /// The newest first.
    Newest,
}

/// `backfill`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  penstock backfill daily_etl --start-date 2024-01-01 --end-date 2024-01-31 --dry-run
  penstock backfill daily_etl --start-date 2024-01-01 --end-date 2024-01-31 --wait
  penstock backfill daily_etl --start-date 2024-01-01 --end-date 2024-01-31 --task new_source
  penstock backfill daily_etl --start-date 2024-01-01 --end-date 2024-01-31 --reprocess all --note 'a corrected join'")]
pub(crate) struct Backfill {
    /// The pipeline.
    pub pipeline: String,
    /// The first day, or time, at which an interval may start, in the pipeline's zone.
    #[arg(long, value_name = "DATE")]
    pub start_date: String,
    /// The last one, included.
    #[arg(long, value_name = "DATE")]
    pub end_date: String,
    /// Which of the intervals that ran before run again.
    #[arg(long, value_enum, default_value_t = Reprocess::None)]
    pub reprocess: Reprocess,
    /// Only this task, as `t`, `+t`, `t+` or `+t+`; may be repeated. What is above it counts as done.
    #[arg(long, value_name = "TASK")]
    pub task: Vec<String>,
    /// A parameter of its runs; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Runs of it at once; 4 if it is not said, 1 where a run waits for the one before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_active: Option<u32>,
    /// Which interval comes first.
    #[arg(long, value_enum, default_value_t = Order::Oldest)]
    pub order: Order,
    /// The length of intervals, for a pipeline without a schedule, such as 1d.
    #[arg(long, value_name = "DURATION", default_value = "")]
    pub every: String,
    /// The ends of its runs start dependent pipelines too.
    #[arg(long)]
    pub cascade: bool,
    /// Tells exactly what would run, and why not the rest, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Its id; one is minted if it is not said. The same id again is the same backfill.
    #[arg(long)]
    pub id: Option<String>,
    /// Follows it until it has ended.
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// `backfills`.
#[derive(Debug, Subcommand)]
pub(crate) enum Backfills {
    /// Lists backfills, newest first.
    List {
        /// Only of this pipeline.
        #[arg(long, default_value = "")]
        pipeline: String,
        #[command(flatten)]
        client: Client,
    },
    /// Shows a backfill and its intervals.
    Show {
        /// The backfill.
        id: String,
        #[command(flatten)]
        client: Client,
    },
    /// Follows a backfill until it has ended.
    Watch {
        /// The backfill.
        id: String,
        #[command(flatten)]
        client: Client,
    },
    /// Makes no further run of it; what runs goes on.
    Pause(OfBackfill),
    /// Undoes a pause.
    Resume(OfBackfill),
    /// Makes no further run of it, and cancels those that go on.
    Cancel(OfBackfill),
}

/// A verb about one backfill.
#[derive(Debug, Args)]
pub(crate) struct OfBackfill {
    /// The backfill.
    pub id: String,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}
