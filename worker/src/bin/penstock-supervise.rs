//! The supervisor as a program of its own, for tests: in the product it is `penstock supervise`.

fn main() -> std::process::ExitCode {
    penstock_worker::attempt::supervise()
}
