//! `fsmon generate`: prints the man page and completions, from the definitions of the arguments.

use crate::args::{Cli, GenerateArgs, Generated};
use clap::CommandFactory;
use clap_complete::Shell;
use fsmon_engine::Error;
use std::io::{self, ErrorKind, Write};

pub(crate) fn run(args: &GenerateArgs) -> Result<(), Error> {
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
    let shell = match what {
        Generated::Man => {
            man(command, &mut out)?;
            return Ok(out);
        }
        Generated::Bash => Shell::Bash,
        Generated::Zsh => Shell::Zsh,
        Generated::Fish => Shell::Fish,
    };
    clap_complete::generate(shell, &mut command, "fsmon", &mut out);
    Ok(out)
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
    fn each_knows_the_options() {
        for what in [Generated::Man, Generated::Bash, Generated::Zsh, Generated::Fish] {
            let text = String::from_utf8(generate(what).expect("generated")).expect("UTF-8");
            for word in ["exclude", "bounded", "doctor", "decode"] {
                assert!(text.contains(word), "{what:?} lacks {word}");
            }
        }
    }
}
