//! Makes a history that fails smaller: removes and simplifies steps as long as it still fails.

use super::history::{History, Step};

/// The smallest history found for which `fails` returns true.
pub(super) fn shrink(history: &History, mut fails: impl FnMut(&History) -> bool) -> History {
    let mut best = history.clone();
    loop {
        let before = best.steps.clone();
        for len in [16, 8, 4, 2, 1] {
            let mut at = 0;
            while at < best.steps.len() {
                let mut tried = best.clone();
                tried.steps.drain(at..(at + len).min(best.steps.len()));
                if fails(&tried) {
                    best = tried;
                } else {
                    at += 1;
                }
            }
        }
        for at in 0..best.steps.len() {
            for simpler in simpler(&best.steps[at]) {
                let mut tried = best.clone();
                tried.steps[at] = simpler;
                if fails(&tried) {
                    best = tried;
                }
            }
        }
        if best.steps == before {
            return best;
        }
    }
}

fn simpler(step: &Step) -> Vec<Step> {
    match step {
        Step::Act(act) => {
            let pid = super::history::PIDS[0];
            if act.pid == pid {
                Vec::new()
            } else {
                vec![Step::Act(super::history::Act { pid, ..act.clone() })]
            }
        }
        Step::Turn { events, beside, is_split } => {
            let (events, beside, is_split) = (*events, *beside, *is_split);
            vec![
                Step::Turn { events, beside, is_split: false },
                Step::Turn { events, beside: 0, is_split },
                Step::Turn { events: 0, beside, is_split },
            ]
        }
    }
}
