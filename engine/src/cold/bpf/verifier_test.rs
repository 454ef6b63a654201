//! What the programs cost the verifier, in counts, which do not depend on how busy this machine is.

use super::btf::{self, Btf};
use super::programs::{Program, Programs, WantedDetails};
use super::{OwnMaps, bpf, load};
use nix::sys::time::TimeValLike;
use nix::time::ClockId;

/// Instructions that the verifier looks at in all programs together, each once for every state in which it looks at
/// it. On Linux 6.18 they are 12,000, and take 10 to 13 ms of CPU.
const VERIFIED_MAX: usize = 16_000;

/// Calls `take` with all programs; `None` where none can be loaded.
fn with_senders<T>(take: impl FnOnce(&[Program]) -> T) -> Option<T> {
    let skip = |error| eprintln!("SKIP: no BPF programs here: {error}");
    if !cfg!(target_arch = "x86_64") {
        eprintln!("SKIP: the programs are made for x86-64 alone");
        return None;
    }
    let description = btf::read().map_err(skip).ok()?;
    let btf = Btf::of(&description).expect("the kernel's own");
    let maps = OwnMaps::new(1).map_err(skip).ok()?;
    let wanted = WantedDetails { cmdline: true, path: true };
    let programs = Programs::new(&btf, maps.borrowed(), wanted).expect("a known layout");
    let senders = programs.senders().expect("all can be assembled");
    // Without privileges there may be maps, but no programs.
    match load(&senders[0]) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            skip(error);
            None
        }
        _ => Some(take(&senders)),
    }
}

fn log(program: &Program) -> String {
    bpf::verified(program.source()).unwrap_or_else(|error| panic!("{error}"))
}

/// CPU time of this thread for what `work` does, in ms: the least of ten times.
fn cpu_ms(work: impl Fn()) -> f64 {
    let now = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("has it").num_nanoseconds();
    let least = (0..10).map(|_| {
        let begun = now();
        work();
        now() - begun
    });
    least.min().unwrap_or(0) as f64 / 1e6
}

/// `processed 924 insns (limit 1000000) …`
fn processed(log: &str) -> usize {
    let line = log.lines().rev().find_map(|line| line.strip_prefix("processed "));
    line.and_then(|line| line.split(' ').next()?.parse().ok()).expect("the last line has it")
}

/// Whether the line is of a load that gives a pointer to a structure which the verifier does not distrust, except from
/// the arguments of the program:
///
/// ```text
/// 2: (79) r1 = *(u64 *)(r8 +1848)       ; R1_w=ptr_signal_struct() R8=trusted_ptr_task_struct()
/// ```
fn searches(line: &str) -> bool {
    let Some((insn, state)) = line.split_once(';') else { return false };
    let Some((target, _)) = insn.split_once(" = *(u64 *)(") else { return false };
    let register = target.rsplit('r').next().unwrap_or_default();
    let names = [format!("R{register}"), format!("R{register}_w")];
    let mut values = state.split_whitespace().filter_map(|word| word.split_once('='));
    let value = values.find_map(|(name, value)| names.iter().any(|n| n == name).then_some(value));
    let is_pointer = value.is_some_and(|value| {
        ["ptr_", "trusted_ptr_", "rcu_ptr_"].iter().any(|kind| value.starts_with(kind))
    });
    is_pointer && !state.contains("=ctx(")
}

/// Prints what each program takes, too: `cargo test -p fsmon-engine --lib verifier_test -- --nocapture`.
#[test]
fn the_verifier_has_little_to_look_at() {
    if with_senders(<[_]>::len).is_none() {
        return;
    }
    let read = cpu_ms(|| drop(btf::read().and_then(|types| Btf::of(&types).map(drop))));
    println!("the kernel's types, mapped and parsed: {read:.1} ms of CPU");
    let assembled = cpu_ms(|| assert_ne!(with_senders(<[_]>::len), Some(0)));
    println!("the same, all programs assembled and one loaded: {assembled:.1} ms of CPU");
    let counts = with_senders(|programs| {
        let count = |program: &Program| {
            let (count, insns) = (processed(&log(program)), program.code.insns.len());
            let ms = cpu_ms(|| drop(load(program).expect("was loaded before")));
            println!("{}: {insns} instructions, {count} verified, {ms:.1} ms", program.name);
            count
        };
        programs.iter().map(count).collect::<Vec<_>>()
    });
    let sum = counts.into_iter().flatten().sum::<usize>();
    assert!(sum <= VERIFIED_MAX, "the verifier looks at {sum} instructions");
}

/// See `Distrust`: the number of instructions does not show this.
#[test]
fn the_verifier_need_not_search_all_types() {
    let known = btf::read().ok().is_some_and(|bytes| {
        Btf::of(&bytes).is_ok_and(|btf| btf.function("bpf_rdonly_cast").is_ok())
    });
    if !known {
        return eprintln!("SKIP: this kernel has no bpf_rdonly_cast");
    }
    with_senders(|programs| {
        for program in programs {
            let (name, log) = (program.name, log(program));
            let found: Vec<_> = log.lines().filter(|line| searches(line)).collect();
            assert!(found.is_empty(), "{name}: {found:#?}");
            assert!(log.contains("=untrusted_ptr_"), "{name}: the log is written otherwise");
        }
    });
}
