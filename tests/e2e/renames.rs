//! Paths as they were when it happened: renames in, out, within and over, trees that move and
//! vanish, several watched directories.

use fsmon_harness::{
    Area, Fsmon, assert_follows, briefs, changes, is_root, listing, record_and_replay,
    record_and_replay_with, repeats, sh,
};

const TREE: [&str; 2] = ["-t", "create,delete,rename"];

#[test]
fn within_and_over_an_existing_file() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "mkdir d; echo x > a; echo y > d/b");
    let lines = changes(&area.watched(), || sh(&area.watched(), "mv a c; mv c d/b"));
    // There is no DELETE for what a rename replaces.
    assert_eq!(lines, ["RENAME a -> c", "RENAME c -> d/b"]);
}

#[test]
fn in_and_out() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let outside = area.dir("outside");
    sh(&outside, "echo x > a");
    let watched = area.watched();
    let lines = changes(&watched, || sh(&outside, "mv a ../watched/b; mv ../watched/b c"));
    assert_eq!(lines, ["RENAME ? -> b", "RENAME b -> ?"]);
}

#[test]
fn a_directory_comes_in_with_all_that_is_in_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, outside) = (area.watched(), area.dir("outside"));
    sh(&outside, "mkdir -p d/e/f; echo x > d/e/f/deep; echo y > d/top");
    let expected = [
        "CREATE n/e/ (found)",
        "CREATE n/e/f/ (found)",
        "CREATE n/e/f/deep (found)",
        "CREATE n/top (found)",
    ];
    let events = record_and_replay_with(&watched, &TREE, |running| {
        sh(&outside, "mv d ../watched/n");
        running.wait_lines(&watched, &expected);
        sh(&watched, "echo z > n/e/f/new; mv n/e n/g; rm n/g/f/deep");
    });
    let lines = briefs(&events, &watched);
    assert_eq!(lines[0], "RENAME ?/ -> n/");
    let mut found = lines[1..5].to_vec();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(lines[5..], ["CREATE n/e/f/new", "RENAME n/e/ -> n/g/", "DELETE n/g/f/deep"]);
}

#[test]
fn a_directory_goes_out_and_is_not_followed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, outside) = (area.watched(), area.dir("outside"));
    sh(&watched, "mkdir -p d/e; echo x > d/e/f");
    let lines = changes(&watched, || {
        sh(&outside, "mv ../watched/d d; echo y > d/e/unseen; rm d/e/f; mv d ../watched/back");
    });
    assert_eq!(lines[0], "RENAME d/ -> ?/");
    assert_eq!(lines[1], "RENAME ?/ -> back/");
    assert!(!lines.iter().any(|line| line.ends_with("unseen")), "{lines:#?}");
}

#[test]
fn below_a_directory_that_was_renamed_paths_are_the_new_ones() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir -p a/b/c/d/e; echo x > a/b/c/d/e/f");
    let lines = changes(&watched, || {
        sh(
            &watched,
            "echo 1 > a/b/c/d/e/g; mv a z; echo 2 > z/b/c/d/e/h; mv z/b/c z/y; rm z/y/d/e/f",
        );
    });
    let expected = [
        "CREATE a/b/c/d/e/g",
        "RENAME a/ -> z/",
        "CREATE z/b/c/d/e/h",
        "RENAME z/b/c/ -> z/y/",
        "DELETE z/y/d/e/f",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn two_directories_change_places() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir a b; echo x > a/in-a; echo y > b/in-b");
    record_and_replay(&watched, &TREE, || {
        for _ in 0..repeats(20) {
            sh(&watched, "mv a t; mv b a; mv t b; echo z > a/n; rm a/n");
        }
    });
}

#[test]
fn a_whole_tree_is_removed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(
        &watched,
        "for i in 0 1 2 3 4 5 6 7 8 9; do mkdir -p t/$i/x/y; echo x > t/$i/x/y/f; echo x > t/$i/g; done",
    );
    let before = listing(&watched).len();
    let events = record_and_replay(&watched, &["-t", "delete"], || sh(&watched, "rm -rf t"));
    assert_eq!(events.len(), before);
    assert!(listing(&watched).is_empty());
}

#[test]
fn trees_made_and_removed_as_fast_as_it_goes() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, times) = (area.watched(), repeats(50));
    let events = record_and_replay(&watched, &TREE, || {
        let each = "mkdir -p a/b/c/d; echo x > a/b/c/d/f; mv a/b a/e; rm -rf a";
        sh(&watched, &format!("for i in $(seq {times}); do {each}; done"));
    });
    assert_eq!(events.len(), times * (5 + 1 + 5));
}

#[test]
fn several_and_nested_roots_report_each_change_once() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, other) = (area.watched(), area.dir("other"));
    sh(&watched, "mkdir inner");
    let inner = watched.join("inner");
    let mut command = fsmon_harness::fsmon(["-f", "json", "-t", "create,delete,rename"]);
    let running = Fsmon::start(command.args([&watched, &inner, &other]));
    sh(&watched, "echo x > inner/a; echo y > b; echo z > ../other/c; mv inner/a ../other/d");
    let ended = running.stop();
    ended.assert_complete();
    let base = area.path("");
    let expected = [
        "CREATE watched/inner/a",
        "CREATE watched/b",
        "CREATE other/c",
        "RENAME watched/inner/a -> other/d",
    ];
    assert_eq!(briefs(&ended.events(), &base), expected);
}

#[test]
fn direct_children_only() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir d");
    let events =
        fsmon_harness::record(&watched, &["--no-recursive", "-t", "create,delete,rename"], || {
            sh(
                &watched,
                "echo x > a; echo y > d/unseen; mkdir e; echo z > e/unseen; mv a d/b; mv d/b c",
            );
        });
    let lines = briefs(&events, &watched);
    assert!(!lines.iter().any(|line| line.contains("unseen")), "{lines:#?}");
    for line in ["CREATE a", "CREATE e/"] {
        assert!(lines.iter().any(|one| one == line), "{line}: {lines:#?}");
    }
    assert_eq!(lines.last().map(String::as_str), Some("RENAME ? -> c"), "{lines:#?}");
}

#[test]
fn the_watched_directory_itself_is_renamed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, base) = (area.watched(), area.path(""));
    let events = fsmon_harness::record(&watched, &TREE, || {
        sh(&base, "echo x > watched/a; mv watched moved; echo y > moved/b; mv moved watched");
    });
    let expected = [
        "CREATE watched/a",
        "RENAME watched/ -> ?/",
        "RENAME ?/ -> watched/",
        "CREATE watched/a (found)",
        "CREATE watched/b (found)",
    ];
    let mut lines = briefs(&events, &base);
    lines[3..].sort();
    assert_eq!(lines, expected);
}

#[test]
fn bind_mounts_and_hard_links_keep_their_names() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    record_and_replay(&watched, &TREE, || {
        sh(&watched, "mkdir d; echo x > a; ln a b; ln a d/c; rm a; mv b d/e; rm d/c; rm d/e");
    });
}

#[test]
fn parallel_renames_of_trees() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir 0 1 2 3");
    let start = listing(&watched);
    let running = Fsmon::watch(&watched, &TREE);
    let work = "for i in $(seq $1); do mkdir -p $0/a/b; echo x > $0/a/b/f; mv $0/a $0/c-$i; \
                mv $0/c-$i $(( ($0 + 1) % 4 ))/from-$0-$i; done";
    let mut shells: Vec<_> = (0..4)
        .map(|i| {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-euc", work, &i.to_string(), &repeats(40).to_string()]);
            command.current_dir(&watched);
            command.spawn().expect("started")
        })
        .collect();
    assert!(shells.iter_mut().all(|shell| shell.wait().expect("a child").success()));
    let ended = running.stop();
    ended.assert_complete();
    assert_follows(start, &ended.events(), &watched);
}
