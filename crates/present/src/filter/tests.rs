//! Filters as the user sees them: records in, lines out.

use super::*;
use crate::text::fixture::{Bench, capacity, event, image};
use crate::text::{Lines, json::Json};
use fsmon_format::record::{Event, Proc};
use serde_json::Value;

fn types(names: &[&str]) -> Result<u32, Error> {
    parse_types(&owned(names), kind::DEFAULT)
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn bench(args: &Criteria) -> Bench<Lines<Json>> {
    let mut bench = Bench::new(Lines(Json::new(false)), args, None);
    bench.furnish();
    bench
}

/// What passes, as `TYPE path` or `TYPE old_path > path`.
fn shown(bench: &mut Bench<Lines<Json>>) -> Vec<String> {
    let text = bench.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let field = |line: &Value, name| line[name].as_str().unwrap_or("-").to_owned();
    lines
        .map(|line| {
            let (kind, path) = (field(&line, "event_type"), field(&line, "path"));
            match line.get("old_path") {
                Some(_) => format!("{kind} {} > {path}", field(&line, "old_path")),
                None => format!("{kind} {path}"),
            }
        })
        .collect()
}

fn paths(include: &[&str], exclude: &[&str]) -> Bench<Lines<Json>> {
    bench(&Criteria { include: owned(include), exclude: owned(exclude), ..Criteria::default() })
}

fn rename(types: u32, dir: u32, dir2: u32) -> Event {
    Event { dir2: dir2.into(), ..event(types, dir, 3) }
}

#[test]
fn types_by_name() {
    assert_eq!(types(&[]).expect("default"), kind::DEFAULT);
    assert_eq!(types(&["create", " Open "]).expect("valid"), kind::CREATE | kind::OPEN);
    assert_eq!(types(&["ALL"]).expect("valid"), kind::EVERY);
    let error = types(&["create", "creat"]).expect_err("unknown").to_string();
    assert!(error.contains("'creat'") && error.contains("CLOSE_NOWRITE"), "{error}");
}

#[test]
fn only_the_types_that_are_asked_for() {
    let args = Criteria { types: owned(&["create,delete"]), ..Criteria::default() };
    assert!(Filter::new(&args, 0, Source::Live, capacity()).is_err(), "commas are split before");
    let args = Criteria { types: owned(&["create", "delete"]), ..Criteria::default() };
    let mut bench = bench(&args);
    bench.event(event(kind::CREATE | kind::MODIFY | kind::DELETE, 1, 3), b"f", b"");
    bench.event(event(kind::MODIFY, 1, 3), b"f", b"");
    assert_eq!(shown(&mut bench), ["CREATE /srv/b/f", "DELETE /srv/b/f"]);
}

#[test]
fn half_a_rename_is_told_only_where_it_is_inside() {
    let all = kind::RENAME | kind::MOVED_FROM | kind::MOVED_TO;
    let mut bench = bench(&Criteria::default());
    bench.event(rename(all, 1, 2), b"new", b"old");
    bench.event(rename(all, 1, 0), b"in", b"");
    bench.event(rename(all, 0, 2), b"", b"out");
    assert_eq!(
        shown(&mut bench),
        [
            "MOVED_FROM /srv/b/sub/old",
            "MOVED_TO /srv/b/new",
            "RENAME /srv/b/sub/old > /srv/b/new",
            "MOVED_TO /srv/b/in",
            "RENAME /srv/b/in",
            "MOVED_FROM /srv/b/sub/out",
            "RENAME /srv/b/sub/out > -",
        ]
    );
}

#[test]
fn include_and_exclude_by_name() {
    let mut bench = paths(&["*.o", "sub2"], &["x*"]);
    bench.dir(3, 1, b"sub2");
    bench.dir(4, 3, b"deep");
    bench.dir(5, 4, b"xcluded");
    for (dir, name) in
        [(1, "a.o"), (1, "a.c"), (1, "x.o"), (2, "b.o"), (4, "any"), (5, "a.o"), (3, ""), (1, "")]
    {
        bench.event(event(kind::CREATE, dir, 3), name.as_bytes(), b"");
    }
    assert_eq!(
        shown(&mut bench),
        ["/srv/b/a.o", "/srv/b/sub/b.o", "/srv/b/sub2/deep/any", "/srv/b/sub2"]
            .map(|path| format!("CREATE {path}"))
    );
}

#[test]
fn include_and_exclude_by_path() {
    let mut bench = paths(&["sub/**/*.o", "/top.o"], &["sub/gen/**"]);
    bench.dir(3, 2, b"gen");
    bench.dir(4, 2, b"obj");
    for (dir, name) in [(1, "a.o"), (1, "top.o"), (2, "b.o"), (3, "c.o"), (4, "d.o"), (4, "d.c")] {
        bench.event(event(kind::CREATE, dir, 3), name.as_bytes(), b"");
    }
    assert_eq!(
        shown(&mut bench),
        ["/srv/b/top.o", "/srv/b/sub/b.o", "/srv/b/sub/obj/d.o"]
            .map(|path| format!("CREATE {path}"))
    );
}

#[test]
fn a_rename_passes_by_either_place_and_its_halves_by_their_own() {
    let all = kind::RENAME | kind::MOVED_FROM | kind::MOVED_TO;
    let mut bench = paths(&[], &["*.tmp"]);
    bench.event(rename(all, 1, 1), b"f", b"f.tmp");
    bench.event(rename(all, 1, 1), b"b.tmp", b"a.tmp");
    assert_eq!(shown(&mut bench), ["MOVED_TO /srv/b/f", "RENAME /srv/b/f.tmp > /srv/b/f"]);
}

#[test]
fn verdicts_follow_renamed_directories_and_ids_used_again() {
    let mut bench = paths(&[], &["target"]);
    bench.dir(3, 2, b"deep");
    let create = |bench: &mut Bench<Lines<Json>>| {
        bench.event(event(kind::CREATE, 3, 3), b"f", b"");
        shown(bench).len()
    };
    assert_eq!(create(&mut bench), 1);
    bench.dir_again(2, 1, 1, 2, b"target");
    assert_eq!(create(&mut bench), 0);
    bench.dir_again(2, 1, 2, 2, b"sub");
    assert_eq!(create(&mut bench), 1);
    bench.dir_again(3, 1, 0, 77, b"target");
    assert_eq!(create(&mut bench), 0);
}

#[test]
fn a_place_that_is_not_known_is_hidden_by_include_only() {
    let mut bench = paths(&[], &["*.tmp"]);
    bench.event(event(kind::CREATE, 9, 3), b"f", b"");
    bench.event(event(kind::FS_ERROR, 0, 0), b"", b"");
    assert_eq!(shown(&mut bench), ["CREATE -", "FS_ERROR -"]);
    let mut bench = paths(&["*"], &[]);
    bench.event(event(kind::CREATE, 9, 3), b"f", b"");
    assert_eq!(shown(&mut bench), [""; 0]);
}

#[test]
fn losses_pass_every_filter() {
    let args = Criteria {
        types: owned(&["create"]),
        include: owned(&["nothing"]),
        cmd: owned(&["nobody"]),
        ..Criteria::default()
    };
    let mut bench = bench(&args);
    bench.loss(1, 3);
    assert_eq!(shown(&mut bench), ["LOSS -"]);
}

/// Who creates a file, in a world with sh[10], make[11], cc[12] and nobody known.
fn creators(args: &Criteria) -> String {
    let mut bench = bench(args);
    for (proc, name) in [(1, "sh"), (2, "make"), (3, "cc"), (0, "unknown")] {
        bench.event(event(kind::CREATE, 1, proc), name.as_bytes(), b"");
    }
    let shown = shown(&mut bench);
    let names = shown.iter().map(|line| line.rsplit('/').next().expect("a name"));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn by_command() {
    let cmd = |cmd: &[&str], exclude_cmd: &[&str]| {
        creators(&Criteria {
            cmd: owned(cmd),
            exclude_cmd: owned(exclude_cmd),
            ..Criteria::default()
        })
    };
    assert_eq!(cmd(&["c*", "make"], &[]), "make cc");
    assert_eq!(cmd(&[], &["c?"]), "sh make unknown");
    assert_eq!(cmd(&["*"], &["{sh,make}"]), "cc");
}

#[test]
fn by_user() {
    let user = |names: &[&str]| creators(&Criteria { user: owned(names), ..Criteria::default() });
    assert_eq!(user(&["builder"]), "cc");
    assert_eq!(user(&["1000", "0"]), "sh make cc");
    assert_eq!(user(&["7"]), "");
}

#[test]
fn without_a_user() {
    let user = |user: &[&str], exclude_user: &[&str]| {
        let (user, exclude_user) = (owned(user), owned(exclude_user));
        creators(&Criteria { user, exclude_user, ..Criteria::default() })
    };
    assert_eq!(user(&[], &["builder"]), "sh make unknown");
    assert_eq!(user(&[], &["1000", "0"]), "unknown");
    assert_eq!(user(&["0", "1000"], &["0"]), "cc");
}

#[test]
fn by_control_group() {
    let cgroup = |cgroup: &[&str], exclude_cgroup: &[&str]| {
        let (cgroup, exclude_cgroup) = (owned(cgroup), owned(exclude_cgroup));
        creators(&Criteria { cgroup, exclude_cgroup, ..Criteria::default() })
    };
    // Only cc is in a group: /job/7.
    for matching in ["/job/7", "/job", "/job/", "/*/7", "7", "job", "/j*", "*", "/", "{7,8}"] {
        assert_eq!(cgroup(&[matching], &[]), "cc", "{matching}");
        assert_eq!(cgroup(&[], &[matching]), "sh make unknown", "{matching}");
    }
    for other in ["/7", "/jo", "ob/7", "/job/7/x", "77"] {
        assert_eq!(cgroup(&[other], &[]), "", "{other}");
        assert_eq!(cgroup(&[], &[other]), "sh make cc unknown", "{other}");
    }
    assert_eq!(cgroup(&["/job"], &["7"]), "");
}

#[test]
fn by_regular_expressions_on_the_whole_path() {
    let paths = |include: &[&str], exclude: &[&str]| {
        let (include_regex, exclude_regex) = (owned(include), owned(exclude));
        let args = Criteria { include_regex, exclude_regex, ..Criteria::default() };
        let mut bench = bench(&args);
        for (dir, name) in [(1, "a.c"), (2, "a.c"), (2, ""), (9, "a.c"), (0, "")] {
            bench.event(event(kind::CREATE, dir, 3), name.as_bytes(), b"");
        }
        shown(&mut bench).iter().map(|line| line["CREATE ".len()..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["^/srv/b/sub"], &[]), ["/srv/b/sub/a.c", "/srv/b/sub"]);
    assert_eq!(paths(&["/b/a[.]c$", "sub$"], &[]), ["/srv/b/a.c", "/srv/b/sub"]);
    // What has no known path is left out by what must be there only.
    assert_eq!(paths(&[], &["/sub/"]), ["/srv/b/a.c", "/srv/b/sub", "-", "-"]);
    assert_eq!(paths(&["c$"], &["sub"]), ["/srv/b/a.c"]);

    let args = Criteria {
        include: owned(&["*.c"]),
        exclude_regex: owned(&["/sub/"]),
        ..Criteria::default()
    };
    let mut bench = bench(&args);
    for (dir, name) in [(1, "a.c"), (1, "a.h"), (2, "a.c")] {
        bench.event(event(kind::CREATE, dir, 3), name.as_bytes(), b"");
    }
    // A rename passes by either path.
    bench.event(rename(kind::RENAME, 2, 1), b"new.c", b"old.c");
    bench.event(rename(kind::RENAME, 2, 2), b"new.c", b"old.c");
    assert_eq!(shown(&mut bench), ["CREATE /srv/b/a.c", "RENAME /srv/b/old.c > /srv/b/sub/new.c"]);
}

#[test]
fn by_process_with_its_descendants() {
    let pid = |pid| creators(&Criteria { pid: Some(pid), ..Criteria::default() });
    assert_eq!(pid(10), "sh make cc");
    assert_eq!(pid(11), "make cc");
    assert_eq!(pid(13), "");
}

#[test]
fn a_family_is_known_by_the_image_before_and_not_by_a_pid_used_again() {
    let mut bench = bench(&Criteria { pid: Some(11), ..Criteria::default() });
    // make execs ld, whose parent is not known any more.
    bench.image(Proc { prev: 2.into(), ..image(4, 11, "ld") });
    bench.image(Proc { parent: 4.into(), ppid: 11.into(), ..image(5, 20, "as") });
    // The id of cc stands for another process now; its child is no child of make.
    bench.image(image(3, 30, "new"));
    bench.image(Proc { parent: 3.into(), ppid: 12.into(), ..image(6, 31, "stray") });
    for (proc, name) in [(4, "ld"), (5, "as"), (3, "new"), (6, "stray")] {
        bench.event(event(kind::CREATE, 1, proc), name.as_bytes(), b"");
    }
    assert_eq!(shown(&mut bench), ["CREATE /srv/b/ld", "CREATE /srv/b/as"]);
}

#[test]
fn by_process_and_when_it_was_forked() {
    let forked = |started_ns| {
        let args = Criteria { pid: Some(11), started_ns: Some(started_ns), ..Criteria::default() };
        let mut bench = bench(&args);
        bench.image(Proc { start_ns: 5.into(), ..image(4, 11, "old") });
        bench.image(Proc { start_ns: 9.into(), ..image(5, 11, "new") });
        bench.image(Proc { parent: 5.into(), ppid: 11.into(), ..image(6, 20, "child") });
        for (proc, name) in [(4, "old"), (5, "new"), (6, "child")] {
            bench.event(event(kind::CREATE, 1, proc), name.as_bytes(), b"");
        }
        shown(&mut bench)
    };
    assert_eq!(forked(5), ["CREATE /srv/b/old"]);
    assert_eq!(forked(9), ["CREATE /srv/b/new", "CREATE /srv/b/child"]);
    assert_eq!(forked(7), [""; 0]);
}

#[test]
fn by_the_file_that_runs() {
    let by = |glob: &str| {
        let mut bench = bench(&Criteria { exe: owned(&[glob]), ..Criteria::default() });
        for (id, exe) in [(3, "/usr/bin/make"), (4, "/opt/make (deleted)"), (5, "memfd:make")] {
            bench.string(id - 1, exe.as_bytes());
            bench.image(Proc { exe: (id - 1).into(), ..image(id, id, "x") });
            bench.event(event(kind::CREATE, 1, id), &exe.as_bytes()[1..2], b"");
        }
        shown(&mut bench).iter().map(|line| line["CREATE /srv/b/".len()..].to_owned()).collect()
    };
    let named: Vec<String> = by("make");
    assert_eq!(named, ["u", "o"]);
    assert_eq!(by("memfd:*"), ["e"]);
    assert_eq!(by("/usr/*"), ["u"]);
    assert_eq!(by("/opt/make"), ["o"]);
    assert_eq!(by("usr/bin/make"), ["u"]);
    assert_eq!(by("ake"), [""; 0]);
    let refused = Criteria { exe: owned(&[""]), ..Criteria::default() };
    let error = Filter::new(&refused, 0, Source::Recorded, capacity()).err().expect("empty");
    assert_eq!(error.setting(), Some(Setting::Exe));
}

#[test]
fn by_place_and_depth_below_it() {
    let at = |paths: &[&str], max_depth| {
        let paths = paths.iter().map(PathBuf::from).collect();
        let mut bench = bench(&Criteria { paths, max_depth, ..Criteria::default() });
        for (dir, name) in [(1, "sub"), (1, "sub2"), (2, "a"), (2, ""), (1, ""), (0, "")] {
            bench.event(event(kind::CREATE, dir, 3), name.as_bytes(), b"");
        }
        bench.event(rename(kind::RENAME, 2, 1), b"in", b"out");
        bench.event(rename(kind::RENAME, 1, 1), b"x", b"y");
        shown(&mut bench)
    };
    let moved = "RENAME /srv/b/out > /srv/b/sub/in";
    let sub = ["CREATE /srv/b/sub", "CREATE /srv/b/sub/a", "CREATE /srv/b/sub", moved];
    assert_eq!(at(&["/srv/b/sub"], None), sub);
    assert_eq!(at(&["/srv/b/sub/a"], None), ["CREATE /srv/b/sub/a"]);
    assert_eq!(at(&["/srv/b/out", "/srv/b/y"], None), [moved, "RENAME /srv/b/y > /srv/b/x"]);
    assert_eq!(at(&["/srv"], None).len(), 7);
    assert_eq!(at(&["/srv/b/su", "/srv2"], None), [""; 0]);
    // The directory itself, and what is directly in it.
    assert_eq!(at(&["/srv"], Some(1)), ["CREATE /srv/b"]);
    let both = [sub[0], sub[1], sub[2], "CREATE /srv/b", moved];
    assert_eq!(at(&["/srv", "/srv/b/sub"], Some(1)), both);
}

#[test]
fn what_this_host_does_not_know_is_refused() {
    let refused = |args: Criteria| {
        let result = Filter::new(&args, kind::DEFAULT, Source::Live, capacity());
        let error = result.err().expect("refused");
        (error.to_string(), error.setting())
    };
    let user = refused(Criteria { user: owned(&["no such user"]), ..Criteria::default() });
    assert!(user.0.contains("'no such user'") && user.0.contains("getent"), "{user:?}");
    assert_eq!(user.1, Some(Setting::User));
    let user = refused(Criteria { exclude_user: owned(&["no such user"]), ..Criteria::default() });
    assert_eq!(user.1, Some(Setting::ExcludeUser));
    let group = refused(Criteria { cgroup: owned(&["!x"]), ..Criteria::default() });
    assert_eq!(group.1, Some(Setting::Cgroup));
    let group = refused(Criteria { exclude_cgroup: owned(&[""]), ..Criteria::default() });
    assert!(group.0.contains("it is empty"), "{group:?}");
    assert_eq!(group.1, Some(Setting::ExcludeCgroup));
    let pid = refused(Criteria { pid: Some(u32::MAX), ..Criteria::default() });
    assert!(pid.0.contains("there is no process 4294967295"), "{pid:?}");
    assert_eq!(pid.1, Some(Setting::Pid));
    let glob = refused(Criteria { exclude: owned(&["["]), ..Criteria::default() });
    assert_eq!(glob.1, Some(Setting::Exclude));
}

#[test]
fn excluded_directories_are_cut_by_their_path() {
    let excluded = |globs: &[String]| {
        PathGlobs::new(Purpose::Exclude, globs, &Roots::default()).expect("valid")
    };
    let globs = excluded(&owned(&["target", "/a/b"])).expect("something");
    let cut = ["target", "x/target", "a/b", "a", "x/a/b", "targets"]
        .map(|path| globs.matches(b"/srv", path.as_bytes()));
    assert_eq!(cut, [true, true, true, false, false, false]);
    assert!(globs.need_path() && excluded(&[]).is_none());
}
