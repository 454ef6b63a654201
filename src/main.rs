//! `fsmon`: who changed which file. Everything is in `fsmon-cli`; here is only the allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fsmon_cli::main()
}
