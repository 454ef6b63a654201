//! Runs the situations of `tests/e2e/merged.rs` on the model. The reader takes a turn after every step, every two
//! steps, and so on, up to only one turn at the end.

use super::files::Files;
use super::history::{Act, History, Mix, Op, PIDS, Step, first};
use super::run::Bench;
use super::show;
use fsmon_harness::situations::{Do, SITUATIONS, START};

/// The model's path for a path of a situation. Situations run in a directory of their own, `t`, as the names that exist
/// at the start ([`first`]) are in others.
fn at(path: &str) -> String {
    match path.strip_prefix("../out") {
        Some(outside) => format!("/o{outside}"),
        None => format!("/r/w/t/{path}").trim_end_matches('/').to_owned(),
    }
}

/// A turn in which the reader takes all events.
const TURN: Step = Step::Turn { events: 0, beside: 0, is_split: false };

/// The step of a history for a step of a situation. [`Op::Create`] also closes the file.
fn step(one: Do) -> Step {
    let op = match one {
        Do::Make(path) => Op::Create(at(path)),
        Do::Mkdir(path) => Op::Mkdir(at(path)),
        Do::Rename(old, new) => Op::Rename(at(old), at(new)),
        Do::Exchange(a, b) => Op::Exchange(at(a), at(b)),
        Do::Link(old, new) => Op::Link(at(old), at(new)),
        Do::Remove(path) => Op::Remove(at(path)),
        Do::Pause => return TURN,
    };
    Step::Act(Act { pid: PIDS[0], op })
}

/// The situation as a history of `mix`, with a turn after each `every` steps.
fn history(mix: Mix, script: &[Do], every: usize) -> History {
    let mut steps = vec![step(Do::Mkdir(""))];
    steps.extend(START.iter().copied().map(step));
    steps.extend([TURN; 3]);
    for some in script.chunks(every) {
        steps.extend(some.iter().copied().map(step));
        steps.push(TURN);
    }
    History { mix, steps }
}

/// Asserts that the model refuses no step.
fn assert_possible(name: &str, history: &History) {
    let mut files = Files::new(history.mix.reuse());
    let acts = history.steps.iter().filter_map(|step| match step {
        Step::Act(act) => Some(act.op.clone()),
        Step::Turn { .. } => None,
    });
    for op in first(history.mix).into_iter().chain(acts) {
        assert!(op.apply(&mut files).is_some(), "{name}: {op:?}");
    }
}

#[test]
fn what_the_kernel_merges_is_reported() {
    let bench = Bench::new();
    let mut wrong = String::new();
    for (name, script) in SITUATIONS {
        for (mix, every) in [Mix::Plain, Mix::Links, Mix::Exchanges]
            .into_iter()
            .flat_map(|mix| (1..=script.len()).map(move |every| (mix, every)))
        {
            let history = history(mix, script, every);
            assert_possible(name, &history);
            let outcome = bench.run(&history);
            let is_whole = outcome.faults.is_empty() && outcome.losses == 0;
            if !is_whole {
                wrong += &format!(
                    "{name}, {mix:?}, read after each {every}:\n{}",
                    show(&history, &outcome)
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
