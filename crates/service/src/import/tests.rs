//! Files as fsmon 0.2.6 and 0.5.6 wrote them, and damaged ones.

use super::*;
use proptest::prelude::*;

/// What comes of files with these contents, named `a`, `b` and so on. No path is a file but `/etc/passwd`.
fn imported(files: &[&str]) -> Imported {
    let mut import = Import::default();
    for (name, text) in ["a", "b", "c"].into_iter().zip(files) {
        import.take(text.as_bytes(), name).expect("understood");
    }
    import.finish(|path| path == Path::new("/etc/passwd"))
}

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.kept().iter().map(ToString::to_string).collect()
}

/// The tables without comments.
fn tables(imported: &Imported) -> String {
    let text = imported.to_toml().expect("a configuration");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

#[track_caller]
fn assert_becomes(files: &[&str], expected: &str, expected_notes: &[&str]) {
    let imported = imported(files);
    assert_eq!(tables(&imported), expected);
    assert_eq!(notes(&imported), expected_notes);
}

#[test]
fn what_0_2_6_wrote() {
    assert_becomes(
        &[concat!(
            r#"{"path":"/srv","recursive":true,"types":null,"size":null,"exclude":null,"exclude_cmd":null}"#,
            "\n",
            r#"{"path":"/opt","recursive":null,"types":["MODIFY","create","MODIFY"],"size":">=1.5KB","exclude":["\\.swp$","/[.]git/"],"exclude_cmd":["rsync|apt"]}"#,
            "\n\n",
            r#"{"path":"/home/a/","recursive":true,"types":null,"size":null,"exclude":["!.*\\.py$"],"exclude_cmd":null}"#,
            "\n",
        )],
        "[[watch]]\npath = \"/srv\"\n\
         [[watch]]\npath = \"/opt\"\nexclude_regex = ['\\.swp$', \"/[.]git/\"]\n\
         exclude_cmd = [\"*rsync*\", \"*apt*\"]\ntypes = [\"MODIFY\", \"CREATE\"]\nrecursive = false\n\
         size = \">=1536\"\n\
         [[watch]]\npath = \"/home/a\"\ninclude_regex = ['.*\\.py$']\n",
        &[],
    );
}

#[test]
fn what_0_5_wrote() {
    assert_becomes(
        &[concat!(
            r#"{"cmd":"_global","paths":{"/etc":{"recursive":false,"types":["RENAME"]},"/srv":{"recursive":true,"size":"100MB","max_depth":0},"/var/x":{"recursive":true,"max_depth":2}}}"#,
            "\n",
            r#"{"cmd":"nginx","paths":{"/var/www":{"recursive":true}}}"#,
            "\n",
        )],
        "[[watch]]\npath = \"/etc\"\ntypes = [\"RENAME\"]\nrecursive = false\n\
         [[watch]]\npath = \"/srv\"\nmax_depth = 1\nsize = \">=100M\"\n\
         [[watch]]\npath = \"/var/x\"\nmax_depth = 3\n\
         [[watch]]\npath = \"/var/www\"\n",
        &[
            "a:2: group nginx: a watch is of no command, and records what every process does; choose when you \
           read the history: fsmon decode --cmd 'nginx' DIR",
        ],
    );
}

#[test]
fn what_has_no_equivalent_is_said_with_its_line() {
    for (entry, words) in [
        (r#""path":"srv""#, "srv: left out: `path` is \"srv\"; write an absolute path"),
        (r#""path":"/a/../b""#, "write the path that its .. leads to"),
        (r#""path":"/var/lib/fsmon/history/x""#, "what happens in the history"),
        (
            r#""path":"/a","types":["MODIFY","CHANGE"]"#,
            "/a: `types`: there is no event type CHANGE",
        ),
        (r#""path":"/a","size":">-1""#, "/a: `size` >-1 holds for every file"),
        (
            r#""path":"/a","size":"big""#,
            "/a: `size` big is left out, and every size recorded; write",
        ),
        (r#""path":"/a","max_depth":1"#, "/a: `max_depth` means nothing without `recursive`"),
        (r#""path":"/a","exclude":["*.tmp"]"#, "a glob is written exclude = [\"*.tmp\"]"),
        (r#""path":"/a","exclude":["a",""]"#, "/a: `exclude` matched every path"),
        (
            r#""path":"/a","exclude":["(.{9999}){99}"]"#,
            "/a: `exclude_regex` is left out: `watch.exclude_regex` has",
        ),
        (
            r#""path":"/a","exclude_cmd":["x+"]"#,
            "/a: `exclude_cmd` x+ is left out: commands are excluded by globs",
        ),
        (r#""path":"/a","exclude_cmd":["!^nginx$"]"#, "fsmon decode --cmd 'nginx' DIR"),
        (r#""path":"/a","exclude_cmd":["!cc|ld"]"#, "fsmon decode --cmd '*cc*' --cmd '*ld*' DIR"),
        (r#""path":"/a","exclude_cmd":["!a+"]"#, "fsmon decode --cmd 'GLOB' DIR"),
        (r#""path":"/a","colour":1"#, "`colour` is no key of fsmon 0.2.6 or 0.5"),
        (r#""path":"/etc/passwd""#, "/etc is watched, and of it only this name recorded"),
    ] {
        let imported = imported(&[&format!("\n{{{entry}}}\n")]);
        let notes = notes(&imported);
        assert!(notes.len() == 1 && notes[0].starts_with("a:2: "), "{entry}: {notes:?}");
        assert!(notes[0].contains(words), "{entry}: {notes:?}");
        imported.to_toml().expect("a configuration");
    }
}

#[test]
fn expressions_that_are_whole_only_together_stay_together() {
    for (patterns, expected) in [
        (r#"["(?i)a","b"]"#, "exclude_regex = [\"(?i)a|b\"]\n"),
        (r#"["(a","b)"]"#, "exclude_regex = [\"(a|b)\"]\n"),
        (r#"["a","!b"]"#, "exclude_regex = [\"a\", \"b\"]\n"),
        (r#"["!a","b"]"#, "include_regex = [\"a\", \"b\"]\n"),
        ("[]", ""),
    ] {
        let line = format!("{{\"path\":\"/a\",\"recursive\":true,\"exclude\":{patterns}}}");
        assert_becomes(&[&line], &format!("[[watch]]\npath = \"/a\"\n{expected}"), &[]);
    }
}

#[test]
fn a_line_that_is_damaged_is_left_out_and_the_others_are_not() {
    let long = format!("{{\"path\":\"/{}\"}}", "x".repeat(crate::limits::IMPORT_LINE_BYTES));
    let lines = format!(
        "{{\"path\":\"/a\"}}\n{{\"path\":\n{{\"path\":7}}\n{long}\nnull\n{{\"cmd\":\"x\"}}\n{{\"path\":\"/b\",\"recursive\":\"yes\"}}\n"
    );
    let imported = imported(&[&lines]);
    assert_eq!(tables(&imported), "[[watch]]\npath = \"/a\"\nrecursive = false\n");
    let notes = notes(&imported);
    for (line, words) in [
        (2, "it is no JSON object: EOF"),
        (3, "invalid type: integer `7`, expected a string"),
        (4, "the line has more than"),
        (5, "it is no JSON object: "),
        (6, "missing field `path`"),
        (7, "invalid type: string \"yes\", expected a boolean"),
    ] {
        let note = &notes[line - 2];
        assert!(note.starts_with(&format!("a:{line}: left out: ")), "{note}");
        assert!(note.contains(words), "{note}");
    }
    assert_eq!(notes.len(), 6);
}

#[test]
fn a_file_of_which_nothing_is_understood_is_an_error() {
    for (text, words) in [
        ("{", "a: none of 1 line is as fsmon 0.2.6 or 0.5 wrote them"),
        ("{}\n{}", "a: none of 2 lines are as"),
        ("root:x:0:0", "a is no fsmon.toml, managed.jsonl or monitored.jsonl"),
        ("[[watch]]\npath = '/a'", "it has none of their sections"),
        ("logging = 1\n[", "a:2:2: "),
    ] {
        let error = Import::default().take(text.as_bytes(), "a").expect_err(text);
        assert!(error.to_string().contains(words), "{error}");
    }
    for empty in ["", "\n \n", "# [managed]\n# path = 'x'\n"] {
        assert_becomes(&[empty], "", &[]);
    }
}

#[test]
fn settings_are_said_key_by_key_and_name_the_stores() {
    let text = "[managed]\npath = '~/m.jsonl'\n[logging]\npath = '/l'\nkeep_days = 7\nsize = '>=1GB'\n\
                disk_min_free = '10%'\nlocal_time = true\nlevel = 1\n[socket]\npath = '/s'\n\
                [daemon]\ndebug = true\nmetrics_interval = 5\n[cache]\ndir_capacity = 9\n\
                [watchdog]\ninterval_secs = 3\n[monitored]\npath = 7\n[more]\n";
    let mut import = Import::default();
    import.take(text.as_bytes(), "a").expect("understood");
    let at = Place { file: "a".into(), line: 2 };
    let store = Store { path: "~/m.jsonl".into(), at, version: Version::Managed };
    assert_eq!(import.stores(), [store]);
    let notes = notes(&import.finish(|_| false));
    for (note, begin, words) in [
        (0, "a:4: `logging.path` ", "`history.dir`"),
        (1, "a:5: `logging.keep_days` ", "history.keep.age = \"7d\""),
        (2, "a:6: `logging.size` >=1GB ", "history.keep.size"),
        (3, "a:7: `logging.disk_min_free` 10% ", "history.keep.free"),
        (4, "a:8: `logging.local_time` ", "--time local"),
        (5, "a:9: `logging.level` is no key", ""),
        (6, "a:11: `socket.path` ", "`control.socket`"),
        (7, "a:13: `daemon.debug` ", "leave it out"),
        (8, "a:14: `daemon.metrics_interval` ", "fsmon status"),
        (9, "a:16: `cache.dir_capacity` ", "`engine.max_dirs`"),
        (10, "a:18: `watchdog.interval_secs` ", "WatchdogSec="),
        (11, "a:20: `monitored.path` is not understood", ""),
        (12, "a:21: `more` is no key", ""),
    ] {
        assert!(notes[note].starts_with(begin) && notes[note].contains(words), "{notes:#?}");
    }
    assert_eq!(notes.len(), 13);
    assert_becomes(&["[logging]\nkeep_days = 30\n"], "", &[]);
}

#[test]
fn of_a_path_that_comes_twice_the_last_line_of_0_2_6_counts_and_of_0_5_all() {
    assert_becomes(
        &[
            "{\"path\":\"/a\",\"recursive\":true}\n{\"path\":\"/b\"}\n{\"path\":\"/a\",\"types\":[\"OPEN\"]}",
        ],
        "[[watch]]\npath = \"/a\"\ntypes = [\"OPEN\"]\nrecursive = false\n\
         [[watch]]\npath = \"/b\"\nrecursive = false\n",
        &[],
    );
    assert_becomes(
        &[
            r#"{"cmd":"_global","paths":{"/a":{"recursive":true,"types":["CREATE"],"size":">1K","max_depth":1}}}"#,
            r#"{"cmd":"_global","paths":{"/a":{"recursive":false,"types":["DELETE"],"size":">1K"}}}"#,
            r#"{"cmd":"_global","paths":{"/a":{"recursive":true,"types":["CREATE","DELETE"],"size":"<1K"}}}"#,
        ],
        "[[watch]]\npath = \"/a\"\ntypes = [\"CREATE\", \"DELETE\"]\n",
        &[
            "b:1: /a: is also at a:1: it is watched once, and what either asked for is recorded",
            "c:1: /a: is also at a:1: it is watched once, and what either asked for is recorded",
        ],
    );
}

#[test]
fn files_of_one_directory_become_one_watch() {
    let imported =
        imported(&["{\"path\":\"/etc/passwd\"}\n{\"path\":\"/etc\",\"recursive\":true}"]);
    assert_eq!(tables(&imported), "[[watch]]\npath = \"/etc\"\n");
    let mut import = Import::default();
    let lines =
        "{\"path\":\"/etc/a[1]\"}\n{\"path\":\"/etc/b\"}\n{\"path\":\"/c\",\"types\":[\"OPEN\"]}";
    import.take(lines.as_bytes(), "a").expect("understood");
    assert_eq!(
        tables(&import.finish(|_| true)),
        "[[watch]]\npath = \"/etc\"\ninclude = ['/a\\[1\\]', \"/b\"]\nrecursive = false\n\
         [[watch]]\npath = \"/\"\ninclude = [\"/c\"]\ntypes = [\"OPEN\"]\nrecursive = false\n"
    );
}

#[test]
fn a_watch_inside_of_another_records_what_both_did() {
    assert_becomes(
        &[concat!(
            "{\"path\":\"/a/b\"}\n",
            "{\"path\":\"/a/c\",\"types\":[\"OPEN\"]}\n",
            "{\"path\":\"/a\",\"recursive\":true}\n",
            "{\"path\":\"/a/c/d\",\"recursive\":true,\"exclude\":[\"x\"]}\n",
            "{\"path\":\"/ab\",\"recursive\":true,\"types\":[\"OPEN\"]}\n",
        )],
        "[[watch]]\npath = \"/a/c\"\ntypes = [\"CREATE\", \"RENAME\", \"OPEN\", \"ATTRIB\", \"CLOSE_WRITE\", \"DELETE\"]\n\
         [[watch]]\npath = \"/a\"\n\
         [[watch]]\npath = \"/ab\"\ntypes = [\"OPEN\"]\n",
        &[
            "a:1: /a/b: left out, as what is recorded of /a includes it",
            "a:2: /a/c: is inside of /a, which is watched too; what either asked for is recorded there",
            "a:4: /a/c/d: left out, as what is recorded of /a/c includes it",
        ],
    );
    let deep = r#"{"cmd":"_global","paths":{"/a":{"recursive":true,"max_depth":1},"/a/b":{"recursive":false,"types":["CREATE"]},"/a/b/c":{"recursive":false,"types":["CREATE"]}}}"#;
    assert_becomes(
        &[deep],
        "[[watch]]\npath = \"/a\"\nmax_depth = 2\n\
         [[watch]]\npath = \"/a/b/c\"\ntypes = [\"CREATE\"]\nrecursive = false\n",
        &["a:1: /a/b: left out, as what is recorded of /a includes it"],
    );
}

#[test]
fn more_than_a_configuration_has_room_for_is_left_out() {
    let lines: String =
        (0..5000).map(|number| format!("{{\"path\":\"/{number}\",\"size\":\"?\"}}\n")).collect();
    let imported = imported(&[&lines]);
    assert_eq!(imported.watches.len(), crate::limits::WATCHES_MAX);
    assert_eq!(imported.notes.kept().len(), crate::limits::IMPORT_NOTES_MAX);
    let more = imported.notes.about_more().expect("more");
    // A size of each of 4096 paths, 3072 watches too many, and one line about the rest.
    assert!(more.starts_with("6169 lines like these more"), "{more}");
    imported.to_toml().expect("a configuration");
}

#[test]
fn what_is_read_is_a_regular_file_of_its_owner() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = nix::unistd::geteuid().as_raw();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("store"), "{\"path\":\"/a\"}").expect("written");
    std::os::unix::fs::symlink(at("store"), at("link")).expect("made");
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    std::fs::write(at("large"), vec![b'{'; (1 << 20) + 1]).expect("written");
    let mut import = Import::default();
    import.read(&at("store"), own).expect("read");
    assert_eq!(import.files(), 1);
    for (name, words) in [
        ("link", "is a symbolic link, which is not followed; name the file"),
        ("pipe", "is no regular file"),
        ("large", "at most 1048576 are read"),
        ("none", "No such file"),
    ] {
        let error = import.read(&at(name), own).expect_err(name);
        assert!(error.to_string().contains(words), "{error}");
    }
    if own != 0 {
        eprintln!("SKIP: only root can give a file away");
        return;
    }
    std::os::unix::fs::chown(at("store"), Some(4242), None).expect("given away");
    let error = import.read(&at("store"), 0).expect_err("of another");
    assert!(error.to_string().contains("belongs to uid 4242"), "{error}");
    import.read(&at("store"), 4242).expect("of the caller");
}

#[test]
fn a_file_is_made_and_replaced_only_if_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("new.toml");
    write(&path, "a", Existing::Kept).expect("made");
    let mode = path.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
    let error = write(&path, "b", Existing::Kept).expect_err("there already");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "a");
    write(&path, "b", Existing::Replaced).expect("replaced");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "b");
    assert_eq!(dir.path().read_dir().expect("a directory").count(), 1);
    let dangling = dir.path().join("dangling");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &dangling).expect("made");
    write(&dangling, "c", Existing::Kept).expect_err("a link");
    assert!(!dir.path().join("elsewhere").exists());
}

proptest! {
    /// As the fuzz target `import`, with damage to what is right.
    #[test]
    fn damage_never_makes_a_wrong_configuration(
        at in 0usize..400,
        text in "\\PC{0,3}|[\\[\\]={}\"'\n#,:\\\\]|null|true|-1|[a-z]{2}",
        which in 0usize..3,
    ) {
        let base = [
            "{\"path\":\"/srv\",\"recursive\":true,\"types\":[\"CREATE\"],\"size\":\">=1MB\",\"exclude\":[\"!a|b\"],\"exclude_cmd\":[\"rsync\"]}\n{\"path\":\"/srv/a\"}\n",
            "{\"cmd\":\"_global\",\"paths\":{\"/a\":{\"recursive\":true,\"max_depth\":3},\"/a/b\":{\"size\":\"9K\"}}}\n{\"cmd\":\"x\",\"paths\":{\"/a\":{}}}\n",
            "[managed]\npath = \"/m\"\n[logging]\nkeep_days = 3\nsize = \">=1GB\"\n",
        ][which];
        let mut damaged = base.to_owned();
        damaged.insert_str(at.min(base.len()), &text);
        let mut import = Import::default();
        if import.take(damaged.as_bytes(), "a").is_ok() {
            import.finish(|_| false).to_toml().expect("a configuration");
        }
    }
}
