//! Checks arguments that are valid one by one but wrong together.

use crate::args::client::ImportArgs;
use crate::args::{Cli, Command, WatchArgs};
use clap::CommandFactory;
use fsmon_store::changes::Since;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// How similar a word must be to a command to be taken for a misspelling; clap uses the same value.
const ALIKE: f64 = 0.7;

/// Checks the whole command line.
///
/// # Errors
/// It is wrong: one line with the remedy.
pub(crate) fn check(cli: &Cli) -> Result<(), String> {
    match &cli.command {
        None => paths_look_like_paths(&cli.watch),
        Some(Command::Decode(args)) => range_is_one(args.since, args.until),
        Some(Command::Changes(args)) => match args.since {
            Some(Since::Moment(since)) => range_is_one(Some(since), args.until),
            _ => Ok(()),
        },
        Some(Command::Import(args)) => force_has_a_file(args),
        Some(_) => Ok(()),
    }
}

/// Refuses a bare word that is no directory: fsmon would wait for ever for it to appear, but the user meant a
/// command.
fn paths_look_like_paths(args: &WatchArgs) -> Result<(), String> {
    let is_bare = |path: &&Path| path.components().count() == 1 && !has_slash(path);
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let paths = args.paths.iter().map(PathBuf::as_path);
    let Some(word) = paths.filter(is_bare).find(|path| !is_there(path)).filter(|_| !args.wait)
    else {
        return Ok(());
    };
    let word = word.to_string_lossy();
    Err(format!(
        "{} To watch a directory that does not exist yet write ./{}, or add --wait",
        instead_of(&word),
        word.escape_debug()
    ))
}

/// What is wrong with a word that is no directory, and what the user may have meant.
fn instead_of(word: &str) -> String {
    let command = Cli::command();
    let commands: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    if commands.contains(&word) {
        return format!(
            "{word} is a command only as the first word, and no directory; write fsmon {word} first, then its options."
        );
    }
    let nearest = commands
        .iter()
        .map(|command| (strsim::jaro(word, command), *command))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let remedy = match (nearest, word) {
        // Commands of other programs.
        (_, "help" | "version") => format!("did you mean --{word}?"),
        (Some((_, command)), _) => format!("did you mean {command}?"),
        (None, _) => format!("commands are {}.", commands.join(", ")),
    };
    format!("{} is neither a command nor a directory; {remedy}", word.escape_debug())
}

fn has_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&b'/')
}

/// Refuses a range that ends before it begins.
fn range_is_one(since: Option<u64>, until: Option<u64>) -> Result<(), String> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err(format!(
            "--since {} is later than --until {}; swap them",
            shown(since),
            shown(until)
        )),
        _ => Ok(()),
    }
}

/// Refuses to replace nothing.
fn force_has_a_file(args: &ImportArgs) -> Result<(), String> {
    match args.force && args.output == Path::new("-") {
        true => {
            Err("--force replaces a file; name it with -o FILE, or leave --force out".to_owned())
        }
        false => Ok(()),
    }
}

fn shown(real_ns: u64) -> String {
    let at = Timestamp::from_nanosecond(real_ns.into()).unwrap_or(Timestamp::MAX);
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn checked(args: &[&str]) -> Result<(), String> {
        check(&Cli::try_parse_from([&["fsmon"], args].concat()).expect("valid parts"))
    }

    #[test]
    fn a_bare_word_that_is_no_directory_names_the_nearest_command() {
        for (args, words) in [
            (&["nosuchword"][..], "commands are decode"),
            (&["decod", "x"], "did you mean decode?"),
            (&["-f", "json", "docter"], "did you mean doctor?"),
            (&["/tmp", "nosuchword"], "./nosuchword"),
            (
                &["-f", "json", "decode", "x"],
                "write fsmon decode first, then its options. To watch",
            ),
            (&["/tmp", "doctor"], "write fsmon doctor first"),
            (&["help"], "did you mean --help?"),
            (&["version"], "did you mean --version?"),
            (&["-"], "write ./-"),
            (&["nosuch\n\x1b[2Jword"], "nosuch\\n\\u{1b}[2Jword is neither"),
        ] {
            let line = checked(args).expect_err("no directory");
            assert!(line.contains(words) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn what_looks_like_a_path_may_come_to_be() {
        for args in [
            &[][..],
            &["src"],
            &[".", "..", "/"],
            &["./nosuchword"],
            &["nosuchword/"],
            &["no/such/word"],
            &["/no-such-word"],
            &["--wait", "nosuchword"],
        ] {
            assert_eq!(checked(args), Ok(()), "{args:?}");
        }
    }

    #[test]
    fn what_is_replaced_is_a_file() {
        let line = checked(&["import", "--force"]).expect_err("no file");
        assert!(line.contains("-o FILE"), "{line}");
        assert_eq!(checked(&["import", "--force", "-o", "x"]), Ok(()));
        assert_eq!(checked(&["import", "x"]), Ok(()));
    }

    #[test]
    fn a_range_does_not_end_before_it_begins() {
        let range = |since, until| checked(&["decode", "--since", since, "--until", until, "x"]);
        let line = range("2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z").expect_err("none");
        assert!(
            line.starts_with("--since 2030-01-01T00:00:00Z is later than --until 2020"),
            "{line}"
        );
        assert_eq!(range("@5", "@5"), Ok(()));
        assert_eq!(range("10m", "now"), Ok(()));
    }
}
