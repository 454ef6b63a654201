//! Watched roots by way of symbolic links, which come, go, and are pointed elsewhere.

mod harness;

use harness::{Area, Fsmon, Listing, briefs, fsmon, is_root, listing, replay, sh};

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

#[test]
fn a_root_appears_by_way_of_a_symbolic_link() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.path("a/b/c"));
    sh(&base, "mkdir -p real/b/c/d other; touch real/b/c/d/f");
    let running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&base, "ln -s real a; touch a/b/c/g real/b/c/h; rm a; touch real/b/c/unseen");
    // Through a link to a link, absolute and relative, and with a directory where the link was.
    sh(&base, "ln -s $PWD/other/../step a; ln -s real step; rm real/b/c/g; rm a; mkdir -p a/b/c");
    sh(&base, "touch a/b/c/i; rm -r a; : > a; rm a; ln -s real a; touch a/b/c/j; rm step");
    let ended = running.stop();
    ended.assert_complete();
    let lines = briefs(&ended.events(), &base);
    let at = |line: &str| {
        lines.iter().position(|one| one == line).unwrap_or_else(|| panic!("{line}: {lines:#?}"))
    };
    assert_eq!(lines[0], "RENAME ?/ -> a/b/c/");
    assert!(at("CREATE a/b/c/d/ (found)") < at("CREATE a/b/c/d/f (found)"));
    assert!(at("CREATE a/b/c/d/f (found)") < at("RENAME a/b/c/ -> ?/"));
    let h = lines.iter().position(|line| line.starts_with("CREATE a/b/c/h"));
    assert!(h < Some(at("RENAME a/b/c/ -> ?/")));
    assert!(at("DELETE a/b/c/g") < at("CREATE a/b/c/i"), "{lines:#?}");
    assert!(at("CREATE a/b/c/i") < at("DELETE a/b/c/"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("CREATE a/b/c/j")), "{lines:#?}");
    // After the second time that the link came it was not gone at the end.
    let count = |line: &str| lines.iter().filter(|one| *one == line).count();
    assert_eq!((count("RENAME ?/ -> a/b/c/"), count("RENAME a/b/c/ -> ?/")), (3, 2), "{lines:#?}");
}

#[test]
fn a_symbolic_link_given_as_root_is_pointed_elsewhere() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, link) = (area.path(""), area.path("current"));
    sh(&base, "mkdir -p one/d two/e; touch one/d/f two/e/g; ln -s one current");
    let start = listing(&area.path("one"));
    let start = start.into_iter().map(|(path, is_dir)| {
        (link.join(path.strip_prefix(area.path("one")).expect("below")), is_dir)
    });
    let start: Listing = start.chain([(link.clone(), true)]).collect();
    let running = Fsmon::start(fsmon(TREE).arg(&link));
    sh(&base, "touch one/d/h; ln -sfn two current; touch one/unseen two/i; mv -T two three");
    sh(&base, "ln -sfn three current; rm current/e/g; rm current; mkdir one/e");
    sh(
        &base,
        "ln -s gone current; mkdir gone; touch gone/j; mv gone went; mv went gone; touch gone/k",
    );
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    let lines: Vec<_> = briefs(&events, &base)
        .iter()
        .zip(&events)
        .map(|(line, event)| format!("{line} by {}", event.text("cmd").unwrap_or("?")))
        .collect();
    for line in [
        "CREATE current/d/h by touch",
        "CREATE current/e/ (found) by ln",
        "RENAME current/ -> ?/ by mv",
        "DELETE current/e/g by rm",
        "CREATE current/ by mkdir",
        "CREATE current/j by touch",
    ] {
        assert!(lines.iter().any(|one| one == line), "{line}: {lines:#?}");
    }
    // The walk of the directory that was moved there may have met it first.
    assert!(lines.iter().any(|line| line.starts_with("CREATE current/k ")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("unseen")), "{lines:#?}");
    let (replayed, doubts) = replay(&base, start, &events);
    assert!(doubts.is_empty(), "{doubts:#?}");
    let expected: Vec<_> = ["current", "current/j", "current/k"].map(|name| area.path(name)).into();
    assert_eq!(replayed.into_keys().collect::<Vec<_>>(), expected, "{lines:#?}");
}

#[test]
fn a_symbolic_link_into_another_root_and_out_of_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root, link) = (area.path(""), area.watched(), area.path("link"));
    sh(&base, "mkdir -p watched/in out; ln -s watched/in link");
    let running = Fsmon::start(fsmon(TREE).args([&root, &link]));
    sh(&base, "touch link/a; ln -sfn out link; touch out/b watched/in/c; ln -sfn watched link");
    sh(&base, "touch out/unseen link/d");
    let ended = running.stop();
    ended.assert_complete();
    let mut lines = briefs(&ended.events(), &base);
    lines.iter_mut().for_each(|line| *line = line.replace(" (found)", ""));
    lines.dedup();
    let expected = [
        "CREATE watched/in/a",
        "RENAME ?/ -> link/",
        "CREATE link/b",
        "CREATE watched/in/c",
        "RENAME link/ -> ?/",
        "CREATE watched/d",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn links_that_lead_round_in_a_circle_or_too_deep() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.path("a/root"));
    let running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&base, "ln -s b a; ln -s a b; rm a; ln -s . a; ln -s a/./a//a root; rm a root");
    sh(
        &base,
        "for i in $(seq 60); do ln -s l$((i+1)) l$i; done; mkdir l61; ln -s l1 a; mkdir l61/root",
    );
    sh(
        &base,
        "rm a; ln -s l30 a; touch l61/root/f; ln -sfn no/../l61 a; mkdir no; touch l61/root/g",
    );
    let ended = running.stop();
    ended.assert_complete();
    let lines = briefs(&ended.events(), &base);
    assert!(lines.contains(&"RENAME ?/ -> a/root/".into()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("CREATE a/root/g")), "{lines:#?}");
}
