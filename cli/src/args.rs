//! The command line.

pub(crate) mod time;
mod tools;
pub(crate) mod verbs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::tools::{Kube, Runtime, Tools};

/// An ETL pipeline orchestrator: write pipelines of dependent tasks, run them here or on a cluster.
#[derive(Debug, Parser)]
#[command(name = "penstock", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Which log lines go to stderr, such as info, debug or penstock_coordinator=debug.
    #[arg(long, global = true, env = "PENSTOCK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Sends traces there, OTLP over gRPC, such as http://collector:4317.
    #[arg(long, global = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp: Option<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a pipeline here and now: coordinator, worker and store in this process.
    #[command(
        after_help = "Examples:\n  penstock run pipeline.yaml\n  penstock run pipeline.yaml --param region=us --param full=true\n\nExit status: 0 SUCCESS, 1 FAILED or CANCELLED, 2 a file or parameter that is wrong, 3 no coordinator answered."
    )]
    Run(Run),
    /// Checks a pipeline file and reports every error with its place.
    #[command(after_help = "Example:\n  penstock check pipeline.yaml")]
    Check {
        /// The file, YAML or JSON.
        file: PathBuf,
    },
    /// Prints the JSON Schema of pipeline files, for editors.
    Schema,
    /// Runs a coordinator.
    #[command(
        after_help = "Examples:\n  penstock server --store etcd://h1:2379,h2:2379,h3:2379 --grpc 127.0.0.1:7070 --http 127.0.0.1:7071\n  penstock server --store embedded:/var/lib/penstock/store.redb"
    )]
    Server(Server),
    /// Runs a worker.
    #[command(
        after_help = "Example:\n  penstock worker --coordinators c1:7070,c2:7070,c3:7070 --slots 8 --queues default,spark --code-root /srv/etl"
    )]
    Worker(Worker),
    /// Draws a pipeline's tasks and what they wait for.
    #[command(after_help = "Examples:\n  penstock graph pipeline.yaml > pipeline.svg\n  penstock graph pipeline.yaml --format mermaid")]
    Graph {
        /// The file, YAML or JSON.
        file: PathBuf,
        /// As what.
        #[arg(long, value_enum, default_value_t = GraphFormat::Svg)]
        format: GraphFormat,
    },
    /// Stores pipelines' definitions in the cluster: all of them, or none if one is wrong.
    Register(verbs::Register),
    /// Takes a pipeline off: it takes no new run until it is registered again. What runs goes on.
    Unregister {
        /// The pipeline.
        pipeline: String,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        client: Client,
    },
    /// Starts a run of a registered pipeline.
    #[command(
        after_help = "Examples:\n  penstock submit daily_etl --param region=us --wait\n  penstock submit daily_etl --run-id daily-2024-01-31    (twice: still one run)"
    )]
    Submit(Submit),
    /// Shows a run and its tasks.
    Get {
        /// The run.
        run: String,
        #[command(flatten)]
        client: Client,
    },
    /// Lists runs, newest first.
    #[command(after_help = "Example:\n  penstock list --pipeline daily_etl --state FAILED --limit 20")]
    List(List),
    /// Lists the pipelines there are, or shows one with its definition.
    Pipelines {
        /// The pipeline; without it, all.
        pipeline: Option<String>,
        #[command(flatten)]
        client: Client,
    },
    /// Follows a run until it has ended.
    Watch {
        /// The run.
        run: String,
        #[command(flatten)]
        client: Client,
    },
    /// Stops a run: its programs get SIGTERM, after their grace SIGKILL; its teardowns run.
    Cancel {
        /// The run.
        run: String,
        /// Teardowns are cancelled too.
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        client: Client,
    },
    /// Runs tasks again, in the same run: what did not succeed, or what is named.
    Rerun(verbs::Rerun),
    /// Says how tasks ended; what is below them starts again.
    Mark(verbs::Mark),
    /// Answers yes to a task that waits for a person.
    Approve(verbs::OfTask),
    /// Answers no to a task that waits for a person, or that is held: FAILED(rejected).
    Reject(verbs::OfTask),
    /// Lets a held task succeed.
    Release(verbs::OfTask),
    /// Starts nothing of a run, or of a pipeline; what runs goes on.
    Pause(verbs::Pause),
    /// Undoes a pause.
    Resume(verbs::Pause),
    /// Shows or sets the pools: counts of slots that tasks share over the whole cluster.
    Pools {
        #[command(subcommand)]
        verb: verbs::Pools,
    },
    /// Shows and steers when a pipeline runs by itself.
    Schedule {
        #[command(subcommand)]
        verb: time::Schedule,
    },
    /// Lists what starts runs of pipelines: schedules, events, files, other pipelines.
    Triggers(time::Triggers),
    /// Emits events, and lists those that started nothing.
    Events {
        #[command(subcommand)]
        verb: time::Events,
    },
    /// Runs the intervals of past dates: those that never ran, or also others.
    Backfill(time::Backfill),
    /// Lists, follows and stops backfills.
    Backfills {
        #[command(subcommand)]
        verb: time::Backfills,
    },
    /// Prints the log of a task's newest attempt, or of the one named.
    Logs(Logs),
    /// Tells why a run or task is not running, and what would unblock it.
    Explain {
        /// The run.
        run: String,
        /// The task; without it, the run.
        task: Option<String>,
        #[command(flatten)]
        client: Client,
    },
    /// Lists the workers and what they run.
    Workers {
        #[command(flatten)]
        client: Client,
    },
    /// Gives a worker nothing new; what it runs may end.
    Drain {
        /// The worker.
        worker: String,
        /// Gives it work again.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        client: Client,
    },
    /// Tells who leads, and how the store stands.
    Cluster {
        #[command(flatten)]
        client: Client,
    },
    /// Prints the completion script of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Forms of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture.
    Svg,
    /// Text for Markdown.
    Mermaid,
}

/// Kept with what was done, beside who did it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Why {
    /// Why, for those who look later.
    #[arg(long, default_value = "")]
    pub note: String,
}

/// How a client reaches the cluster and shows what it gets.
#[derive(Debug, Clone, Args)]
pub(crate) struct Client {
    /// Coordinators, host:port, separated by commas.
    #[arg(long, env = "PENSTOCK_ENDPOINT", value_delimiter = ',', default_value = "127.0.0.1:7070", value_name = "ADDR,…")]
    pub endpoint: Vec<String>,
    /// How to show it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Seconds after which a call is given up.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub deadline: u64,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The file, YAML or JSON.
    pub file: PathBuf,
    /// A parameter, name=value; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Prints the ended run as JSON and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Where state, history and logs are kept.
    #[arg(long, default_value = "./.penstock", value_name = "DIR")]
    pub state: PathBuf,
    /// Tasks at once; by default as many as there are processors, and at least 4.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: Option<u32>,
    /// The run's id; by default one is made up.
    #[arg(long)]
    pub run_id: Option<String>,
    #[command(flatten)]
    /// Which part of it.
    pub part: verbs::Part,
    #[command(flatten)]
    /// What tasks of other types need.
    pub host: Tools,
}

/// `server`.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Where state is kept: etcd://h1:2379,h2:2379 or embedded:PATH.
    #[arg(long, env = "PENSTOCK_STORE", value_name = "STORE")]
    pub store: String,
    /// The gRPC listener.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDR")]
    pub grpc: String,
    /// The HTTP listener: /healthz and /readyz.
    #[arg(long, default_value = "127.0.0.1:7071", value_name = "ADDR")]
    pub http: String,
    /// host:port at which others reach the gRPC listener; by default the listener's own address.
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,
    /// This coordinator's name; by default made of the host's name and the port.
    #[arg(long)]
    pub name: Option<String>,
    /// Where attempts' logs are, shared with the workers.
    #[arg(long, default_value = "./.penstock/logs", value_name = "DIR")]
    pub logs: PathBuf,
    /// The cluster's name: several may share one etcd.
    #[arg(long, env = "PENSTOCK_CLUSTER", default_value = "default")]
    pub cluster: String,
    /// What all its keys start with.
    #[arg(long, default_value = "/penstock", value_name = "PREFIX")]
    pub prefix: String,
    /// Listens on other addresses than loopback without TLS and tokens.
    #[arg(long)]
    pub insecure: bool,
    /// The store's user; the password comes from PENSTOCK_STORE_PASSWORD.
    #[arg(long, value_name = "USER")]
    pub store_user: Option<String>,
    /// The authority that signed etcd's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub store_ca: Option<PathBuf>,
    /// This client's certificate for etcd, PEM.
    #[arg(long, value_name = "FILE", requires = "store_key")]
    pub store_cert: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "store_cert")]
    pub store_key: Option<PathBuf>,
    /// etcd's --quota-backend-bytes, which older versions do not tell.
    #[arg(long, default_value_t = 2 * 1024 * 1024 * 1024, value_name = "BYTES")]
    pub store_quota: u64,
    /// Entries after which a checkpoint is written.
    #[arg(long, default_value_t = 5_000)]
    pub checkpoint_entries: u64,
    /// Seconds that journal entries are kept after a checkpoint covers them.
    #[arg(long, default_value_t = 60)]
    pub journal_keep: u64,
    /// Ended runs kept in history.
    #[arg(long, default_value_t = 10_000)]
    pub history_runs: usize,
}

/// `worker`.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Coordinators, host:port, separated by commas.
    #[arg(long, env = "PENSTOCK_ENDPOINT", value_delimiter = ',', default_value = "127.0.0.1:7070", value_name = "ADDR,…")]
    pub coordinators: Vec<String>,
    /// Tasks at once; by default as many as there are processors, and at least 4.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: Option<u32>,
    /// Queues served.
    #[arg(long, value_delimiter = ',', default_value = "default", value_name = "QUEUE,…")]
    pub queues: Vec<String>,
    /// Labels offered, name=value.
    #[arg(long, value_delimiter = ',', value_name = "NAME=VALUE,…")]
    pub labels: Vec<String>,
    /// The name of the cluster that it belongs to, as its coordinators have it: containers are told apart by it.
    #[arg(long, env = "PENSTOCK_CLUSTER", default_value = "default")]
    pub cluster: String,
    /// This worker's name; by default the host's name.
    #[arg(long)]
    pub name: Option<String>,
    /// What a task's workdir is relative to.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub code_root: PathBuf,
    /// Where attempts' logs go, shared with the coordinators.
    #[arg(long, default_value = "./.penstock/logs", value_name = "DIR")]
    pub logs: PathBuf,
    /// Where this worker keeps its files while attempts run; below it, a folder by the worker's name.
    #[arg(long, default_value = "./.penstock/workers", value_name = "DIR")]
    pub scratch: PathBuf,
    /// Seconds that running tasks may take after SIGTERM; then they are stopped and go to another worker.
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
    pub drain_timeout: u64,
    #[command(flatten)]
    /// What tasks of other types need.
    pub host: Tools,
}

/// `submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The pipeline.
    pub pipeline: String,
    /// The run's id; the same id twice is one run.
    #[arg(long)]
    pub run_id: Option<String>,
    /// A parameter, name=value; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    #[command(flatten)]
    /// Which part of it.
    pub part: verbs::Part,
    /// Waits for the end; exit status as of `run`.
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this pipeline.
    #[arg(long)]
    pub pipeline: Option<String>,
    /// Only in these states, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub state: Vec<String>,
    /// Only created within this time, such as 6h.
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The run.
    pub run: String,
    /// The task.
    pub task: String,
    /// Which attempt; by default the newest.
    #[arg(long, default_value_t = 0)]
    pub attempt: u32,
    /// Goes on until the task has ended.
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    /// The cluster.
    pub client: Client,
}
