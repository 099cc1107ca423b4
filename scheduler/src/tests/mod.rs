//! The scheduler as a whole. [`support`] drives a leader with a virtual clock, followers and modelled workers;
//! [`invariants`] is a second, naive account of every event, and judges each step; [`random`] lets chance choose the steps;
//! [`scenarios`] say exactly which events follow; [`explain`] and [`measure`] are what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod explain;
mod faults;
mod invariants;
mod measure;
mod random;
mod scale;
mod scenarios;
mod support;
