//! Every limit in one place, with its unit and its arithmetic.

/// Events one input may yield. Wider work is a range or continues on later ticks.
pub const MAX_EVENTS_PER_INPUT: usize = 4_096;
/// Bytes one input's events may take, encoded.
pub const MAX_EVENT_BYTES_PER_INPUT: usize = 256 * 1024;
/// A journal entry, encoded and compressed: two thirds of etcd's 1.5 MiB request limit.
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;
/// Encoded events at which a batch is closed: 1 MiB less one input's share, twice for safety of the encoding.
pub const BATCH_BYTES: usize = MAX_ENTRY_BYTES - 2 * MAX_EVENT_BYTES_PER_INPUT;
/// Encoded events of one entry, before compression: what a reader takes at most. A batch is closed far below it.
pub const MAX_ENTRY_EVENTS_BYTES: usize = 32 * 1024 * 1024;
/// Inputs decided in one batch.
pub const MAX_INPUTS_PER_BATCH: usize = 4_096;
/// Entries above this size are compressed.
pub const COMPRESS_ABOVE_BYTES: usize = 4 * 1024;
/// One value in the store (a chunk of a checkpoint, a definition or history).
pub const MAX_VALUE_BYTES: usize = 512 * 1024;
/// Operations in one store transaction: etcd takes 128, the guards of a fenced write are counted apart.
pub const MAX_TXN_OPS: usize = 100;
/// Bytes in one store transaction: etcd takes 1.5 MiB in all.
pub const MAX_TXN_BYTES: usize = 1024 * 1024;
/// Task states in one chunk, the unit that is copied on write and written to a checkpoint.
pub const TASKS_PER_CHUNK: usize = 4_096;

/// A pipeline document, as text.
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1024 * 1024;
/// Tasks written in one document.
pub const MAX_TASKS_PER_PIPELINE: usize = 100_000;
/// Upstreams of one task in a document.
pub const MAX_EDGES_PER_PIPELINE: usize = 1_000_000;
/// Nesting in a document: `tasks.x.env.K.secret` is 5 deep.
pub const MAX_DOCUMENT_DEPTH: usize = 16;
/// Items of one mapped task.
pub const MAX_ITEMS: usize = 100_000;
/// They as JSON lines.
pub const MAX_ITEMS_BYTES: usize = 16 * 1024 * 1024;
/// Tasks of one run, instances of mapped ones among them.
pub const MAX_TASKS_PER_RUN: usize = 1_000_000;
/// Pools of a cluster.
pub const MAX_POOLS: usize = 10_000;
/// Runs that may have started one another, a `pipeline` task each.
pub const MAX_CHILD_DEPTH: u32 = 16;
/// Runs that may start one another by their ends.
pub const MAX_TRIGGER_DEPTH: u32 = 100;
/// Instructions that one expression or template may take in the scheduler.
pub const EXPRESSION_FUEL: u64 = 100_000;
/// What people did to a run: the newest are kept.
pub const MAX_AUDIT_PER_RUN: usize = 100;
/// Intervals with SUCCESS that a pipeline that uses `previous` keeps, the newest; and as many of each task that put something out.
pub const MAX_PREVIOUS_KEPT: usize = 32;
/// Outputs of earlier intervals that a pipeline keeps, names and all: what a lease may carry. The oldest go first.
pub const MAX_PREVIOUS_BYTES: usize = MAX_LEASE_OUTPUT_BYTES;
/// Cron expressions of one schedule: each is asked for every fire.
pub const MAX_CRON_PER_SCHEDULE: usize = 100;
/// Triggers of one pipeline: each that looks for files is asked for them all the time.
pub const MAX_TRIGGERS_PER_PIPELINE: usize = 100;
/// Pipelines for which one trigger waits.
pub const MAX_UPSTREAMS_PER_TRIGGER: usize = 100;
/// Ranges that a ledger keeps of a pipeline, the newest; part of the journal's format, since `apply` drops older ones.
pub const MAX_LEDGER_RANGES: usize = 10_000;
/// Intervals that one step of a timetable looks at.
pub const MAX_INTERVALS_PER_INPUT: usize = 10_000;
/// Slots of a queue's workers, and of a pool, that backfills may take (percent), so that what falls due finds some free.
pub const BACKFILL_SHARE_PERCENT: u64 = 50;
/// Intervals of one backfill.
pub const MAX_BACKFILL_INTERVALS: usize = 10_000;
/// Events that were accepted and wait for their runs.
pub const MAX_EVENTS_WAITING: usize = 100_000;
/// What these carry, together.
pub const MAX_EVENT_BYTES_WAITING: usize = 128 * 1024 * 1024;
/// Events that one run may stand for.
pub const MAX_EVENTS_PER_RUN: usize = 1_000;
/// What these carry, together.
pub const MAX_EVENT_BYTES_PER_RUN: usize = 1024 * 1024;
/// What an event may carry, as JSON.
pub const MAX_EVENT_PAYLOAD_BYTES: usize = 16 * 1024;
/// Events that started no run, the newest; part of the journal's format, since `apply` drops older ones.
pub const MAX_DEAD_EVENTS: usize = 1_000;
/// Files that one trigger remembers.
pub const MAX_FILES_PER_TRIGGER: usize = 100_000;
/// Backfills that have ended, the newest; part of the journal's format.
pub const MAX_ENDED_BACKFILLS: usize = 200;
/// Parameters of a run, as JSON text.
pub const MAX_PARAMS_BYTES: usize = 64 * 1024;
/// Outputs of one task.
pub const MAX_TASK_OUTPUT_BYTES: usize = 64 * 1024;
/// Outputs of all tasks of one run.
pub const MAX_RUN_OUTPUT_BYTES: usize = 16 * 1024 * 1024;
/// Outputs that one lease may carry.
pub const MAX_LEASE_OUTPUT_BYTES: usize = 256 * 1024;
/// Attempts of one task that state keeps, the newest; part of the journal's format, since `apply` drops older ones.
pub const MAX_ATTEMPTS_KEPT: usize = 100;
/// Metrics of one attempt.
pub const MAX_METRICS_PER_TASK: usize = 64;
/// A failure's text in state; the rest is in the log.
pub const MAX_DETAIL_BYTES: usize = 1_024;
/// A person's note on a verb.
pub const MAX_NOTE_BYTES: usize = 1_024;

/// How long the id of an archived run is kept (milliseconds): a repeated submit finds it.
pub const RUN_ID_WINDOW_MS: u64 = 90 * 24 * 3_600_000;

/// Tasks of runs that have not ended, over the cluster.
pub const MAX_LIVE_TASKS: usize = 2_000_000;
/// Runs of one pipeline that wait for `max_active_runs`.
pub const MAX_QUEUED_RUNS_PER_PIPELINE: usize = 10_000;
/// Slots one worker may offer.
pub const MAX_SLOTS_PER_WORKER: u32 = 10_000;
/// Workers that may have died while running a task before it is called poison.
pub const POISON_DEATHS: u32 = 3;
/// `max_lost` where the document says nothing.
pub const DEFAULT_MAX_LOST: u32 = 5;
/// Versions of one pipeline kept for new and running runs; older ones go when no run is bound to them.
pub const MAX_VERSIONS_PER_PIPELINE: usize = 100;

/// Ended runs that did not succeed stay live this long, so that `rerun` finds them (milliseconds).
pub const KEEP_UNSUCCESSFUL_MS: u64 = 24 * 3_600_000;
/// At most so many of them; the oldest are archived first.
pub const KEEP_UNSUCCESSFUL_RUNS: usize = 200;
/// How long answers to request ids are kept (milliseconds).
pub const REQUEST_WINDOW_MS: u64 = 2 * 3_600_000;
/// How long the id of an archived run is still held in state beside `ids/` (milliseconds).
pub const ARCHIVED_ID_WINDOW_MS: u64 = 600_000;
/// A minted run id older than this and unknown is refused (milliseconds).
pub const MINTED_RUN_ID_WINDOW_MS: u64 = 7 * 24 * 3_600_000;

/// Tasks in one page of a reply.
pub const MAX_PAGE_TASKS: usize = 1_000;
/// Runs in one page of a list.
pub const MAX_PAGE_RUNS: usize = 1_000;
/// One gRPC message: a page of tasks, or a document.
pub const MAX_MESSAGE_BYTES: usize = 40 * 1024 * 1024;

/// Liveness of a worker: silence for this long loses its attempts (milliseconds).
pub const WORKER_SESSION_MS: u64 = 30_000;
/// How long a closed stream's worker has to come back (milliseconds).
pub const WORKER_RECONNECT_MS: u64 = 1_000;
/// How often a worker says it is alive (milliseconds).
pub const HEARTBEAT_MS: u64 = 500;
/// Without an acknowledgement for this long, a worker asks every coordinator who leads (milliseconds).
pub const WORKER_SEEK_LEADER_MS: u64 = 2_000;
/// A coordinator's session in the store (seconds, as etcd counts leases).
pub const COORDINATOR_SESSION_S: i64 = 5;

/// Log bytes kept of one attempt.
pub const MAX_LOG_BYTES: u64 = 64 * 1024 * 1024;
/// Log bytes taken from one attempt a second.
pub const MAX_LOG_BYTES_PER_S: u64 = 16 * 1024 * 1024;

const _: () = assert!(BATCH_BYTES > MAX_EVENT_BYTES_PER_INPUT);
const _: () = assert!(MAX_VALUE_BYTES * 2 <= MAX_TXN_BYTES);
const _: () = assert!(HEARTBEAT_MS * 2 <= WORKER_SEEK_LEADER_MS);
