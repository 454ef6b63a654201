//! Watched roots by way of symbolic links, which come, go, and are pointed elsewhere.

use fsmon_harness::{Area, is_root, named, record_in_steps, sh, watch_in_steps};

/// What was found in one directory is told in the order in which that directory lists it, which is any.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    let both = |a: &String, b: &String| a.contains("(found)") && b.contains("(found)");
    lines.chunk_by_mut(both).for_each(<[String]>::sort);
    lines
}

#[test]
fn a_root_appears_by_way_of_a_symbolic_link() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.path("a/b/c"));
    sh(&base, "mkdir -p real/b/c/d other; touch real/b/c/d/f");
    let (come, gone) = ("RENAME ?/ -> a/b/c/ by ln", "RENAME a/b/c/ -> ?/ by rm");
    let events = record_in_steps(&base, &root, |step| {
        step("ln -s real a", "CREATE a/b/c/d/f (found) by ln", 1);
        step("touch a/b/c/g", "CREATE a/b/c/g by touch", 1);
        step("touch real/b/c/h", "CREATE a/b/c/h by touch", 1);
        step("rm a", gone, 1);
        // Through a link to a link, absolute and relative.
        step("touch real/b/c/unseen; ln -s $PWD/other/../step a; ln -s real step", come, 2);
        step("", "CREATE a/b/c/g (found) by ln", 1);
        step("rm real/b/c/g", "DELETE a/b/c/g by rm", 1);
        step("rm a", gone, 2);
        // A directory where the link was, and a file.
        step("mkdir -p a/b/c", "CREATE a/b/c/ by mkdir", 1);
        step("touch a/b/c/i", "CREATE a/b/c/i by touch", 1);
        step("rm -r a; : > a; rm a", "DELETE a/b/c/ by rm", 1);
        step("ln -s real a", come, 3);
        step("", "CREATE a/b/c/d/f (found) by ln", 3);
        step("touch a/b/c/j; rm step", "CREATE a/b/c/j by touch", 1);
    });
    let found = ["CREATE a/b/c/d/ (found) by ln", "CREATE a/b/c/d/f (found) by ln"];
    let (g, h, unseen) = ("g (found) by ln", "h (found) by ln", "unseen (found) by ln");
    let [g, h, unseen] = [g, h, unseen].map(|name| format!("CREATE a/b/c/{name}"));
    let expected = [
        &[come][..],
        &found,
        &["CREATE a/b/c/g by touch", "CREATE a/b/c/h by touch", gone, come],
        &found,
        &[&g, &h, &unseen, "DELETE a/b/c/g by rm", gone],
        &["CREATE a/b/c/ by mkdir", "CREATE a/b/c/i by touch"],
        &["DELETE a/b/c/i by rm", "DELETE a/b/c/ by rm", come],
        &found,
        &[&h, &unseen, "CREATE a/b/c/j by touch"],
    ];
    assert_eq!(sorted(named(&events, &base)), expected.concat());
}

#[test]
fn a_symbolic_link_given_as_root_is_pointed_elsewhere() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, link) = (area.path(""), area.path("current"));
    sh(&base, "mkdir -p one/d two/e; touch one/d/f two/e/g; ln -s one current");
    let events = record_in_steps(&base, &link, |step| {
        step("touch one/d/h", "CREATE current/d/h by touch", 1);
        step("ln -sfn two current", "CREATE current/e/g (found) by ln", 1);
        step("touch one/unseen two/i", "CREATE current/i by touch", 1);
        step("mv -T two three", "RENAME current/ -> ?/ by mv", 1);
        step("ln -sfn three current", "RENAME ?/ -> current/ by ln", 2);
        step("", "CREATE current/e/g (found) by ln", 2);
        step("rm current/e/g", "DELETE current/e/g by rm", 1);
        step("rm current; mkdir one/e", "RENAME current/ -> ?/ by rm", 1);
        step("ln -s gone current; mkdir gone", "CREATE current/ by mkdir", 1);
        step("touch gone/j", "CREATE current/j by touch", 1);
        step("mv gone went", "RENAME current/ -> ?/ by mv", 2);
        step("mv went gone", "CREATE current/j (found) by mv", 1);
        step("touch gone/k", "CREATE current/k by touch", 1);
    });
    let expected = [
        "CREATE current/d/h by touch",
        "RENAME current/ -> ?/ by ln",
        "RENAME ?/ -> current/ by ln",
        "CREATE current/e/ (found) by ln",
        "CREATE current/e/g (found) by ln",
        "CREATE current/i by touch",
        "RENAME current/ -> ?/ by mv",
        "RENAME ?/ -> current/ by ln",
        "CREATE current/e/ (found) by ln",
        "CREATE current/e/g (found) by ln",
        "CREATE current/i (found) by ln",
        "DELETE current/e/g by rm",
        "RENAME current/ -> ?/ by rm",
        "CREATE current/ by mkdir",
        "CREATE current/j by touch",
        "RENAME current/ -> ?/ by mv",
        "RENAME ?/ -> current/ by mv",
        "CREATE current/j (found) by mv",
        "CREATE current/k by touch",
    ];
    assert_eq!(sorted(named(&events, &base)), expected);
}

#[test]
fn a_symbolic_link_into_another_root_and_out_of_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root, link) = (area.path(""), area.watched(), area.path("link"));
    sh(&base, "mkdir -p watched/in out; ln -s watched/in link");
    let events = watch_in_steps(&base, &[&root, &link], |step| {
        step("touch link/a", "CREATE watched/in/a by touch", 1);
        step("ln -sfn out link", "RENAME ?/ -> link/ by ln", 1);
        step("touch out/b", "CREATE link/b by touch", 1);
        step("touch watched/in/c", "CREATE watched/in/c by touch", 1);
        step("ln -sfn watched link", "RENAME link/ -> ?/ by ln", 1);
        step("touch out/unseen link/d", "CREATE watched/d by touch", 1);
    });
    let expected = [
        "CREATE watched/in/a by touch",
        "RENAME ?/ -> link/ by ln",
        "CREATE link/b by touch",
        "CREATE watched/in/c by touch",
        "RENAME link/ -> ?/ by ln",
        "CREATE watched/d by touch",
    ];
    assert_eq!(named(&events, &base), expected);
}

#[test]
fn links_that_lead_round_in_a_circle_or_too_deep() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.path("a/root"));
    let (come, gone) = ("RENAME ?/ -> a/root/ by ln", "RENAME a/root/ -> ?/ by");
    let events = record_in_steps(&base, &root, |step| {
        // The directory that all of this is in.
        step("ln -s b a; ln -s a b; rm a; ln -s . a; ln -s a/./a//a root", come, 1);
        step("", "CREATE a/root/a (found) by ln", 1);
        step("rm a root", &format!("{gone} rm"), 1);
        step("for i in $(seq 60); do ln -s l$((i+1)) l$i; done; mkdir l61", "", 0);
        step("ln -s l1 a; mkdir l61/root; rm a; ln -s l30 a", come, 2);
        step("touch l61/root/f", "CREATE a/root/f by touch", 1);
        step("ln -sfn no/../l61 a", &format!("{gone} ln"), 1);
        step("mkdir no", "CREATE a/root/f (found) by mkdir", 1);
        step("touch l61/root/g", "CREATE a/root/g by touch", 1);
    });
    let expected = [
        come,
        "CREATE a/root/a (found) by ln",
        "CREATE a/root/b (found) by ln",
        "CREATE a/root/root (found) by ln",
        "CREATE a/root/watched/ (found) by ln",
        "DELETE a/root/a by rm",
        "RENAME a/root/ -> ?/ by rm",
        come,
        "CREATE a/root/f by touch",
        "RENAME a/root/ -> ?/ by ln",
        "RENAME ?/ -> a/root/ by mkdir",
        "CREATE a/root/f (found) by mkdir",
        "CREATE a/root/g by touch",
    ];
    assert_eq!(sorted(named(&events, &base)), expected);
}
