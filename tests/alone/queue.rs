//! A queue of the kernel that is full.

use fsmon_harness::{Area, Fsmon, Sysctl, alone, fsmon, is_root, named, sh};

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

#[test]
fn roots_are_found_again_after_a_loss() {
    let _alone = alone();
    if !is_root() {
        return;
    }
    // A filesystem of its own: what others do fills no queue.
    let mut area = Area::new();
    let base = area.tmpfs("own", "size=8m");
    let root = base.join("up/root");
    sh(&base, "mkdir -p up/root/old");
    let Some(limit) = Sysctl::set("fs.fanotify.max_queued_events", "64") else { return };
    let mut command = fsmon(TREE);
    let running =
        Fsmon::start(command.args(["--bounded-queue", "--batch-window", "1s"]).arg(&root));
    drop(limit);
    sh(
        &base,
        "cd up/root; for i in $(seq 400); do : > f$i; done; cd ../..; mv up gone; mkdir -p up/root/new",
    );
    // The loss is taken in, and everything is known from there on.
    running.wait_lines(&base, &["LOSS queue_overflow"]);
    running.sync(&root);
    sh(&base, "touch up/root/new/f; touch gone/root/unseen; mv up gone/");
    let ended = running.stop();
    let lines = named(&ended.events(), &base);
    let loss = lines.iter().position(|line| line.starts_with("LOSS")).expect("a loss");
    assert_eq!(
        lines[lines.len() - 2..],
        ["CREATE up/root/new/f by touch", "RENAME up/root/ -> ?/ by mv"],
        "{lines:#?}"
    );
    assert!(!lines[loss..].iter().any(|line| line.contains("unseen")), "{lines:#?}");
}
