//! `fsmon generate`: man pages and completions, from the definitions of the arguments.

use crate::args::{Cli, GenerateArgs, Generated};
use clap::CommandFactory;
use clap_complete::Shell;
use fsmon_engine::Error;
use fsmon_present::message::shown;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The name of the program in completions.
const NAME: &str = "fsmon";

pub(crate) fn run(args: &GenerateArgs) -> Result<(), Error> {
    if let Some(dir) = &args.to {
        return write(args.what, dir)
            .map_err(|error| Error::os(format!("cannot write into {}", shown(dir)), error));
    }
    let text = generate(args.what).map_err(|error| Error::os("cannot generate it", error))?;
    match io::stdout().write_all(&text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::os("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

fn generate(what: Generated) -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    let mut out = Vec::new();
    match shell(what) {
        Some(shell) => clap_complete::generate(shell, &mut command, NAME, &mut out),
        None => man(command, &mut out)?,
    }
    Ok(out)
}

/// Writes files into a directory, named as man(1) and the shells look for them.
fn write(what: Generated, dir: &Path) -> io::Result<()> {
    let mut command = Cli::command();
    match shell(what) {
        Some(shell) => clap_complete::generate_to(shell, &mut command, NAME, dir).map(drop),
        None => pages(command, dir),
    }
}

/// The shell that completions are for; `None` for the man page.
fn shell(what: Generated) -> Option<Shell> {
    match what {
        Generated::Man => None,
        Generated::Bash => Some(Shell::Bash),
        Generated::Zsh => Some(Shell::Zsh),
        Generated::Fish => Some(Shell::Fish),
    }
}

/// A page for the main command, and one for each subcommand: `fsmon.1`, `fsmon-decode.1`, and so on.
fn pages(mut command: clap::Command, dir: &Path) -> io::Result<()> {
    command.build();
    let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    for command in [command].into_iter().chain(subcommands) {
        clap_mangen::Man::new(command)
            .source(concat!("fsmon ", env!("CARGO_PKG_VERSION")))
            .generate_to(dir)?;
    }
    Ok(())
}

/// One page: the main command, then a section for each subcommand's options.
fn man(command: clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    let mut command = command;
    command.build();
    let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    clap_mangen::Man::new(command).render(out)?;
    for subcommand in subcommands {
        let name = subcommand.get_name().to_uppercase();
        writeln!(out, ".SH {name}")?;
        out.extend(section(subcommand)?);
    }
    Ok(())
}

/// What is in the section of a subcommand, with headings one level below that of the section.
fn section(subcommand: clap::Command) -> io::Result<Vec<u8>> {
    let has_more = subcommand.get_after_help().is_some();
    let page = clap_mangen::Man::new(subcommand);
    let mut out = Vec::new();
    page.render_synopsis_section(&mut out)?;
    page.render_options_section(&mut out)?;
    if has_more {
        page.render_extra_section(&mut out)?;
    }
    Ok(String::from_utf8_lossy(&out).replace(".SH ", ".SS ").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options refer to paragraphs below them.
    #[test]
    fn the_man_page_has_what_is_below_the_options() {
        let page = String::from_utf8(generate(Generated::Man).expect("generated")).expect("UTF-8");
        let (main, rest) = page.split_once(".SH DECODE").expect("a section");
        let (decode, _) = rest.split_once(".SH CONVERT").expect("a section");
        assert!(main.contains("\nTimes: ") && decode.contains("\nMoments: "), "{page}");
        assert!(decode.contains(".SS OPTIONS") && !decode.contains(".SH"), "{decode}");
    }

    #[test]
    fn files_are_named_as_they_are_looked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        for what in [Generated::Man, Generated::Bash, Generated::Zsh, Generated::Fish] {
            write(what, dir.path()).expect("written");
        }
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
        for name in ["fsmon.bash", "_fsmon", "fsmon.fish"] {
            assert!(text(name).contains("bounded-queue"), "{name}");
        }
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(text("fsmon.1").contains(&format!("fsmon\\-{name}(1)")), "{name}");
            let page = text(&format!("fsmon-{name}.1"));
            let head = format!(".TH fsmon-{name} 1  \"fsmon {}\"", env!("CARGO_PKG_VERSION"));
            assert!(page.contains(&head), "{page}");
        }
    }

    #[test]
    fn each_knows_the_options() {
        for what in [Generated::Man, Generated::Bash, Generated::Zsh, Generated::Fish] {
            let text = String::from_utf8(generate(what).expect("generated")).expect("UTF-8");
            for word in ["exclude", "bounded", "doctor", "decode"] {
                assert!(text.contains(word), "{what:?} lacks {word}");
            }
        }
    }
}
