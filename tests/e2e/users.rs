//! Names of users: as the host knows them now, and never a reason to wait.

use fsmon_harness::{
    Area, Event, Fsmon, fsmon, is_root_with, parse_whole, program, sh, succeed, wait_until,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Uids that no host gives to anybody.
const ONE: u32 = 52_401;
const OTHER: u32 = 52_402;

/// How old a name may be.
const AGE_MAX: Duration = Duration::from_secs(10);

/// A fsmon for which another file is /etc/passwd.
struct Host {
    area: Area,
    passwd: PathBuf,
    out: PathBuf,
}

impl Host {
    fn new(extra: &str) -> Self {
        let area = Area::new();
        let (passwd, out) = (area.path("passwd"), area.path("out"));
        fs::write(&passwd, Host::users(extra)).expect("written");
        sh(&area.path(""), "chmod 777 watched");
        Host { area, passwd, out }
    }

    fn users(extra: &str) -> String {
        fs::read_to_string("/etc/passwd").expect("read") + extra
    }

    /// In place, as an editor or `vipw` may not do it, but a container's bind mount needs.
    fn set(&self, extra: &str) {
        fs::write(&self.passwd, Host::users(extra)).expect("written");
    }

    fn start(&self, format: &str, preload: Option<&Path>) -> Fsmon {
        let script = "mount --make-rprivate / && mount --bind \"$0\" /etc/passwd && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "/bin/sh", "-c", script]).arg(&self.passwd).arg("env");
        if let Some(library) = preload {
            command.arg(format!("LD_PRELOAD={}", library.display()));
        }
        command.arg(program()).args(["-f", format, "-t", "create", "-o"]).arg(&self.out);
        Fsmon::start_with(command.arg(self.area.watched()), Stdio::null())
    }

    /// Somebody makes a file; the line about it, and how long it took to come.
    fn touch(&self, uid: u32, name: &str) -> (Event, Duration) {
        let id = uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "touch"]);
        succeed(command.arg(self.area.watched().join(name)));
        let began = Instant::now();
        let mut found = None;
        fsmon_harness::wait_until(name, || {
            let text = fs::read(&self.out).expect("read");
            found = parse_whole(&text).into_iter().find(|event| event.name() == name);
            found.is_some()
        });
        let event = found.expect("found");
        assert_eq!(event.number("uid"), Some(uid.into()));
        (event, began.elapsed())
    }

    /// Touches files until their lines have that name, which may take as long as a name may be old.
    fn wait_for_name(&self, uid: u32, name: &str, allowed: &[Option<&str>]) {
        let began = Instant::now();
        for i in 0.. {
            let (event, _) = self.touch(uid, &format!("{name}-{uid}-{i}"));
            if event.text("user") == Some(name) {
                return;
            }
            assert!(allowed.contains(&event.text("user")), "{event:?}");
            assert!(began.elapsed() < AGE_MAX, "{uid} is not {name}: {event:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_until_unnamed(&self, uid: u32, name: &str) {
        let began = Instant::now();
        for i in 0.. {
            let (event, _) = self.touch(uid, &format!("unnamed-{i}"));
            if event.text("user").is_none() {
                return;
            }
            assert_eq!(event.text("user"), Some(name));
            assert!(began.elapsed() < AGE_MAX, "{uid} is still {name}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn line(name: &str, uid: u32) -> String {
    format!("{name}:x:{uid}:{uid}::/:/bin/sh\n")
}

#[test]
fn a_name_follows_the_file_of_users() {
    if !is_root_with(&["unshare", "mount", "setpriv"]) {
        return;
    }
    let host = Host::new(&line("olduser", ONE));
    let running = host.start("json", None);
    assert_eq!(host.touch(0, "root").0.text("user"), Some("root"));
    assert_eq!(host.touch(ONE, "first").0.text("user"), Some("olduser"));
    assert_eq!(host.touch(OTHER, "nobody").0.text("user"), None);
    // A name of the same length, and a user who was not there at the start.
    host.set(&(line("newuser", ONE) + &line("late", OTHER)));
    host.wait_for_name(ONE, "newuser", &[Some("olduser"), None]);
    host.wait_for_name(OTHER, "late", &[None]);
    host.set("");
    host.wait_until_unnamed(ONE, "newuser");
    running.stop().assert_complete();
}

#[test]
fn a_process_that_goes_on_gets_the_new_name_also_in_a_stream() {
    if !is_root_with(&["unshare", "mount", "setpriv"]) {
        return;
    }
    for format in ["json", "binary"] {
        let host = Host::new(&line("olduser", ONE));
        let running = host.start(format, None);
        // One process throughout: it makes a file for each line that it reads.
        let id = ONE.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "/bin/sh", "-c"]);
        command.arg("while read -r name; do : >\"$name\"; echo; done");
        command.current_dir(host.area.watched()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let (mut to, mut from) =
            (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut make = |name: &str| {
            use std::io::{Read, Write};
            writeln!(to, "{name}").expect("it reads");
            from.read_exact(&mut [0]).expect("it answers");
        };
        let users = |host: &Host| -> Vec<_> {
            let text = match format {
                "json" => fs::read(&host.out).expect("read"),
                // The end of the stream is still to come.
                _ => fsmon(["decode", "-f", "json"]).arg(&host.out).output().expect("run").stdout,
            };
            let event = |event: Event| (event.text("user").map(str::to_owned), event.number("pid"));
            parse_whole(&text).into_iter().map(event).collect()
        };
        make("before");
        wait_until("the first name", || users(&host).len() == 1);
        host.set(&line("newuser", ONE));
        let mut made = 0;
        wait_until("the new name", || {
            made += 1;
            make(&format!("after-{made}"));
            users(&host).iter().any(|(user, _)| user.as_deref() == Some("newuser"))
        });
        drop(to);
        assert!(child.wait().expect("a child").success());
        running.stop().assert_complete();
        let mut all = users(&host);
        all.dedup();
        let pid = all[0].1;
        let expected = ["olduser", "newuser"].map(|name| (Some(name.to_owned()), pid));
        assert_eq!(all, expected, "{format}");
    }
}

/// Answers for users who are not in /etc/passwd after so long, as a directory that is far away does.
const SLOW: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <unistd.h>
int getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t len, struct passwd **out) {
    int (*real)(uid_t, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwuid_r");
    if (uid != 52402)
        return real(uid, pw, buf, len, out);
    sleep(4);
    int error = real(0, pw, buf, len, out);
    if (error == 0 && *out)
        pw->pw_name = "faraway";
    return error;
}
"#;

#[test]
fn a_slow_directory_service_delays_nothing() {
    if !is_root_with(&["unshare", "mount", "setpriv", "gcc"]) {
        return;
    }
    let host = Host::new(&line("olduser", ONE));
    let (source, library) = (host.area.path("slow.c"), host.area.path("slow.so"));
    fs::write(&source, SLOW).expect("written");
    succeed(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]));
    let running = host.start("json", Some(&library));
    let began = Instant::now();
    let mut lines = 0;
    // Until the service has answered every line comes at once, without that name, and with others.
    loop {
        let (event, took) = host.touch(OTHER, &format!("far-{lines}"));
        if event.text("user") == Some("faraway") {
            break;
        }
        assert_eq!(event.text("user"), None, "{event:?}");
        assert!(took < Duration::from_secs(2), "a line waited {took:?}");
        let (event, took) = host.touch(ONE, &format!("near-{lines}"));
        assert_eq!(event.text("user"), Some("olduser"));
        assert!(took < Duration::from_secs(2), "a line waited {took:?}");
        lines += 1;
        assert!(began.elapsed() < Duration::from_secs(30), "it never answered");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(lines > 3, "only {lines} lines in {:?}", began.elapsed());
    running.stop().assert_complete();
}
