//! What the programs cost the verifier, in counts, which do not depend on how busy this machine is.

use super::btf::{self, Btf};
use super::programs::{Programs, WantedDetails};
use super::{OwnMaps, bpf};

/// Instructions that the verifier looks at in all programs together, each once for every state in which it looks at
/// it. On Linux 6.18 they are 12,000, and take 10 to 13 ms of CPU.
const VERIFIED_MAX: usize = 16_000;

/// The verifier's log of each program; `None` where no program can be loaded.
fn logs() -> Option<Vec<(&'static str, String)>> {
    let skip = |error| eprintln!("SKIP: no BPF programs here: {error}");
    let description = btf::read().map_err(skip).ok()?;
    let btf = Btf::of(&description).expect("the kernel's own");
    let maps = OwnMaps::new(1).map_err(skip).ok()?;
    let wanted = WantedDetails { cmdline: true, path: true };
    let programs = Programs::new(&btf, maps.borrowed(), wanted).expect("a known layout");
    let senders = programs.senders().expect("all can be assembled");
    let log = |source| bpf::verified(source).unwrap_or_else(|error| panic!("{error}"));
    Some(senders.iter().map(|program| (program.name, log(program.source()))).collect())
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

#[test]
fn the_verifier_has_little_to_look_at() {
    let Some(logs) = logs() else { return };
    let counts: Vec<_> = logs.iter().map(|(name, log)| (*name, processed(log))).collect();
    let sum: usize = counts.iter().map(|(_, count)| count).sum();
    assert!(sum <= VERIFIED_MAX, "{sum}: {counts:?}");
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
    for (name, log) in logs().unwrap_or_default() {
        let found: Vec<_> = log.lines().filter(|line| searches(line)).collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
        assert!(log.contains("=untrusted_ptr_"), "{name}: the log is written otherwise");
    }
}
