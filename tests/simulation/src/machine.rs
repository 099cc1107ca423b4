//! The machine's clock, kept out of a world: whoever asks for the time on the thread of a world gets the world's.
//!
//! tokio's clock is virtual by itself. Below it h2 forgets a stream it has reset after a second of `std::time::Instant`, and hyper
//! writes the date into headers: on a slow machine a seed had another history. `clock_gettime` is therefore defined here, before
//! libc's, as madsim and mad-turmoil do. Tested by `tests/cluster/determinism.rs`.

#![allow(unsafe_code, reason = "a symbol of libc can be replaced in no other way")]

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Since the beginning of the world that runs on this thread.
    static ELAPSED: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// When worlds begin, on the wall clock: 2023-11-14T22:13:20Z.
pub const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// How long their machines have been up by then.
const UP: Duration = Duration::from_secs(1_000_000);

/// It is so late on this thread; `None`: as late as on the machine.
pub fn set_elapsed(elapsed: Option<Duration>) {
    ELAPSED.set(elapsed);
}

/// libc's, for everything in this process.
///
/// # Safety
/// `time` is null or can be written to, as libc says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let began = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(EPOCH),
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => Some(UP),
        _ => None,
    };
    if let (Some(began), Some(elapsed)) = (began, ELAPSED.get())
        && !time.is_null()
    {
        let now = began + elapsed;
        let seconds = libc::time_t::try_from(now.as_secs()).unwrap_or(libc::time_t::MAX);
        // SAFETY: the caller's promise.
        unsafe { time.write(libc::timespec { tv_sec: seconds, tv_nsec: now.subsec_nanos().into() }) };
        return 0;
    }
    // SAFETY: the same arguments, for the same call.
    let done = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    libc::c_int::try_from(done).unwrap_or(-1)
}
