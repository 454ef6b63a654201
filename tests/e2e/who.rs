//! Short-lived processes that write into the name of the file that they make who they are.

use fsmon_harness::{Area, Ended, Event, Fsmon, is_root_with, repeats, sh};
use std::process::Command;

/// Every file is called `cmd,pid,ppid,uid,…`.
const WORK: &str = r#"
for i in $(seq $1); do
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
}

fn is_exact(event: &Event) -> bool {
    is_right(event) && event.text("attribution").is_none()
}

/// Runs that many chains side by side, watched with these options.
fn chains(count: usize, args: &[&str]) -> Ended {
    let area = Area::new();
    let dir = area.watched();
    let rounds = repeats(100);
    sh(&dir, "chmod 777 .");
    std::fs::write(dir.join("script"), SCRIPT).expect("written");
    sh(&dir, "chmod 755 script");
    let running = Fsmon::watch(&dir, &[&["-t", "create,close_write"], args].concat());
    let chains: Vec<_> = (0..count)
        .map(|i| {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-euc", WORK, &i.to_string(), &rounds.to_string()]).current_dir(&dir);
            shell.spawn().expect("started")
        })
        .collect();
    for mut chain in chains {
        assert!(chain.wait().expect("a child").success());
    }
    let ended = running.stop();
    let creates = ended.events().iter().filter(|event| event.kind() == "CREATE").count();
    assert_eq!(creates, count * rounds * FILES_A_ROUND);
    ended
}

fn assert_exact(ended: &Ended) {
    ended.assert_complete();
    let events = ended.events();
    let wrong: Vec<_> = events.iter().filter(|event| !is_exact(event)).collect();
    assert!(wrong.is_empty(), "{} of {} wrong, first {:#?}", wrong.len(), events.len(), wrong[0]);
}

#[test]
fn one_chain() {
    if is_root_with(&["setpriv"]) {
        assert_exact(&chains(1, &[]));
    }
}

#[test]
fn four_chains_on_every_backend() {
    if is_root_with(&["setpriv"]) {
        for backend in fsmon_harness::backends() {
            assert_exact(&chains(4, &["--backend", backend]));
        }
    }
}

#[test]
fn lower_rungs_of_the_ladder_are_right_or_in_doubt() {
    if !is_root_with(&["setpriv"]) {
        return;
    }
    for who in ["tracepoint", "comm", "connector", "proc"] {
        for backend in fsmon_harness::backends() {
            let ended = chains(2, &["--who", who, "--backend", backend]);
            assert!(ended.status.success(), "{:#?}", ended.stderr);
            let events = ended.events();
            let is_honest = |event: &Event| is_right(event) || event.text("attribution").is_some();
            let wrong: Vec<_> = events.iter().filter(|event| !is_honest(event)).collect();
            let (count, all) = (wrong.len(), events.len());
            assert!(wrong.is_empty(), "{who}, {backend}: {count} of {all}, first {:#?}", wrong[0]);
        }
    }
}
