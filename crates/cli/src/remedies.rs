//! Messages of the libraries as lines for users of the command line. The libraries know settings; this knows the
//! options of these.

use fsmon_engine::plan::Degradation;
use fsmon_engine::{Error, ErrorKind, Missing, Setting};

/// The option of a setting.
pub(crate) fn option(setting: Setting) -> &'static str {
    match setting {
        Setting::Roots => "PATH",
        Setting::Backend => "--backend",
        Setting::Cpu => "--cpu",
        Setting::Who => "--who",
        Setting::DirsMax => "--max-dirs",
        Setting::ProcessesMax => "--max-processes",
        Setting::Types => "--types",
        Setting::Include => "--include",
        Setting::Exclude => "--exclude",
        Setting::IncludeRegex => "--include-regex",
        Setting::ExcludeRegex => "--exclude-regex",
        Setting::Cmd => "--cmd",
        Setting::ExcludeCmd => "--exclude-cmd",
        Setting::Exe => "--exe",
        Setting::User => "--user",
        Setting::ExcludeUser => "--exclude-user",
        Setting::Cgroup => "--cgroup",
        Setting::ExcludeCgroup => "--exclude-cgroup",
        Setting::Redact => "--redact",
        Setting::Pid => "--pid",
    }
}

/// The line of an error.
pub(crate) fn error(error: &Error) -> String {
    match (error.setting(), error.kind()) {
        // The kernel does not watch these directories together, and the message advises to separate them.
        (Some(Setting::Roots), ErrorKind::Unsupported) => {
            error.clone().and(" (--per-filesystem)").line(option)
        }
        _ => error.line(option),
    }
}

/// The line of a degradation on this host.
pub(crate) fn degradation(loss: &Degradation) -> String {
    match loss {
        Degradation::Root(why) => error(why),
        other => other.line(option),
    }
}

/// What is missing, with the count.
pub(crate) fn missing(missing: &Missing) -> String {
    missing.line(option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;
    use fsmon_engine::not_a_directory;
    use fsmon_format::kind;
    use fsmon_format::stream::BLOCK_CAPACITY;
    use fsmon_present::filter::{Criteria, Filter, Roots, Source};
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
    fn an_error_of_a_criterion_names_the_option_and_the_remedy() {
        let one = |text: &str| vec![text.to_owned()];
        let none = Criteria::default();
        for (criteria, begin, remedy) in [
            (Criteria { types: one("new"), ..none.clone() }, "--types: ", "write one of CREATE, "),
            (
                Criteria { include: one("!x"), ..none.clone() },
                "--include: ",
                "write --exclude 'x', or \\! for",
            ),
            (
                Criteria { exclude: one("!x"), ..none.clone() },
                "--exclude: ",
                "write --include 'x', or \\! for",
            ),
            (
                Criteria { cmd: one("!x"), ..none.clone() },
                "--cmd: ",
                "write --exclude-cmd 'x', or \\! for",
            ),
            (
                Criteria { exclude_cmd: one("!x"), ..none.clone() },
                "--exclude-cmd: ",
                "write --cmd 'x', or \\! for",
            ),
            (Criteria { user: one("no such user"), ..none.clone() }, "--user: ", "uid"),
            (Criteria { pid: Some(u32::MAX), ..none.clone() }, "--pid: ", "see ps -e"),
        ] {
            let filter = Filter::new(&criteria, kind::DEFAULT, Source::Live, BLOCK_CAPACITY);
            let refused = filter.and_then(|mut filter| filter.set_roots(&Roots::default()));
            let line = error(&refused.expect_err(begin));
            assert!(line.starts_with(begin) && line.contains(remedy), "{line}");
        }
    }

    #[test]
    fn an_error_of_a_root_names_the_option_and_the_remedy() {
        let line = error(&not_a_directory("/etc/passwd".as_ref()));
        assert_eq!(line, "/etc/passwd is not a directory; watch /etc with --include passwd");
        let refused = Error::os("give it a reader of its own", io::Error::from_raw_os_error(18));
        let line = error(&refused.with_kind(ErrorKind::Unsupported).about(Setting::Roots));
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
