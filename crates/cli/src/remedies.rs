//! Errors and losses as lines for users of the command line. The libraries know settings; this adds the options of these
//! and the remedies.

use fsmon_engine::plan::Degradation;
use fsmon_engine::{Error, Missing, Setting};
use fsmon_present::message::counted;

/// The option of a setting.
pub(crate) fn option(setting: Setting) -> &'static str {
    match setting {
        Setting::Roots => "PATH",
        Setting::Reader => "--per-filesystem",
        Setting::Backend => "--backend",
        Setting::Cpu => "--cpu",
        Setting::Who => "--who",
        Setting::DirsMax => "--max-dirs",
        Setting::ProcessesMax => "--max-processes",
        Setting::Types => "--types",
        Setting::Include => "--include",
        Setting::Exclude => "--exclude",
        Setting::Cmd => "--cmd",
        Setting::ExcludeCmd => "--exclude-cmd",
        Setting::User => "--user",
        Setting::Pid => "--pid",
        other => other.name(),
    }
}

/// The line of an error, with its option and the remedy.
pub(crate) fn error(error: &Error) -> String {
    let Some(setting) = error.setting() else { return error.to_string() };
    let remedy = remedy(setting, error.setting_instead());
    let before = match setting {
        Setting::Types
        | Setting::Include
        | Setting::Exclude
        | Setting::Cmd
        | Setting::ExcludeCmd
        | Setting::User
        | Setting::Pid => format!("{}: ", option(setting)),
        _ => String::new(),
    };
    error.clone().map_message(|what| format!("{before}{what}{remedy}")).to_string()
}

/// The remedy, to be appended to the message.
fn remedy(setting: Setting, instead: Option<Setting>) -> String {
    match (setting, instead) {
        (Setting::Roots, Some(instead)) => format!(" with {} for that name", option(instead)),
        (_, Some(instead)) => format!(", or use {} for the opposite", option(instead)),
        (Setting::Reader, None) => format!(" ({})", option(setting)),
        (Setting::Backend | Setting::Who, None) => {
            format!("; or leave {} at auto", option(setting))
        }
        (Setting::Cpu, None) => "; choose one of them, or --cpu auto".to_owned(),
        (Setting::DirsMax | Setting::ProcessesMax, None) => format!("; raise {}", option(setting)),
        _ => String::new(),
    }
}

/// The line of a degradation on this host.
pub(crate) fn degradation(loss: &Degradation) -> String {
    match loss {
        Degradation::Root(why) => error(why),
        Degradation::DirsMax(count) => format!(
            "{} beyond {}: changes in them and below are not seen; raise it",
            counted(*count, "directory is", "directories are"),
            option(Setting::DirsMax)
        ),
        other => other.to_string(),
    }
}

/// What is missing, with the count.
pub(crate) fn missing(missing: &Missing) -> String {
    let words = counted(missing.count, missing.one, missing.many);
    match missing.beyond {
        Some(setting) => format!("{words} beyond {}", option(setting)),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;
    use fsmon_engine::ErrorKind;
    use std::io;

    #[test]
    fn every_setting_has_an_existing_option() {
        let command = Cli::command();
        let options: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
        for setting in Setting::ALL.iter().filter(|setting| **setting != Setting::Roots) {
            let named = option(*setting).strip_prefix("--").expect("an option");
            assert!(options.contains(&named), "{named}");
        }
    }

    #[test]
    fn an_error_names_the_option_and_the_remedy() {
        let invalid = Error::invalid;
        for (error, line) in [
            (invalid("no room"), "no room"),
            (invalid("no room").about(Setting::DirsMax), "no room; raise --max-dirs"),
            (
                invalid("no CPU 9").about(Setting::Cpu),
                "no CPU 9; choose one of them, or --cpu auto",
            ),
            (invalid("no BPF").about(Setting::Who), "no BPF; or leave --who at auto"),
            (invalid("bad glob").about(Setting::ExcludeCmd), "--exclude-cmd: bad glob"),
            (
                invalid("write \\!").about(Setting::Cmd).instead(Setting::ExcludeCmd),
                "--cmd: write \\!, or use --exclude-cmd for the opposite",
            ),
            (
                invalid("watch /srv").about(Setting::Roots).instead(Setting::Include),
                "watch /srv with --include for that name",
            ),
        ] {
            assert_eq!(super::error(&error), line);
        }
        let refused = Error::os("give it a reader of its own", io::Error::from_raw_os_error(18));
        let line = super::error(&refused.with_kind(ErrorKind::Unsupported).about(Setting::Reader));
        assert!(line.starts_with("give it a reader of its own (--per-filesystem): "), "{line}");
    }

    #[test]
    fn what_is_beyond_a_limit_names_its_option() {
        assert_eq!(
            degradation(&Degradation::DirsMax(2)),
            "2 directories are beyond --max-dirs: changes in them and below are not seen; raise it"
        );
        let (name, one, many) = ("processes_evicted", "process", "processes");
        let beyond = Some(Setting::ProcessesMax);
        let evicted = Missing { name, count: 1, one, many, beyond };
        assert_eq!(missing(&evicted), "1 process beyond --max-processes");
    }
}
