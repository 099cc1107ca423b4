//! The services: messages in, typed inputs to the node's loop, messages out. No decisions here.

mod backfills;
pub(crate) mod control;
mod explained;
mod generations;
mod logs;
pub(crate) mod over_http;
mod pipelines;
mod runs;
mod schedules;
pub(crate) mod status;
mod triggers;
pub(crate) mod worker;
