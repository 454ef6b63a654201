use super::*;
use fsmon_engine::config::{Cpu, Who};
use fsmon_format::error::ErrorKind;
use fsmon_format::kind;
use fsmon_format::stream::Codec;
use proptest::prelude::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

const SAMPLE: &str = include_str!("../../../../packaging/fsmon.toml");

fn read(text: &str) -> Config {
    Config::from_toml(text, "f.toml").unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    let error = Config::from_toml(text, "f.toml").expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

#[track_caller]
fn refuses(text: &str, line: &str) {
    assert_eq!(refused(text), format!("f.toml:{line}"), "{text}");
}

/// The sample with the watch that it shows in comments.
fn sample_with_watch() -> String {
    let (head, watch) = SAMPLE.split_once("# [[watch]]").expect("a watch");
    format!("{head}[[watch]]{}", watch.replace("\n# ", "\n"))
}

#[test]
fn the_sample_is_the_defaults_and_watches_nothing() {
    assert_eq!(read(SAMPLE), Config::default());
    assert_eq!(read(""), Config::default());
}

#[test]
fn the_sample_names_every_key() {
    let text = sample_with_watch();
    let config = read(&text);
    assert_eq!(config.watches.len(), 1);
    assert_eq!(config.watches[0].types(), kind::DEFAULT);
    let document = Document::new(&text, "sample").expect("small");
    let parsed = document.parse().expect("TOML");
    let top = Table::top(document, &parsed, &keys::TOP).expect("known keys");
    for section in keys::SECTIONS {
        let path = section.prefix.trim_end_matches('.');
        for key in section.keys {
            let key = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
            let is_there = match key.strip_prefix("watch.") {
                Some(key) => text.contains(&format!("\n{key} = ")),
                None => top.has(&key),
            };
            assert!(is_there, "{key}");
        }
    }
}

#[test]
fn all_keys_are_read() {
    let config = read(
        r#"
        [history]
        dir = "/h//x/"
        rotate = { size = "1M", age = "2h" }
        keep = { size = "2M", age = "7d", free = "10%", at_least = "1h" }
        compress = "lz4"
        [control]
        socket = "/c"
        group = "wheel"
        [sessions]
        enabled = true
        socket = "/s"
        max = 9
        max_per_user = 8
        reads = true
        [state]
        file = "/w"
        [metrics]
        textfile = "/t.prom"
        listen = "[::1]:9477"
        [queue]
        max_bytes = "1G"
        [engine]
        cpu = 0x3
        batch_window = "5ms"
        per_filesystem = true
        max_dirs = 7
        max_processes = 6
        redact = ["-p?*"]
        require = "tracepoint"
        [[watch]]
        path = "/srv/./a//"
        include = ["*.c"]
        exclude = ["x", "/srv/a/y"]
        include_regex = ["a"]
        exclude_regex = ["b"]
        exclude_cmd = ["c"]
        exclude_user = ["d", "0"]
        exclude_cgroup = ["/e"]
        types = ["open", "Close_Write"]
        recursive = true
        max_depth = 5
        size = ">=1K"
        hard_links = true
        follow_mounts = true
        cmdline = true
        [[watch]]
        path = "/"
        recursive = false
        "#,
    );
    let second = Duration::from_secs(1);
    let strings = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
    let expected = Config {
        history: History {
            dir: "/h/x".into(),
            rotate: Rotate { size: Some(1 << 20), age: Some(7200 * second) },
            keep: Keep {
                size: Some(2 << 20),
                age: Some(7 * 86_400 * second),
                free: Some(Free::Percent(10)),
                at_least: Some(3600 * second),
            },
            compress: Codec::Lz4,
        },
        control: Control { socket: "/c".into(), group: Some("wheel".into()) },
        sessions: Sessions {
            enabled: true,
            socket: "/s".into(),
            max: 9,
            max_per_user: 8,
            reads: true,
        },
        state: StateFile { file: "/w".into() },
        metrics: Metrics {
            textfile: Some("/t.prom".into()),
            listen: Some(Listen::Tcp(([0, 0, 0, 0, 0, 0, 0, 1], 9477).into())),
        },
        queue: Queue { max_bytes: 1 << 30 },
        engine: Engine {
            cpu: Cpu::Pin(3),
            batch_window: second / 200,
            per_filesystem: true,
            max_dirs: 7,
            max_processes: 6,
            redact: strings(&["-p?*"]),
            require: Some(Who::Tracepoint),
        },
        watches: vec![
            Watch {
                path: "/srv/a".into(),
                include: strings(&["*.c"]),
                exclude: strings(&["x", "/srv/a/y"]),
                include_regex: strings(&["a"]),
                exclude_regex: strings(&["b"]),
                exclude_cmd: strings(&["c"]),
                exclude_user: strings(&["d", "0"]),
                exclude_cgroup: strings(&["/e"]),
                types: strings(&["open", "Close_Write"]),
                recursive: true,
                max_depth: Some(5),
                size: Some(Size { comparison: Comparison::AtLeast, bytes: 1024 }),
                hard_links: true,
                follow_mounts: true,
                cmdline: true,
            },
            Watch { recursive: false, ..Watch::new("/") },
        ],
    };
    assert_eq!(config, expected);
    assert_eq!(config.watches[0].types(), kind::OPEN | kind::CLOSE_WRITE);
}

#[test]
fn every_known_key_is_read_and_refuses_what_it_cannot_be() {
    for section in keys::SECTIONS {
        for key in section.keys {
            let table = match section.name {
                "the file" => String::new(),
                name if name.starts_with('[') => format!("{name}\n"),
                name => format!("[{name}]\n"),
            };
            let path =
                if section.name == "[[watch]]" && *key != "path" { "path = '/x'\n" } else { "" };
            // No key is a date.
            let line = refused(&format!("{table}{path}{key} = 1979-05-27\n"));
            let key = format!("`{}{key}` is a date; write ", section.prefix);
            assert!(line.contains(&key), "{line}");
        }
    }
}

#[test]
fn a_key_may_stand_alone_and_the_others_keep_their_defaults() {
    let history = |text: &str| read(&format!("[history]\n{text}")).history;
    let default = History::default();
    let rotate = history("rotate = '32M'").rotate;
    assert_eq!(rotate, Rotate { size: Some(32 << 20), ..default.rotate });
    let rotate = history("rotate = { size = 'none' }").rotate;
    assert_eq!(rotate, Rotate { size: None, ..default.rotate });
    let keep = history("keep = '1G'").keep;
    assert_eq!(keep, Keep { size: Some(1 << 30), ..default.keep });
    let keep = history("keep.age = 'none'\nkeep.free = 'none'").keep;
    assert_eq!(keep, Keep { age: None, free: None, ..default.keep });
    let keep = history("keep.free = '2G'").keep;
    assert_eq!(keep.free, Some(Free::Bytes(2 << 30)));
    // Nobody asked for a day at least.
    let hour = Duration::from_secs(3600);
    let keep = history("keep.age = '1h'").keep;
    assert_eq!((keep.age, keep.at_least), (Some(hour), Some(hour)));
    assert_eq!(read("sessions.max = 2").sessions.max_per_user, 2);
    assert_eq!(read("control.group = ''").control.group, None);
    let listen = read("metrics.listen = 'unix:/run/x.sock'").metrics.listen;
    assert_eq!(listen, Some(Listen::Unix("/run/x.sock".into())));
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_known_one() {
    refuses(
        "# a\n[[watch]]\npath = '/x'\n\nexlude = []",
        "5:1: unknown key `exlude` in [[watch]]; did you mean `exclude`?",
    );
    refuses(
        "histroy = 1\n[[wacht]]",
        "1:1: unknown key `histroy` in the file; did you mean `history`?",
    );
    refuses(
        "[history]\nkeep = { \"ag\\u0065\" = '1d', aeg = '1d' }",
        "2:29: unknown key `aeg` in history.keep; did you mean `age`?",
    );
    refuses(
        "[control]\nmax_bytes = '1M'",
        "2:1: unknown key `max_bytes` in [control]; it belongs in [queue]",
    );
    refuses("[queue]\nzzz = 1", "2:1: unknown key `zzz` in [queue]; its keys are max_bytes");
    refuses("\u{e4} = 1", "1:1: invalid unquoted key, expected letters, numbers, `-`, `_`");
    // Columns are characters, and the text of a key is no command for a terminal.
    let line = refused("control = { '\u{e4}\u{e4}' = 1, \"\\u001b[2J\" = 1 }");
    assert!(line.starts_with("f.toml:1:13: "), "{line}");
    let line = refused("control = { group = '\u{e4}\u{e4}', \"\\u001b[2J\" = 1 }");
    assert!(line.starts_with("f.toml:1:27: unknown key `\\u{1b}[2J` in "), "{line}");
}

#[test]
fn what_is_no_toml_is_refused_with_its_place() {
    for (text, place) in [
        ("[history\ndir = 1", "f.toml:1:9: "),
        ("[history]\n\ndir = \"", "f.toml:3:8: "),
        ("[history]\ndir = '/a'\ndir = '/b'", "f.toml:3:1: "),
        ("\0", "f.toml:1:2: "),
    ] {
        let line = refused(text);
        assert!(line.starts_with(place) && !line.contains('\n'), "{line}");
    }
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(refused(&deep).len() < 200);
    let long = format!("#{}", "x".repeat(1 << 20));
    assert_eq!(refused(&long), "f.toml has 1048577 bytes; at most 1048576 are read");
}

#[test]
fn a_wrong_value_says_what_to_write() {
    for (text, line) in [
        ("history = 1", "1:11: `history` is a number; write [history] and its keys below"),
        (
            "history.dir = 'x'",
            "1:15: `history.dir` is \"x\"; write an absolute path, which begins with /",
        ),
        (
            "history.dir = ''",
            "1:15: `history.dir` is \"\"; write an absolute path, which begins with /",
        ),
        (
            "history.dir = '/a/../b'",
            "1:15: `history.dir` is \"/a/../b\"; write the path that its .. leads to",
        ),
        (
            "history.rotate = 64",
            "1:18: `history.rotate` is a number; write a table such as { size = \"64M\" }",
        ),
        (
            "history.rotate = '64'",
            "1:18: `history.rotate` is \"64\"; write a size such as \"64M\" or \"10G\"",
        ),
        (
            "history.rotate.age = '0s'",
            "1:22: `history.rotate.age` is \"0s\"; write a time such as \"10s\", \"24h\" or \"30d\"",
        ),
        (
            "history.rotate.age = '200y'",
            "1:22: `history.rotate.age` is \"200y\"; write a time such as \"10s\", \"24h\" or \"30d\"",
        ),
        (
            "history.rotate.age = '90000d'",
            "1:22: `history.rotate.age` is more than a century; write a time such as \"10s\", \"24h\" or \"30d\"",
        ),
        (
            "history.keep.free = '100%'",
            "1:21: `history.keep.free` is \"100%\"; write a part such as \"5%\", a size such as \"10G\", or \"none\"",
        ),
        (
            "history.compress = 'gzip'",
            "1:20: `history.compress` is \"gzip\"; write one of \"none\", \"lz4\", \"zstd\", \
             \"zstd-window\"",
        ),
        (
            "control.group = 'a b'",
            "1:17: `control.group` is \"a b\"; write the name of a group, or \"\" for none",
        ),
        (
            "sessions.enabled = 'yes'",
            "1:20: `sessions.enabled` is a string; write true or false, without quotes",
        ),
        ("sessions.max = 0", "1:16: `sessions.max` is 0; write a number from 1 to 4096"),
        ("sessions.max = -1", "1:16: `sessions.max` is -1; write a number from 1 to 4096"),
        (
            "sessions.max = 99999999999999999999999",
            "1:16: `sessions.max` is 99999999999999999999999; write a number from 1 to 4096",
        ),
        (
            "metrics.listen = ':9477'",
            "1:18: `metrics.listen` is \":9477\"; write \"127.0.0.1:9477\", \"unix:/run/fsmon/metrics.sock\", or \"\" for none",
        ),
        (
            "metrics.listen = '127.0.0.1:0'",
            "1:18: `metrics.listen` is \"127.0.0.1:0\"; write \"127.0.0.1:9477\", \"unix:/run/fsmon/metrics.sock\", or \"\" for none",
        ),
        (
            "metrics.listen = 'unix:x'",
            "1:18: `metrics.listen` is \"x\"; write an absolute path, which begins with /",
        ),
        ("engine.cpu = 'all'", "1:14: `engine.cpu` is \"all\"; write one of \"auto\", \"none\""),
        (
            "engine.batch_window = '2s'",
            "1:23: `engine.batch_window` is 2s; write at most \"1000ms\"",
        ),
        (
            "engine.redact = ['-p', '[']",
            "1:17: `engine.redact` has bad glob '[': unclosed character class; missing ']'; put \\ before a literal * ? [ {",
        ),
        (
            "engine.require = 'auto'",
            "1:18: `engine.require` is \"auto\"; write one of \"any\", \"bpf\", \"tracepoint\", \"comm\", \"connector\", \"proc\"",
        ),
        (
            "watch = {}",
            "1:9: `watch` is a table; write [[watch]], with two brackets, and its keys below",
        ),
        (
            "[[watch]]\ntypes = ['OPEN']",
            "1:1: `watch.path` is missing; write the directory to watch",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude = 'x'",
            "3:11: `watch.exclude` is a string; write a list such as [\"*.tmp\"]",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude = ['x', 1]",
            "3:17: `watch.exclude` is a number; write a list such as [\"*.tmp\"]",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude = ['x', 'a[']",
            "3:17: `watch.exclude` has bad glob 'a[': unclosed character class; missing ']'; put \\ before a literal * ? [ {",
        ),
        (
            "[[watch]]\npath = '/a'\ninclude = ['!x']",
            "3:12: `watch.include` has bad glob '!x': ! does not negate it; write `exclude` 'x', or \\! for a name that begins with !",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude = ['/a']",
            "3:12: `watch.exclude` has bad glob '/a': /a is to be watched, and nothing of it would be left; name what to leave out below it",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude_cmd = ['!x']",
            "3:16: `watch.exclude_cmd` has bad glob '!x': ! does not negate it; write no `exclude_cmd` for 'x', or \\! for a name that begins with !",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude_cgroup = ['!x']",
            "3:19: `watch.exclude_cgroup` has bad glob '!x': ! does not negate it; write no `exclude_cgroup` for 'x', or \\! for a name that begins with !",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude_user = ['a,b']",
            "3:17: `watch.exclude_user` has bad user 'a,b'; write one name or uid at a time",
        ),
        (
            "[[watch]]\npath = '/a'\ninclude_regex = ['a', 'b(']",
            "3:23: `watch.include_regex` has bad regular expression 'b(': unclosed group",
        ),
        (
            "[[watch]]\npath = '/a'\nexclude_regex = ['(?s)(.{9999}){99}']",
            "3:18: `watch.exclude_regex` has bad regular expression '(?s)(.{9999}){99}': it takes more than 1 MiB of memory; write fewer or smaller repetitions",
        ),
        (
            "[[watch]]\npath = '/a'\ntypes = []",
            "3:9: `watch.types` is empty; leave it out for the default types",
        ),
        (
            "[[watch]]\npath = '/a'\nmax_depth = 2\nrecursive = false",
            "3:13: `watch.max_depth` goes deeper than recursive = false; leave one out",
        ),
        (
            "[[watch]]\npath = '/a'\nsize = '1M'",
            "3:8: `watch.size` is \"1M\"; write a condition such as \">=1G\", \"<64K\" or \"=0\"",
        ),
    ] {
        refuses(text, line);
    }
    let many: Vec<_> = (0..100).map(|number| format!("a{number}.{{200}}")).collect();
    let line = refused(&format!("[[watch]]\npath = '/a'\nexclude_regex = {many:?}"));
    let begin = "f.toml:3:17: `watch.exclude_regex` has patterns that are too much together: they ";
    assert!(line.starts_with(begin), "{line}");
    let line = refused("[[watch]]\npath = '/a'\ntypes = ['OPEN', 'OPENED']");
    let begin = "f.toml:3:18: `watch.types` has unknown event type 'OPENED'; write one of CREATE, ";
    assert!(line.starts_with(begin), "{line}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for (text, line) in [
        (
            "[history]\nrotate = '64M'\nkeep = '127M'",
            "3:8: `history.keep.size` is 127M, less than two files of history.rotate.size (64M); raise it, or lower history.rotate.size",
        ),
        (
            "[history]\nkeep = { age = '1d', at_least = '25h' }",
            "2:33: `history.keep.at_least` is 25h, more than history.keep.age (1d); lower it, or raise that",
        ),
        (
            "sessions.max = 2\nsessions.max_per_user = 3",
            "2:25: `sessions.max_per_user` is 3, more than sessions.max (2); lower it",
        ),
        (
            "control.socket = '/x'\nmetrics.listen = 'unix:/x'",
            "2:18: `metrics.listen` is /x, as control.socket is; write another path",
        ),
        (
            "sessions.socket = '/run/fsmon/control.sock'",
            "1:19: `sessions.socket` is /run/fsmon/control.sock, as control.socket is; write another path",
        ),
        (
            "[[watch]]\npath = '/a'\n[[watch]]\npath = '/a/'",
            "4:8: `watch.path` is watched already, further up; put what is wanted into one [[watch]]",
        ),
        (
            "[[watch]]\npath = '/a'\n[[watch]]\npath = '/var/lib/fsmon/history/x'",
            "4:8: `watch.path` is /var/lib/fsmon/history/x, and what happens in the history (/var/lib/fsmon/history) is never recorded; leave it out",
        ),
    ] {
        refuses(text, line);
    }
    read("[history]\nrotate = '64M'\nkeep = '128M'");
    read("[history]\nkeep = { age = '1d', at_least = '24h' }");
    read("[[watch]]\npath = '/var/lib/fsmon'");
}

#[test]
fn what_is_too_long_or_too_much_is_refused() {
    let socket = |len: usize| format!("control.socket = '/{}'", "x".repeat(len - 1));
    read(&socket(107));
    refuses(
        &socket(108),
        "1:18: `control.socket` has 108 bytes; the path of a socket has at most 107",
    );
    let path = |len: usize| format!("[[watch]]\npath = '{}'", "/x".repeat(len / 2));
    read(&path(4094));
    refuses(&path(4096), "2:8: `watch.path` has 4096 bytes; a path has at most 4095");
    let patterns =
        |count: usize| format!("[[watch]]\npath = '/a'\nexclude = {:?}", vec!["x"; count]);
    read(&patterns(1024));
    refuses(&patterns(1025), "3:11: `watch.exclude` has 1025 entries; at most 1024 can be");
    let watches = |count: usize| -> String {
        (0..count).map(|number| format!("[[watch]]\npath = '/{number}'\n")).collect()
    };
    assert_eq!(read(&watches(1024)).watches.len(), 1024);
    assert!(refused(&watches(1025)).ends_with("`watch` has 1025 entries; at most 1024 can be"));
}

#[test]
fn a_file_is_read_if_nobody_else_could_have_written_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("f.toml");
    let load = |path: &Path| Config::load(path).map_err(|error| (error.kind(), error.to_string()));
    let (kind, line) = load(&path).expect_err("missing");
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(line.starts_with(&format!("cannot read {}: ", path.display())), "{line}");

    std::fs::write(&path, "queue.max_bytes = '1M'").expect("written");
    let link = dir.path().join("link");
    symlink(&path, &link).expect("made");
    for path in [&path, &link] {
        assert_eq!(load(path).expect("fine").queue.max_bytes, 1 << 20);
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o646)).expect("own");
    let (kind, line) = load(&path).expect_err("writable");
    assert_eq!(kind, ErrorKind::Permission);
    assert!(line.contains("is writable for all"), "{line}");

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("own");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65_534), None).expect("root may");
        let (kind, line) = load(&path).expect_err("of another");
        assert_eq!(kind, ErrorKind::Permission);
        assert!(line.contains("belongs to uid 65534"), "{line}");
        std::os::unix::fs::chown(&path, Some(0), None).expect("root may");
    }
    std::fs::write(&path, b"# \n\n\xff").expect("written");
    let (_, line) = load(&path).expect_err("no text");
    assert_eq!(line, format!("{}:3: is not UTF-8, as TOML must be", path.display()));

    let file = std::fs::File::options().write(true).open(&path).expect("own");
    file.set_len(1 << 40).expect("sparse");
    let (_, line) = load(&path).expect_err("large");
    assert!(line.ends_with("has 1099511627776 bytes; at most 1048576 are read"), "{line}");

    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
    for path in [&pipe, &dir.path().to_owned(), &PathBuf::from("/dev/null")] {
        let (kind, line) = load(path).expect_err("no file");
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(line.ends_with("is no regular file; name the file itself"), "{line}");
    }
}

#[test]
fn a_state_is_what_was_saved() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("watches.toml");
    assert_eq!(State::load(&path), Ok(State::default()));
    let watches = vec![
        Watch { exclude: vec!["a\"b\n\\*".to_owned()], ..Watch::new("/x y/\u{e4}\u{1b}") },
        Watch::new("/b"),
    ];
    let state = State { watches };
    state.save(&path).expect("saved");
    assert_eq!(State::load(&path), Ok(state.clone()));
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0);
    // A process that was killed left this.
    std::fs::write(dir.path().join("watches.toml.new"), "half").expect("written");
    State::default().save(&path).expect("saved");
    assert_eq!(State::load(&path), Ok(State::default()));
    let left: Vec<_> = dir.path().read_dir().expect("there").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_state_that_cannot_be_believed_is_an_error_and_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("watches.toml");
    let name = path.display().to_string();
    std::fs::write(&path, "[[watch]]\npath = '/a'\n[queue]\nmax_bytes = '1M'").expect("written");
    let line = State::load(&path).expect_err("more than watches").to_string();
    assert_eq!(
        line,
        format!("{name}:3:2: unknown key `queue` in a state file; its keys are watch")
    );
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("own");
    let before = std::fs::read(&path).expect("there");
    for error in [State::load(&path).map(drop), State::default().save(&path)] {
        assert_eq!(error.expect_err("writable").kind(), ErrorKind::Permission);
    }
    assert_eq!(std::fs::read(&path).expect("there"), before);
    let missing = dir.path().join("no/such/dir");
    let error = State::default().save(&missing).expect_err("no directory");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_watch_from_elsewhere_obeys_the_same_rules() {
    assert_eq!(Watch::new("/a").check("fsmon add"), Ok(()));
    let line = |watch: Watch| watch.check("fsmon add").expect_err("wrong").to_string();
    assert_eq!(
        line(Watch::new("a")),
        "fsmon add: `watch.path` is \"a\"; write an absolute path, which begins with /"
    );
    let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/a\xff");
    assert!(line(Watch::new(bytes)).contains("is not UTF-8"));
    let types = vec!["OPENED".to_owned()];
    assert!(line(Watch { types, ..Watch::new("/a") }).contains("unknown event type 'OPENED'"));
}

#[test]
fn a_reload_is_the_difference_by_path() {
    let other = |path: &str| Watch { cmdline: true, ..Watch::new(path) };
    let old = [Watch::new("/a"), Watch::new("/b"), Watch::new("/c")];
    let new = [Watch::new("/d"), other("/b"), Watch::new("/a")];
    let changes = difference(&old, &new);
    assert_eq!(changes.removed, [Watch::new("/c")]);
    assert_eq!(changes.added, [Watch::new("/d")]);
    assert_eq!(changes.changed, [Changed { old: Watch::new("/b"), new: other("/b") }]);
    assert!(!changes.is_empty());
    let [a, b, c] = old.clone();
    assert!(difference(&old, &[c, b, a]).is_empty());
}

prop_compose! {
    fn any_watch()(
        path in "(/[^/\0.][^/\0]{0,8}){1,3}",
        lists in proptest::collection::vec(proptest::collection::vec("[a-z\u{e4}\" '#.]{0,8}x", 0..3), 5),
        types in proptest::sample::subsequence(vec!["open", "ALL", "Create"], 0..3),
        recursive: bool,
        depth in proptest::option::of(1u32..=4096),
        bytes in proptest::option::of(0u64..),
        flags: [bool; 3],
    ) -> Watch {
        let mut lists = lists.into_iter();
        let mut list = || lists.next().expect("five");
        Watch {
            include: list(),
            exclude: list(),
            include_regex: list(),
            exclude_user: list(),
            exclude_cgroup: list(),
            types: types.into_iter().map(str::to_owned).collect(),
            recursive,
            max_depth: depth.filter(|depth| recursive || *depth == 1),
            size: bytes.map(|bytes| Size { comparison: Comparison::Smaller, bytes }),
            hard_links: flags[0],
            follow_mounts: flags[1],
            cmdline: flags[2],
            ..Watch::new(path)
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(watch in any_watch()) {
        let state = State { watches: vec![watch] };
        let text = state.to_toml().expect("UTF-8");
        prop_assert_eq!(State::from_toml(&text, "s").map_err(|error| error.to_string()), Ok(state), "{}", text);
    }

    #[test]
    fn damage_is_an_error_of_one_line(at in 0usize..6000, text in "\\PC{0,3}|[\\[\\]={}\"'\n#]") {
        let sample = sample_with_watch();
        let mut at = at.min(sample.len());
        while !sample.is_char_boundary(at) {
            at -= 1;
        }
        let damaged = format!("{}{text}{}", &sample[..at], &sample[at..]);
        if let Err(error) = Config::from_toml(&damaged, "f.toml") {
            let line = error.to_string();
            prop_assert!(line.starts_with("f.toml:") && !line.contains('\n'), "{}", line);
        }
    }
}

#[test]
fn a_host_lacks_what_a_configuration_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().canonicalize().expect("there").display().to_string();
    let check = |text: &str| {
        let state = format!("state.file = '{at}/watches.toml'\n");
        let history = format!("history.dir = '{at}/history'\n");
        let text =
            format!("{state}{}{text}", if text.contains("history.") { "" } else { &history });
        read(&text).check_host().map_err(|error| error.to_string())
    };
    assert_eq!(check("control.group = 'root'"), Ok(vec![]));
    assert_eq!(check("control.group = ''"), Ok(vec![]));
    let line = check("control.group = 'no-such-group'").expect_err("none");
    assert!(line.starts_with("`control.group`: there is no group no-such-group; "), "{line}");
    let textfile = format!("control.group = ''\nmetrics.textfile = '{at}/no/x.prom'");
    assert_eq!(
        check(&textfile),
        Ok(vec![format!("`metrics.textfile`: {at}/no does not exist yet")])
    );

    std::fs::write(dir.path().join("file"), "").expect("written");
    let line = check(&format!("[[watch]]\npath = '{at}/file'")).expect_err("a file");
    assert!(line.starts_with(&format!("watch of {at}/file: is no directory; ")), "{line}");
    assert!(check(&format!("[[watch]]\npath = '{at}/new'")).is_ok());
    let line = check(&format!("[[watch]]\npath = '{at}/new'\nexclude_user = ['no-such-user']"));
    let (line, begin) = (line.expect_err("none"), format!("watch of {at}/new: `exclude_user`: "));
    assert!(line.starts_with(&begin), "{line}");
    std::fs::create_dir(dir.path().join("real")).expect("made");
    symlink("real", dir.path().join("link")).expect("made");
    let line = check(&format!("[[watch]]\npath = '{at}/link'\nexclude = ['{at}/real']"));
    let (line, begin) =
        (line.expect_err("all"), format!("watch of {at}/link: `exclude`: bad glob "));
    assert!(line.starts_with(&begin), "{line}");

    let line = check(&format!("history.dir = '{at}/file'")).expect_err("a file");
    assert_eq!(line, format!("`history.dir`: {at}/file is no directory"));
    let open = dir.path().join("open");
    std::fs::create_dir(&open).expect("made");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o1777)).expect("own");
    let line = check(&format!("history.dir = '{at}/open'")).expect_err("writable");
    assert!(line.contains("is writable for all"), "{line}");
}

#[test]
fn what_was_added_gives_way_to_the_configuration() {
    let config = read("[[watch]]\npath = '/a'\ncmdline = true");
    let history = Watch::new("/var/lib/fsmon/history/x");
    assert_eq!(config.check_watch(&Watch::new("/b"), "add"), Ok(()));
    let line = config.check_watch(&history, "add").expect_err("the history").to_string();
    assert!(line.starts_with("add: `watch.path` is /var/lib/fsmon/history/x, and what "), "{line}");
    let state = State { watches: vec![Watch::new("/a"), history, Watch::new("/b")] };
    assert_eq!(config.with_state(&state), [config.watches[0].clone(), Watch::new("/b")]);
}
