//! The vocabulary every other crate speaks: ids, states, events, records, limits and the pipeline document.
//!
//! Nothing here does I/O ([`walk`] apart, which lists directories), reads a clock or draws a random number; time and randomness come
//! in as values.
//! Start with [`state`] (the seven states), then [`event`] (the facts a journal holds), then [`pipeline`].

pub mod context;
pub mod digest;
pub mod duration;
pub mod engine;
pub mod event;
pub mod ids;
pub mod items;
pub mod json;
pub mod lease;
pub mod limits;
pub mod metrics;
pub mod paths;
pub mod pattern;
pub mod pipeline;
pub mod record;
pub mod schedule;
pub mod selector;
pub mod sql;
pub mod state;
pub mod suggest;
pub mod time;
pub mod walk;

pub use digest::Digest;
pub use duration::Millis;
pub use event::Event;
pub use ids::{
    BackfillId, Epoch, EventNo, Fence, Index, NodeName, PipelineName, PoolName, QueueName, RequestId, RunId, RunNo, Seq, SessionId, TaskId,
    TaskKey, TriggerName, WorkerName,
};
pub use items::Items;
pub use selector::Selector;
pub use state::{Reason, State};
pub use time::{Interval, Now, Timestamp};
