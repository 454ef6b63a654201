//! Short-lived processes that write into the name of the file that they make who they are.

mod harness;

use harness::{Area, Event, Fsmon, is_root_with, sh};
use std::process::Command;

/// Every file is called `cmd,pid,ppid,uid,…`.
const WORK: &str = r#"
for i in $(seq 100); do
    sh -c 'exec touch "touch,$$,$PPID,0,'$0-$i'"'
    sh -c ': > "sh,$$,$PPID,0,'$0-$i'"'
    sh -c ': > "sh,$$,$PPID,0,a'$0-$i'"; exec cp /dev/null "cp,$$,$PPID,0,b'$0-$i'"'
    setpriv --reuid 65534 --clear-groups sh -c 'exec touch "touch,$$,$PPID,65534,'$0-$i'"'
    setpriv --reuid 1 --clear-groups sh -c ': > "sh,$$,$PPID,1,'$0-$i'"'
    ./script "$0-$i"
done
"#;
const SCRIPT: &str = "#!/bin/sh\n: > \"script,$$,$PPID,0,$1\"\n";
const FILES_A_ROUND: usize = 7;

fn is_right(event: &Event) -> bool {
    let name = event.name();
    let mut truth = name.split(',');
    let number =
        |key: &str, text: Option<&str>| event.number(key) == text.and_then(|t| t.parse().ok());
    event.text("cmd") == truth.next()
        && number("pid", truth.next())
        && number("ppid", truth.next())
        && number("uid", truth.next())
        && event.text("attribution").is_none()
}

fn chains(count: usize, backend: &str) {
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "chmod 777 .");
    std::fs::write(dir.join("script"), SCRIPT).expect("written");
    sh(&dir, "chmod 755 script");
    let running = Fsmon::watch(&dir, &["-t", "create,close_write", "--backend", backend]);
    let chains: Vec<_> = (0..count)
        .map(|i| {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-euc", WORK, &i.to_string()]).current_dir(&dir);
            shell.spawn().expect("started")
        })
        .collect();
    for mut chain in chains {
        assert!(chain.wait().expect("a child").success());
    }
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    let creates = events.iter().filter(|event| event.kind() == "CREATE").count();
    assert_eq!(creates, count * 100 * FILES_A_ROUND);
    let wrong: Vec<_> = events.iter().filter(|event| !is_right(event)).collect();
    assert!(wrong.is_empty(), "{} of {} wrong, first {:#?}", wrong.len(), events.len(), wrong[0]);
}

#[test]
fn one_chain() {
    if is_root_with(&["setpriv"]) {
        chains(1, "auto");
    }
}

#[test]
fn four_chains() {
    if is_root_with(&["setpriv"]) {
        chains(4, "uring");
    }
}

#[test]
fn four_chains_by_poll() {
    if is_root_with(&["setpriv"]) {
        chains(4, "poll");
    }
}
