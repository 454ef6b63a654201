//! Any bytes as the kernel's messages about processes: a perf record, a message of our BPF programs, a datagram of
//! the proc connector, a file of /proc. Nothing panics.

#![no_main]

use fsmon_engine::hot::who::perf_record::{self, Layout};
use fsmon_engine::hot::who::{bpf_record, proc_event, procfs};
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let layout = Layout { filename: usize::from(first >> 1), cgroup: first & 1 != 0 };
    black_box(perf_record::parse(bytes, layout));
    black_box(bpf_record::parse(bytes));
    black_box(bpf_record::witnesses(bytes).count());
    black_box((bpf_record::args(bytes), bpf_record::path(bytes)));
    black_box(proc_event::parse(bytes));
    black_box(procfs::parse_stat(bytes));
    black_box(procfs::parse_status(bytes));
    black_box(procfs::parse_cgroup(bytes));
});
