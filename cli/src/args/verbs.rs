//! The arguments of what people do to pipelines and runs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Client, Why};

/// `register`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  penstock register pipeline.yaml\n  penstock register pipelines/ --prune --dry-run    (what a git pipeline would change)"
)]
pub(crate) struct Register {
    /// Files, or folders of them: every .yaml, .yml and .json below that has a `pipeline`.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Unregisters the pipelines of the same namespaces that are not among the files.
    #[arg(long)]
    pub prune: bool,
    /// Unregisters the pipelines of this namespace that are not among the files, also where no file is of it any more; may be repeated.
    #[arg(long, value_name = "NAMESPACE")]
    pub prune_namespace: Vec<String>,
    /// Tells what would change, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// Which part of a pipeline, and for which time.
#[derive(Debug, Clone, Args)]
pub(crate) struct Part {
    /// Only this task: `t`, `+t` with all above it, `t+` with all below it; may be repeated. The rest is SKIPPED(not_selected).
    #[arg(long, value_name = "TASK")]
    pub only: Vec<String>,
    /// The time that the run covers: a day, 2024-01-31, or START/END, each a day or RFC 3339.
    #[arg(long, value_name = "INTERVAL")]
    pub interval: Option<String>,
}

/// `rerun`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  penstock rerun RUN --failed                  what did not succeed, and all below it
  penstock rerun RUN --from transform          this task and all below it
  penstock rerun RUN --only 'load[3]'          this instance and nothing else
  penstock rerun RUN '+report'                 this task and all above it
  penstock rerun RUN --latest                  a new run, of the newest version, with the same parameters and interval
  penstock rerun --pipeline daily --state FAILED --since 6h    the morning after")]
pub(crate) struct Rerun {
    /// The run.
    #[arg(required_unless_present = "pipeline", conflicts_with = "pipeline")]
    pub run: Option<String>,
    /// Tasks: `t`, `+t` with all above it, `t+` with all below it, `+t+` with both.
    pub tasks: Vec<String>,
    /// What failed, was cancelled, or was skipped because of that, and all below.
    #[arg(long)]
    pub failed: bool,
    /// This task and all below it; may be repeated.
    #[arg(long, value_name = "TASK")]
    pub from: Vec<String>,
    /// This task and nothing else; may be repeated.
    #[arg(long, value_name = "TASK")]
    pub only: Vec<String>,
    /// Starts a new run of the newest version instead, with the same parameters and interval.
    #[arg(long, conflicts_with_all = ["failed", "from", "only", "tasks"])]
    pub latest: bool,
    /// Every run of this pipeline that the other filters take.
    #[arg(long)]
    pub pipeline: Option<String>,
    /// With --pipeline: only runs in this state.
    #[arg(long, requires = "pipeline", default_value = "FAILED")]
    pub state: String,
    /// With --pipeline: only runs created within this time, such as 6h.
    #[arg(long, requires = "pipeline", value_name = "DURATION")]
    pub since: Option<String>,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// How a task ended, says a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Marked {
    /// SUCCESS(marked).
    Success,
    /// FAILED(marked).
    Failed,
    /// SKIPPED(marked).
    Skipped,
}

/// `mark`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  penstock mark RUN extract --as success --note 'loaded by hand'")]
pub(crate) struct Mark {
    /// The run.
    pub run: String,
    /// Tasks: `t`, `+t` with all above it, `t+` with all below it; an instance is `t[0]`.
    #[arg(required = true)]
    pub tasks: Vec<String>,
    /// As what they count.
    #[arg(long = "as", value_enum)]
    pub state: Marked,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// A verb about one task.
#[derive(Debug, Args)]
pub(crate) struct OfTask {
    /// The run.
    pub run: String,
    /// The task; an instance is `t[0]`.
    pub task: String,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// `pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The run.
    #[arg(required_unless_present = "pipeline", conflicts_with = "pipeline")]
    pub run: Option<String>,
    /// The pipeline: nothing of it is started, neither runs nor tasks.
    #[arg(long)]
    pub pipeline: Option<String>,
    #[command(flatten)]
    /// The note.
    pub why: Why,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// `pools`.
#[derive(Debug, Subcommand)]
pub(crate) enum Pools {
    /// Lists the pools, and who holds their slots.
    List {
        #[command(flatten)]
        client: Client,
    },
    /// Gives a pool so many slots; makes it if there is none.
    #[command(after_help = "Examples:\n  penstock pools set warehouse 5\n  penstock pools set warehouse unlimited")]
    Set {
        /// The pool.
        name: String,
        /// How many, or `unlimited`.
        slots: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        client: Client,
    },
    /// Removes a pool that no pipeline names.
    Delete {
        /// The pool.
        name: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        client: Client,
    },
}
