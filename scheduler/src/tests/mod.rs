//! The scheduler as a whole. [`world`] drives a leader with a virtual clock and followers, [`people`] and [`fleet`] are what clients and
//! modelled workers do; [`checker`] is a second, naive account of every event, and judges each step; [`random`] lets chance choose the
//! steps; [`scenarios`] say exactly which events follow; [`explain`] and [`measure`] are what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod airflow;
mod brief;
mod checker;
mod explain;
mod faults;
mod fleet;
mod large;
mod measure;
mod model;
mod people;
mod random;
mod scale;
mod scenarios;
mod world;
