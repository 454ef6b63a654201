//! What the running kernel must offer, by its version: what fsmon found out by trying is held
//! against this.

use super::{fsmon, skip, succeed};

/// Whether the kernel is of this version or newer.
pub fn is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux has it");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).expect("a version has two numbers");
    (next(), next()) >= (major, minor)
}

/// Whether fsmon has the names of processes from BPF here; if not, that is said, and what it means.
pub fn has_bpf(otherwise: &str) -> bool {
    let said = String::from_utf8(succeed(&mut fsmon(["doctor"])).stdout).expect("UTF-8");
    let has_bpf = said.lines().any(|line| line.split_whitespace().eq(["names", "from", "BPF"]));
    if !has_bpf {
        skip(&format!("no BPF here: {otherwise}"));
    }
    has_bpf
}

/// The backends that can be asked for by name: io_uring as it is used needs Linux 6.1.
pub fn backends() -> &'static [&'static str] {
    if is_at_least(6, 1) { &["poll", "uring"] } else { &["poll"] }
}
