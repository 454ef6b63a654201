//! Every event type: what brings it about, and that only what was asked for comes.

use fsmon_harness::{
    Area, Event, briefs, copy_program, is_root, is_root_with, record, sh, succeed,
};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

/// The lines of one type, brief.
fn of(dir: &Path, kind: &str, action: impl FnOnce(&Path)) -> Vec<String> {
    briefs(&record(dir, &["-t", kind], || action(dir)), dir)
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::kind).collect()
}

#[test]
fn create_of_every_sort_of_entry() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let lines = of(&area.watched(), "create", |dir| {
        sh(dir, "echo x > file; mkdir dir; ln -s file symlink; ln file hardlink; mkfifo fifo");
    });
    let expected = ["file", "dir/", "symlink", "hardlink", "fifo"];
    assert_eq!(lines, expected.map(|name| format!("CREATE {name}")));
}

#[test]
fn delete_of_a_file_and_a_directory() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "echo x > file; mkdir dir");
    let lines = of(&area.watched(), "delete", |dir| sh(dir, "rm file; rmdir dir"));
    assert_eq!(lines, ["DELETE file", "DELETE dir/"]);
}

#[test]
fn rename_is_one_line_with_both_paths() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "echo x > a; mkdir d");
    let lines = of(&area.watched(), "rename", |dir| {
        fs::rename(dir.join("a"), dir.join("d/b")).expect("renamed");
        fs::rename(dir.join("d"), dir.join("e")).expect("renamed");
    });
    assert_eq!(lines, ["RENAME a -> d/b", "RENAME d/ -> e/"]);
}

#[test]
fn the_halves_of_a_rename_by_themselves() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "echo x > a");
    let events = record(&area.watched(), &["-t", "moved_from", "-t", "MOVED_TO"], || {
        sh(&area.watched(), "mv a b");
    });
    assert_eq!(briefs(&events, &area.watched()), ["MOVED_FROM a", "MOVED_TO b"]);
    assert!(events.iter().all(|event| event.old_path().is_none()));
}

#[test]
fn move_self_and_delete_self_of_watched_objects() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "mkdir d");
    let events = record(&area.watched(), &["-t", "move_self,delete_self"], || {
        sh(&area.watched(), "mv d e; rmdir e");
    });
    assert_eq!(kinds(&events), ["MOVE_SELF", "DELETE_SELF"]);
    assert!(events.iter().all(|event| event.flag("is_dir")));
}

#[test]
fn open_access_modify_and_close_of_a_file() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "echo old > file");
    let types = "open,access,modify,close_write,close_nowrite";
    let path = area.watched().join("file");
    let events = record(&area.watched(), &["-t", types], || {
        let mut file = File::options().read(true).write(true).open(&path).expect("opened");
        file.read_to_end(&mut Vec::new()).expect("read");
        file.write_all(b"new").expect("written");
        drop(file);
        drop(File::open(&path).expect("opened"));
    });
    let mine: Vec<_> = events.iter().filter(|event| event.name() == "file").collect();
    for kind in ["OPEN", "ACCESS", "MODIFY", "CLOSE_WRITE", "CLOSE_NOWRITE"] {
        assert!(mine.iter().any(|event| event.kind() == kind), "{kind}: {events:#?}");
    }
    assert!(events.iter().all(|event| event.path().is_some()), "{events:#?}");
}

#[test]
fn modify_by_truncate_and_write() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "echo old > file");
    let lines = of(&area.watched(), "modify", |dir| sh(dir, "echo more >> file"));
    assert_eq!(lines, ["MODIFY file"]);
}

#[test]
fn attrib_by_chmod_and_touch() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.watched(), "echo x > file; mkdir dir");
    let lines = of(&area.watched(), "attrib", |dir| sh(dir, "chmod 600 file; chmod 700 dir"));
    assert_eq!(lines, ["ATTRIB file", "ATTRIB dir/"]);
}

#[test]
fn open_exec_of_a_program() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let program = area.watched().join("program");
    copy_program(Path::new("/bin/true"), &program);
    let lines = of(&area.watched(), "OPEN_EXEC", |_| {
        succeed(&mut Command::new(&program));
    });
    assert_eq!(lines, ["OPEN_EXEC program"]);
}

#[test]
fn only_the_default_types_unless_asked() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let events = record(&area.watched(), &[], || {
        sh(&area.watched(), "echo x > a; chmod 600 a; cat a; mv a b; rm b; mkdir d; rmdir d");
    });
    let default = ["CREATE", "DELETE", "RENAME", "CLOSE_WRITE", "ATTRIB"];
    for kind in default {
        assert!(kinds(&events).contains(&kind), "{kind}: {events:#?}");
    }
    assert!(kinds(&events).iter().all(|kind| default.contains(kind)), "{events:#?}");
}

#[test]
fn all_means_all() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let events = record(&area.watched(), &["--types", "all"], || {
        sh(
            &area.watched(),
            "cp /bin/true p; ./p; cat p; chmod 700 p; mv p q; rm q; mkdir d; rmdir d",
        );
    });
    for kind in [
        "CREATE",
        "MODIFY",
        "ATTRIB",
        "CLOSE_WRITE",
        "CLOSE_NOWRITE",
        "OPEN",
        "OPEN_EXEC",
        "ACCESS",
        "RENAME",
        "MOVED_FROM",
        "MOVED_TO",
        "MOVE_SELF",
        "DELETE",
        "DELETE_SELF",
    ] {
        assert!(kinds(&events).contains(&kind), "{kind}: {:?}", kinds(&events));
    }
}

#[test]
fn types_of_a_merged_event_come_in_causal_order() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    // A wide window, so that the kernel merges what it can.
    let events = record(
        &area.watched(),
        &["--batch-window", "200ms", "-t", "create,modify,close_write,delete"],
        || {
            sh(&area.watched(), "echo x > a; rm a");
        },
    );
    let lines = briefs(&events, &area.watched());
    assert_eq!(lines, ["CREATE a", "MODIFY a", "CLOSE_WRITE a", "DELETE a"]);
}

#[test]
fn fs_error_of_a_filesystem_that_is_given_up() {
    if !is_root_with(&["mkfs.ext4", "mount"]) {
        return;
    }
    let mut area = Area::new();
    let image = area.path("image");
    succeed(Command::new("truncate").args(["-s", "32M"]).arg(&image));
    succeed(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
    let args = ["-o", "loop,errors=continue", image.to_str().expect("UTF-8")];
    let Some(dir) = area.try_mount("mnt", &args) else {
        return fsmon_harness::skip("no loop devices here");
    };
    let events = record(&dir, &["-t", "fs_error"], || {
        // ext4 takes this for an error of the filesystem (fs/ext4/super.c, "Abort forced by user").
        let abort = ["-o", "remount,abort"];
        let _ = Command::new("mount").args(abort).arg(&dir).output();
        let _ = fs::write(dir.join("file"), "x");
    });
    assert!(kinds(&events).contains(&"FS_ERROR"), "{events:#?}");
    let error = events.iter().find(|event| event.kind() == "FS_ERROR").expect("just seen");
    assert!(error.number("error").is_some_and(|errno| errno > 0), "{error:?}");
    assert!(error.number("error_count").is_some_and(|count| count > 0), "{error:?}");
}
