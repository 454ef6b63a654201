//! Real programs at work: the final tree follows from the start and the lines, and the lines
//! name the right processes.

use fsmon_harness::{Area, Event, cargo_home, is_root_with, record_and_replay, sh, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TREE: [&str; 2] = ["-t", "create,delete,rename,close_write"];

/// Every event has a process that is exactly known, but for what was found, which nobody saw being made: in a
/// directory that came in, or that got its mark late. That is told late, or names nobody.
fn assert_named(events: &[Event]) {
    let is_exact =
        |event: &&Event| event.text("cmd").is_some() && event.text("attribution").is_none();
    let is_found = |event: &&Event| {
        event.flag("found") && matches!(event.text("attribution"), Some("late" | "unknown"))
    };
    let doubtful: Vec<_> =
        events.iter().filter(|event| !is_exact(event) && !is_found(event)).collect();
    assert!(doubtful.is_empty(), "{} in doubt, first {:#?}", doubtful.len(), doubtful[0]);
}

/// Who made the files that `is_one` picks, each once.
fn makers(events: &[Event], is_one: impl Fn(&str) -> bool) -> Vec<String> {
    let made = events.iter().filter(|event| event.kind() == "CREATE" && is_one(&event.name()));
    let mut all: Vec<_> = made.map(|event| event.text("cmd").unwrap_or("?").to_owned()).collect();
    all.sort();
    all.dedup();
    all
}

/// A directory with some hundred real files, if there is one.
fn real_tree() -> Option<PathBuf> {
    let registry = fs::read_dir(cargo_home().join("registry/src")).ok();
    let crates = registry.into_iter().flatten().flatten().filter_map(|index| {
        let crates = fs::read_dir(index.path()).ok()?.flatten();
        crates.map(|one| one.path()).find(|path| path.to_string_lossy().contains("/libc-0"))
    });
    crates.chain([PathBuf::from("/usr/include")]).find(|path| path.is_dir())
}

/// Runs cargo as if from a shell: without what the one that runs this test has set.
fn cargo(dir: &Path, args: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(args).current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if text.starts_with("CARGO") && text != "CARGO_HOME" || text.starts_with("RUSTFLAGS") {
            cargo.env_remove(name);
        }
    }
    succeed(&mut cargo);
}

#[test]
fn builds_and_cleaning_by_cargo() {
    if !is_root_with(&["cc"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    fs::create_dir(dir.join("src")).expect("made");
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [dependencies]\nmemchr = \"2\"\nitoa = \"1\"\n[workspace]\n";
    fs::write(dir.join("Cargo.toml"), manifest).expect("written");
    fs::write(
        dir.join("src/main.rs"),
        "fn main() { println!(\"{:?}\", memchr::memchr(b'1', itoa::Buffer::new().format(41).as_bytes())); }",
    )
    .expect("written");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    fs::copy(lock, dir.join("Cargo.lock")).expect("copied");
    let events = record_and_replay(&dir, &TREE, || {
        cargo(&dir, &["build", "--offline", "--quiet"]);
        cargo(&dir, &["build", "--offline", "--quiet", "--release"]);
        cargo(&dir, &["clean", "--quiet"]);
        cargo(&dir, &["build", "--offline", "--quiet"]);
    });
    assert_named(&events);
    let deleted = events
        .iter()
        .filter(|event| event.kind() == "DELETE" && event.path() == Some(dir.join("target")));
    assert_eq!(deleted.map(|event| event.text("cmd")).collect::<Vec<_>>(), [Some("cargo")]);
    assert_eq!(
        makers(&events, |name| name.ends_with(".rlib") || name.ends_with(".rmeta")),
        ["rustc"]
    );
    assert_eq!(makers(&events, |name| name == ".fingerprint" || name == ".cargo-lock"), ["cargo"]);
    let linked = makers(&events, |name| {
        // Some linkers write under a passing name and rename.
        name.starts_with("small-") && (!name.contains('.') || name.contains(".tmp"))
    });
    assert!(linked.iter().any(|cmd| cmd.contains("ld")), "the linker among {linked:?}");
}

#[test]
fn a_build_by_make() {
    if !is_root_with(&["make", "gcc", "as", "ld"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for i in 0..40 {
        let text = format!("#include <stdio.h>\nint f{i}(void) {{ return printf(\"{i}\"); }}\n");
        fs::write(dir.join(format!("f{i}.c")), text).expect("written");
    }
    fs::write(dir.join("main.c"), "int main(void) { return 0; }\n").expect("written");
    let makefile = "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\n\
                    prog: $(OBJECTS)\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -c -o $@ $<\n\
                    clean:\n\trm -f *.o prog\n";
    fs::write(dir.join("Makefile"), makefile).expect("written");
    let events = record_and_replay(&dir, &TREE, || {
        for _ in 0..2 {
            succeed(Command::new("make").args(["-j4"]).current_dir(&dir));
            succeed(Command::new("make").arg("clean").current_dir(&dir));
        }
    });
    assert_named(&events);
    assert_eq!(makers(&events, |name| name.ends_with(".o")), ["as"]);
    assert_eq!(makers(&events, |name| name == "prog"), ["ld"]);
    let removed =
        events.iter().filter(|event| event.kind() == "DELETE" && event.text("cmd") == Some("rm"));
    assert_eq!(removed.count(), 2 * 42);
}

#[test]
fn a_clone_by_git() {
    if !is_root_with(&["git"]) {
        return;
    }
    let area = Area::new();
    let (dir, origin) = (area.watched(), area.dir("origin"));
    let Some(tree) = real_tree() else { return fsmon_harness::skip("no tree of real files here") };
    succeed(Command::new("cp").arg("-r").arg(tree).arg(origin.join("tree")));
    sh(&origin, "git init -q; git add -A -f; git -c user.name=t -c user.email=t@t commit -qm all");
    let events = record_and_replay(&dir, &TREE, || {
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--no-local"]).arg(&origin).arg(dir.join("clone"));
        succeed(&mut git);
        sh(
            &dir.join("clone"),
            "git checkout -q -b other; git rm -q -r tree/src || git rm -q -r tree; git gc -q",
        );
    });
    assert_named(&events);
    let cmds = makers(&events, |_| true);
    assert!(cmds.iter().all(|cmd| cmd.starts_with("git")), "{cmds:?}");
}

#[test]
fn an_archive_unpacked_by_tar() {
    if !is_root_with(&["tar"]) {
        return;
    }
    let area = Area::new();
    let (dir, archive) = (area.watched(), area.path("tree.tar"));
    let Some(tree) = real_tree() else { return fsmon_harness::skip("no tree of real files here") };
    succeed(Command::new("tar").arg("cf").arg(&archive).arg("-C").arg(tree).arg("."));
    let events = record_and_replay(&dir, &TREE, || {
        succeed(Command::new("tar").arg("xf").arg(&archive).current_dir(&dir));
        sh(&dir, "cp -r . ../copy; rm -rf ./*; mv ../copy back; rm -rf back");
    });
    assert_named(&events);
    let seen = makers(&events, |_| true);
    assert!(seen.contains(&"tar".into()), "{seen:?}");
    let by_rm = |event: &&Event| event.text("cmd") == Some("rm");
    assert!(events.iter().filter(|event| event.kind() == "DELETE").all(|event| by_rm(&event)));
}

#[test]
fn bytecode_by_python() {
    if !is_root_with(&["python3"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let library = succeed(
        Command::new("python3").args(["-c", "import os; print(os.path.dirname(os.__file__))"]),
    );
    let library = PathBuf::from(String::from_utf8_lossy(&library.stdout).trim());
    for package in ["json", "email", "asyncio", "logging", "http"] {
        succeed(Command::new("cp").arg("-r").arg(library.join(package)).arg(&dir));
    }
    sh(&dir, "rm -rf */__pycache__");
    let events = record_and_replay(&dir, &TREE, || {
        succeed(
            Command::new("python3")
                .args(["-m", "compileall", "-q", "-j", "2", "."])
                .current_dir(&dir),
        );
    });
    assert_named(&events);
    // Written under a passing name and renamed.
    let compiled =
        events.iter().filter(|event| event.kind() == "RENAME" && event.name().ends_with(".pyc"));
    assert!(compiled.count() > 50);
    let cmds = makers(&events, |_| true);
    assert!(cmds.iter().all(|cmd| cmd.starts_with("python")), "{cmds:?}");
}
