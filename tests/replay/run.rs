//! Runs any command under the replay oracle: watches a directory, lists it, runs the command and
//! lists it again. Says in one line whether the second listing follows from the first and the
//! lines; exits with 1 if not, with 2 if it could not be tried.

use fsmon_harness::{Area, Fsmon, Verdict, listing};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo run --release --example replay -- \
    [--dir DIR] [--fsmon-arg ARG]... [--keep FILE] [--] COMMAND [ARG]...\n\n\
    --dir DIR        watch this directory [a new one, in which the command runs]\n\
    --fsmon-arg ARG  one more argument for fsmon\n\
    --keep FILE      write what fsmon tells to this file\n\n\
    FSMON names the fsmon to try [the one built beside this program]";

#[derive(Default)]
struct Options {
    dir: Option<PathBuf>,
    fsmon_args: Vec<String>,
    keep: Option<PathBuf>,
    command: Vec<String>,
}

/// `None` where they make no sense.
fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dir" => options.dir = Some(PathBuf::from(args.next()?).canonicalize().ok()?),
            "--fsmon-arg" => options.fsmon_args.push(args.next()?),
            "--keep" => options.keep = Some(args.next()?.into()),
            "--" => options.command = args.by_ref().collect(),
            option if option.starts_with('-') => return None,
            _ => options.command = std::iter::once(arg).chain(args.by_ref()).collect(),
        }
    }
    (!options.command.is_empty()).then_some(options)
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let area = Area::new();
    let dir = options.dir.clone().unwrap_or_else(|| area.watched());
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    if options.dir.is_none() {
        command.current_dir(&dir);
    }
    let args = ["-t", "create,delete,rename"].map(str::to_owned);
    let args: Vec<_> = args.iter().chain(&options.fsmon_args).map(String::as_str).collect();
    let running = Fsmon::watch(&dir, &args);
    let start = listing(&dir);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("{:?}: {status}", options.command[0]),
        Err(error) => {
            eprintln!("{:?}: {error}", options.command[0]);
            return ExitCode::from(2);
        }
    }
    let ended = running.stop();
    let end = listing(&dir);
    if let Some(path) = options.keep {
        std::fs::write(path, &ended.stdout).expect("it can be written");
    }
    let verdict = Verdict::new(&dir, start, &ended.events(), &end);
    println!("{verdict}");
    ExitCode::from(u8::from(!verdict.is_exact()))
}
