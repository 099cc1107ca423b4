//! The services: messages in, typed inputs to the node's loop, messages out. No decisions here.

pub(crate) mod control;
mod explained;
mod generations;
mod logs;
mod pipelines;
mod runs;
pub(crate) mod status;
pub(crate) mod worker;
