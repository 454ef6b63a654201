//! The definitions of the arguments. Their meaning is implemented where they are used.
//!
//! No option is hidden in `-h`: that list is what people look at, and an option that is missing there does not
//! exist for them. `--help` adds what each possible value means. Defaults are part of the sentences
//! (`hide_default_value`), as clap would give each a paragraph of its own in `--help`.

use crate::limits::DEPTH_MAX;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fsmon_engine::config::{self, Backend, Who};
use fsmon_engine::limits;
use fsmon_format::stream::Codec;
use fsmon_present::filter::Criteria;
use fsmon_present::size::Size;
use fsmon_present::{Format, TimeFormat, duration, moment};
use fsmon_store::segments::{self, Keep, Rotate};
use std::ffi::{OsStr, OsString};
use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) mod changes;
pub(crate) mod client;
mod explain;
mod help;
pub(crate) mod history;
pub(crate) mod query;

pub(crate) use explain::explain;

const ABOUT: &str = "Who changed which file: exact process, exact path, nothing lost silently";

/// `fsmon [OPTIONS] [PATH]...` and its subcommands.
#[derive(Debug, Parser)]
#[command(name = "fsmon", version, about = ABOUT, after_help = help::watch(), max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what fsmon -f binary recorded, as lines for people, JSON or CSV
    Decode(Box<DecodeArgs>),
    /// Turn what fsmon -f binary recorded into Parquet, a Perfetto trace, CSV or JSON, by the program fsmon-convert
    #[command(disable_help_flag = true)]
    Convert(ConvertArgs),
    /// Show who wrote a file last, and before that
    Who(history::WhoArgs),
    /// Make the indexes that a directory of segments lacks, so that fsmon who and fsmon query answer at once
    Index(history::IndexArgs),
    /// Show what is different since a moment, net, with the process that changed it last
    Changes(Box<changes::ChangesArgs>),
    /// Print the events of the history that the daemon records
    Query(Box<query::QueryArgs>),
    /// Record what a configuration says, for as long as the host runs
    Daemon(DaemonArgs),
    /// Have the daemon watch one more directory
    Add(client::AddArgs),
    /// Have the daemon watch a directory no longer
    Remove(client::RemoveArgs),
    /// Show what the daemon watches
    #[command(alias = "managed")]
    List(client::ClientArgs),
    /// Show how the daemon is: exit status 0 recording, 3 not running, 4 degraded
    Status(client::ClientArgs),
    /// Have the daemon delete the oldest of its history
    Clean(client::CleanArgs),
    /// Have the daemon write what happened until now, so that it can be read
    Flush(client::ClientArgs),
    /// Have the daemon make durable what happened until now: it survives a loss of power
    Sync(client::ClientArgs),
    /// Print what fsmon 0.2.6 or 0.5 had configured as [[watch]] tables for the configuration
    Import(client::ImportArgs),
    /// Show what this host offers, what fsmon will use for these paths, and what is lost
    Doctor(DoctorArgs),
    /// Print the man page or the completions for a shell
    Generate(GenerateArgs),
}

/// The filters, the same live and decoded.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Show only these event types; see Event types below
    #[arg(short, long, value_name = "TYPE", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// Show only paths that match; see Globs below
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out paths that match, and everything below them
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Show only paths in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    pub(crate) include_regex: Vec<String>,
    /// Leave out paths in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    pub(crate) exclude_regex: Vec<String>,
    /// Show only what commands of this name do
    #[arg(long, value_name = "GLOB")]
    pub(crate) cmd: Vec<String>,
    /// Leave out what commands of this name do
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude_cmd: Vec<String>,
    /// Show only what this file does as a program: its path (/usr/bin/make), or its name at any depth
    #[arg(long, value_name = "GLOB")]
    pub(crate) exe: Vec<String>,
    /// Show only what this user does
    #[arg(long, value_name = "NAME|UID")]
    pub(crate) user: Vec<String>,
    /// Leave out what this user does
    #[arg(long, value_name = "NAME|UID")]
    pub(crate) exclude_user: Vec<String>,
    /// Show only what is done in this control group and below: its path, or its name at any depth
    #[arg(long, value_name = "GLOB")]
    pub(crate) cgroup: Vec<String>,
    /// Leave out what is done in this control group and below
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude_cgroup: Vec<String>,
    /// Show only what this process and all its descendants do
    #[arg(long, value_name = "PID", allow_hyphen_values = true, value_parser = number(1..=u32::MAX))]
    pub(crate) pid: Option<u32>,
}

impl From<&FilterArgs> for Criteria {
    fn from(args: &FilterArgs) -> Self {
        let args = args.clone();
        Criteria {
            types: args.types,
            include: args.include,
            exclude: args.exclude,
            include_regex: args.include_regex,
            exclude_regex: args.exclude_regex,
            cmd: args.cmd,
            exclude_cmd: args.exclude_cmd,
            exe: args.exe,
            user: args.user,
            exclude_user: args.exclude_user,
            cgroup: args.cgroup,
            exclude_cgroup: args.exclude_cgroup,
            pid: args.pid,
            ..Criteria::default()
        }
    }
}

/// Options with numbers and times allow a hyphen in front, so that an error about `--count -1` is about the value,
/// and says what to write.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Directories to watch; see Paths below [default: the current directory]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Output format [default: human]
    #[arg(short, long, value_parser = formats(), default_value_t, hide_default_value = true)]
    pub(crate) format: Format,
    /// Write to FILE, which is emptied once the watch has begun, or to new files in DIR/ [default: `-`, standard output]
    #[arg(short, long, value_name = "FILE|DIR/", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,
    /// With -o DIR/: begin another file when one is this large (100M) or this old (1h) [default: one file]
    #[arg(long, value_name = "SIZE|TIME", allow_hyphen_values = true,
          value_parser = segments::parse_rotate)]
    pub(crate) rotate: Option<Rotate>,
    /// With -o DIR/: delete the oldest files beyond this size (10G), age (7d) or number of files [default: keep all]
    #[arg(long, value_name = "SIZE|TIME|N", allow_hyphen_values = true,
          value_parser = segments::parse_keep)]
    pub(crate) keep: Option<Keep>,
    /// With -f binary: compress the stream [default: none]
    #[arg(long, value_name = "METHOD", value_enum, default_value_t, hide_default_value = true)]
    pub(crate) compress: Compress,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Wait for each PATH that does not exist yet, even if it does not look like a path
    #[arg(long)]
    pub(crate) wait: bool,
    /// How human lines give the time [default: the local time of day, and a line when the date changes]
    #[arg(long, value_name = "FORMAT", value_parser = times())]
    pub(crate) time: Option<TimeFormat>,
    /// Watch only what is directly in each PATH, not what is in its subdirectories
    #[arg(long)]
    pub(crate) no_recursive: bool,
    /// Watch no deeper than N names below each PATH; 1 is what is directly in it [default: any depth]
    #[arg(long, value_name = "N", conflicts_with = "no_recursive", allow_hyphen_values = true,
          value_parser = number(1..=DEPTH_MAX))]
    pub(crate) max_depth: Option<u32>,
    /// Leave out regular files whose size does not meet COND: >=1M, <64K, =0. Looked at when the line is made, and shown
    #[arg(long, value_name = "COND", allow_hyphen_values = true, value_parser = condition)]
    pub(crate) size: Option<Size>,
    /// Also watch mounts below PATH, existing and new, except FUSE and network filesystems, roots of containers, overlays
    /// that are mounted later, and mounts on files
    #[arg(long)]
    pub(crate) follow_mounts: bool,
    /// Also report changes of files below PATH that are made through hard links outside of it
    #[arg(long)]
    pub(crate) hard_links: bool,
    /// Add the ancestors of each process (its parent, the parent of that, and so on)
    #[arg(long)]
    pub(crate) chain: bool,
    /// Add the command line of each process: exact with BPF, otherwise if /proc still has it
    #[arg(long)]
    pub(crate) cmdline: bool,
    /// With --cmdline: hide words that match GLOB, and as always the values of names such as --password= and TOKEN=
    #[arg(long, value_name = "GLOB", requires = "cmdline", allow_hyphen_values = true)]
    pub(crate) redact: Vec<String>,
    /// End after this time; see Times below
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
          value_parser = duration::parse)]
    pub(crate) duration: Option<Duration>,
    /// End after this many events
    #[arg(long, value_name = "N", allow_hyphen_values = true,
          value_parser = number(1..=u64::MAX))]
    pub(crate) count: Option<u64>,
    /// At the end, write the counters to FILE as a JSON object
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// Fields of the engine's `Config`, one to one.
#[derive(Args, Debug)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// CPU on which the reader runs: auto, none (any CPU) or its number [default: auto]
    #[arg(long, value_name = "auto|none|N", default_value = "auto", hide_default_value = true,
          allow_hyphen_values = true, value_parser = parse_cpu)]
    pub(crate) cpu: config::Cpu,
    /// Use a kernel queue, a reader, a ring and a formatter for each filesystem among the PATHs (not with --count)
    #[arg(long, conflicts_with = "count")]
    pub(crate) per_filesystem: bool,
    /// How long to gather changes before reading them, at most 1s [default: 1ms]
    #[arg(long, value_name = "TIME", default_value = "1ms", hide_default_value = true,
          allow_hyphen_values = true, value_parser = parse_window)]
    pub(crate) batch_window: Duration,
    /// How to read the kernel's queue [default: auto]
    #[arg(long, value_parser = backends(), default_value_t, hide_default_value = true)]
    pub(crate) backend: Backend,
    /// Best source of process names to use [default: auto]
    #[arg(long, value_name = "SOURCE", value_parser = rungs(), default_value_t, hide_default_value = true)]
    pub(crate) who: Who,
    /// Keep the host's limit on the kernel's queue (fs.fanotify.max_queued_events) [default: no limit]
    #[arg(long)]
    pub(crate) bounded_queue: bool,
    /// Most directories that fsmon can know at one time
    #[arg(long, value_name = "N", default_value_t = limits::DIRS_DEFAULT,
          allow_hyphen_values = true, value_parser = number(1..=limits::DIRS_MAX))]
    pub(crate) max_dirs: usize,
    /// Most process images that fsmon can know at one time
    #[arg(long, value_name = "N", default_value_t = limits::PROCESSES_DEFAULT,
          allow_hyphen_values = true, value_parser = number(1..=limits::PROCESSES_MAX))]
    pub(crate) max_processes: usize,
}

#[derive(Args, Debug, Default)]
#[command(after_help = help::decode())]
pub(crate) struct DecodeArgs {
    /// A file that fsmon -f binary wrote, or a directory of such files; `-` is standard input
    #[arg(value_name = "FILE|DIR|-")]
    pub(crate) file: PathBuf,
    /// Output format [default: human]
    #[arg(short, long, default_value = "human", hide_default_value = true,
          value_parser = one_of(Format::name, LINES))]
    pub(crate) format: Format,
    /// How human lines give the time [default: the local time of day, and a line when the date changes]
    #[arg(long, value_name = "FORMAT", value_parser = times())]
    pub(crate) time: Option<TimeFormat>,
    /// Add the ancestors of each process (its parent, the parent of that, and so on)
    #[arg(long)]
    pub(crate) chain: bool,
    /// Add the command line of each process, if it was recorded with --cmdline
    #[arg(long)]
    pub(crate) cmdline: bool,
    /// Add lines about what was watched, and what the recorder did
    #[arg(long)]
    pub(crate) notes: bool,
    /// Continue past damage, and report what is missing
    #[arg(long)]
    pub(crate) salvage: bool,
    /// Keep reading as the file grows, and in the files after it, to the end of the stream
    #[arg(short = 'F', long)]
    pub(crate) follow: bool,
    /// Show only events at this moment or later: 2026-01-31T23:59:59Z, 23:59, 10m (ago); see Moments below
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_since)]
    pub(crate) since: Option<u64>,
    /// Show only events at this moment or earlier; see Moments below
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_until)]
    pub(crate) until: Option<u64>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// Arguments of fsmon convert; see fsmon convert --help
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct DaemonArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = fsmon_service::config::DEFAULT_PATH)]
    pub(crate) config: PathBuf,
    /// Say what is wrong with the configuration, or what would be watched, how, and at what cost for others; then end
    #[arg(long)]
    pub(crate) check: bool,
    /// Be the process that records: fsmon daemon starts it
    #[arg(long, hide = true, conflicts_with_all = ["config", "check"])]
    pub(crate) recorder: bool,
}

#[derive(Args, Debug)]
#[command(after_help = help::DOCTOR)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Directories to check [default: the current directory]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = help::GENERATE)]
pub(crate) struct GenerateArgs {
    /// What to print
    #[arg(value_name = "WHAT", value_enum)]
    pub(crate) what: Generated,
    /// Write into DIR instead, to files that are named as usual; with man: a page for each command, too
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    /// Fastest to write and to read
    #[default]
    None,
    /// To about 40 % of the size, fast
    Lz4,
    /// To 15 to 30 % of the size, slower
    Zstd,
    /// To 10 to 20 % of the size: damage costs up to 1 MiB of the file
    ZstdWindow,
}

impl From<Compress> for Codec {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::None => Codec::None,
            Compress::Lz4 => Codec::Lz4,
            Compress::Zstd => Codec::Zstd,
            Compress::ZstdWindow => Codec::ZstdWindow,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generated {
    /// The man page
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Parses a name of an enum's value. Help and completions show all names with their help texts.
fn one_of<T, const N: usize>(
    name: fn(T) -> &'static str,
    choices: [(T, &'static str); N],
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Debug> + Clone + Send + Sync + 'static,
{
    let values = choices.map(|(choice, help)| PossibleValue::new(name(choice)).help(help));
    Lossy(PossibleValuesParser::new(values)).map(|name| name.parse().expect("a name of the enum"))
}

/// Takes text that is not UTF-8 for an unknown name, so that the error lists the known ones.
#[derive(Clone)]
struct Lossy(PossibleValuesParser);

impl TypedValueParser for Lossy {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        self.0.parse_ref(command, arg, OsStr::new(value.to_string_lossy().as_ref()))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

const LINES: [(Format, &str); 3] = [
    (Format::Human, "Aligned lines for people, one for each event"),
    (Format::Json, "One JSON object on each line"),
    (Format::Csv, "Comma-separated values (RFC 4180), with a header line"),
];

fn formats() -> impl TypedValueParser<Value = Format> {
    let [human, json, csv] = LINES;
    let binary = (Format::Binary, "The binary stream, for `fsmon decode` and the reader libraries");
    one_of(Format::name, [human, json, csv, binary])
}

fn times() -> impl TypedValueParser<Value = TimeFormat> {
    one_of(
        TimeFormat::name,
        [
            (TimeFormat::Rfc3339, "As in JSON: 2026-01-31T23:59:59.123456789Z"),
            (
                TimeFormat::Local,
                "In this zone, with date and offset: 2026-02-01T00:59:59.123+01:00",
            ),
            (TimeFormat::Utc, "The same in UTC: 2026-01-31T23:59:59.123Z"),
            (TimeFormat::Delta, "Seconds since the line before"),
        ],
    )
}

fn backends() -> impl TypedValueParser<Value = Backend> {
    one_of(
        Backend::name,
        [
            (Backend::Auto, "io_uring where it works, else poll"),
            (Backend::Uring, "io_uring, or an error"),
            (Backend::Poll, "poll and read"),
        ],
    )
}

fn rungs() -> impl TypedValueParser<Value = Who> {
    one_of(
        Who::name,
        [
            (Who::Auto, "The best that works here"),
            (Who::Bpf, "BPF programs: everything, in order with the changes of files"),
            (Who::Tracepoint, "perf tracepoint: the name as given to exec, and the control group"),
            (Who::Comm, "perf COMM records"),
            (Who::Connector, "proc connector and /proc at exec"),
            (Who::Proc, "/proc at the time of the change"),
        ],
    )
}

/// Parses a batch window: at most a second, or changes would appear late. The remedy is right for any text: `10s`,
/// which other times have as an example, would be refused here.
fn parse_window(text: &str) -> Result<Duration, String> {
    const MAX: u64 = limits::BATCH_WINDOW_MAX_MS;
    match (duration::parse(text), text.parse()) {
        (Ok(window), _) if window <= Duration::from_millis(MAX) => Ok(window),
        (Ok(_), Ok(number @ 1..=MAX)) => {
            Err(format!("a bare number is seconds; write {number}ms for milliseconds"))
        }
        _ => Err(format!("write a time of more than zero and at most {MAX}ms, such as 5ms")),
    }
}

fn parse_cpu(text: &str) -> Result<config::Cpu, String> {
    match text {
        "auto" => Ok(config::Cpu::Auto),
        "none" => Ok(config::Cpu::None),
        number => number
            .parse()
            .map(config::Cpu::Pin)
            .map_err(|_| "write auto, none or the number of a CPU".to_owned()),
    }
}

/// Parses a condition on a size.
fn condition(text: &str) -> Result<Size, String> {
    text.parse().map_err(|expected| format!("write {expected}"))
}

/// Parses a number in a range.
fn number<T: FromStr + PartialOrd + Display>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone
where
    RangeInclusive<T>: Clone,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("write a number from {} to {}", range.start(), range.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::explain::line;
    use super::*;
    use clap::CommandFactory;

    fn watch(args: &[&str]) -> WatchArgs {
        let cli = Cli::try_parse_from([&["fsmon"], args].concat()).expect("valid");
        assert!(cli.command.is_none());
        cli.watch
    }

    fn refused(args: &[&str]) -> String {
        let error = Cli::try_parse_from([&["fsmon"], args].concat()).expect_err("invalid");
        line(&error, args.first().map(OsStr::new))
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Each help screen: of which command, `-h` or `--help`, and its text.
    fn screens() -> Vec<(String, &'static str, String)> {
        let mut command = Cli::command();
        command.build();
        let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
        let all = std::iter::once(command).chain(subcommands);
        all.flat_map(|mut command| {
            let name = command.get_name().to_owned();
            let short = command.render_help().to_string();
            [(name.clone(), "-h", short), (name, "--help", command.render_long_help().to_string())]
        })
        .collect()
    }

    /// `see Globs below` and `<GLOB>`: there is a paragraph that begins so.
    #[test]
    fn what_a_help_screen_refers_to_is_below() {
        let placeholders = ["Event types", "Globs", "Moments", "Times", "Sizes"];
        for (command, flag, text) in screens() {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, after) = text.split_once("-h, --help").unwrap_or((&text, &text));
            for (at, _) in text.match_indices(" below") {
                let before = &text[..at];
                let Some(see) = before.rfind("; see ").filter(|see| at - see < 25) else {
                    continue;
                };
                let named = &before[see + "; see ".len()..];
                assert!(after.contains(&format!(" {named}: ")), "{command} {flag}: {named}");
            }
            assert!(!text.contains("see below"), "{command} {flag}");
            for name in placeholders {
                let placeholder = name.trim_end_matches('s').rsplit(' ').next().expect("a word");
                let is_used = text.contains(&format!("<{}", placeholder.to_uppercase()));
                assert!(
                    !is_used || after.contains(&format!(" {name}: ")),
                    "{command} {flag}: {name}"
                );
            }
        }
    }

    #[test]
    fn the_summary_has_every_option() {
        let screens = screens();
        for pair in screens.chunks(2) {
            let [(command, _, short), (_, _, long)] = pair else { panic!("pairs") };
            for option in long.split_whitespace().filter(|word| word.starts_with("--")) {
                assert!(short.contains(option), "{command} -h lacks {option}");
            }
        }
    }

    #[test]
    fn paths_options_and_defaults() {
        let args = watch(&["-fjson", "-t", "create,Delete", "-t", "all", "/a", "./doctor"]);
        assert_eq!(args.format, Format::Json);
        assert_eq!(args.filter.types, ["create", "Delete", "all"]);
        assert_eq!(args.paths, [PathBuf::from("/a"), PathBuf::from("./doctor")]);
        assert_eq!(args.engine.batch_window, Duration::from_millis(1));
        assert_eq!(args.engine.cpu, config::Cpu::Auto);
        assert_eq!(args.engine.max_dirs, limits::DIRS_DEFAULT);
        assert_eq!(watch(&["--cpu", "3"]).engine.cpu, config::Cpu::Pin(3));
    }

    #[test]
    fn a_value_that_is_not_utf8_is_refused_like_any_other() {
        use std::os::unix::ffi::OsStrExt;
        for option in ["--format", "--time", "--backend", "--who"] {
            let args = [OsStr::new("fsmon"), OsStr::new(option), OsStr::from_bytes(b"\xff")];
            let line = line(&Cli::try_parse_from(args).expect_err("invalid"), None);
            assert!(line.contains(option) && line.contains("write one of"), "{line}");
        }
    }

    #[test]
    fn a_batch_window_is_at_most_a_second() {
        for (text, ms) in
            [("4ms", 4), ("4 ms", 4), ("0.5s", 500), ("0.25", 250), ("1s", 1000), ("1", 1000)]
        {
            assert_eq!(parse_window(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    /// What an error says to write is accepted.
    #[test]
    fn the_remedy_of_a_batch_window_is_itself_right() {
        let too_long = ["2s", "1m", "1001", "5000", "1e30", "99999999999999999999ms"];
        let none = ["", "0", "0ms", "-1", "-1s", "abc", "2 sheep", "nan"];
        for text in ["2", "4", "1000"].into_iter().chain(too_long).chain(none) {
            let line = parse_window(text).expect_err(text);
            let remedy = line.rsplit(' ').find(|word| word.ends_with("ms"));
            assert!(parse_window(remedy.expect("a time")).is_ok(), "{text}: {line}");
        }
        assert!(parse_window("4").expect_err("four seconds").contains("write 4ms"));
    }

    #[test]
    fn subcommands_are_words_of_their_own() {
        let cli = Cli::try_parse_from(["fsmon", "doctor", "--json", "/x"]).expect("valid");
        assert!(matches!(cli.command, Some(Command::Doctor(DoctorArgs { json: true, .. }))));
        let cli = Cli::try_parse_from(["fsmon", "decode", "-fcsv", "-"]).expect("valid");
        let Some(Command::Decode(args)) = cli.command else { panic!("decode") };
        assert_eq!((args.format, args.file), (Format::Csv, PathBuf::from("-")));
    }

    #[test]
    fn errors_are_one_line_with_the_remedy() {
        for (args, remedy) in [
            (&["--batch-window", "4"][..], "write 4ms"),
            (&["--formt", "json"], "did you mean --format?"),
            (&["-f", "xml"], "human, json, csv, binary"),
            (&["-f", "json", "-f", "csv"], "used multiple times; leave one out"),
            (&["--per-filesystem", "--count", "3"], "'--count <N>'; leave one out"),
            (&["--count", "0"], "'--count <N>': write a number from 1 to"),
            (&["--count", "many"], "'--count <N>': write a number from 1 to"),
            (&["--count", "-1"], "'--count <N>': write a number from 1 to"),
            (&["--pid", "-5"], "'--pid <PID>': write a number from 1 to 4294967295"),
            (&["--pid", "0"], "'--pid <PID>': write a number from 1 to"),
            (&["decode", "--pid", "me", "x"], "'--pid <PID>': write a number from 1 to"),
            (&["--duration", "-1s"], "'--duration <TIME>': not a time"),
            (&["--batch-window", "-1"], "such as 5ms"),
            (&["--cpu", "-1"], "auto, none"),
            (&["--rotate", "-1M"], "write a size like 100M"),
            (&["--keep", "-1"], "a number of files"),
            (&["--max-processes", "-1"], "from 1 to"),
            (&["--max-dirs", "0"], "from 1 to"),
            (&["--duration", "soon"], "10s"),
            (&["--cpu", "fast"], "auto, none"),
            (&["--backend", "epoll"], "did you mean poll?"),
            (&["--time", "tai"], "rfc3339, local, utc, delta"),
            (&["decode"], "FILE|DIR|->; see fsmon decode --help"),
            (&["decode", "--nonsense"], "; see fsmon decode --help"),
            (&["doctor", "--nonsense"], "; see fsmon doctor --help"),
            (&["generate"], "; see fsmon generate --help"),
            (&["generate", "pdf"], "man, bash, zsh, fish"),
        ] {
            let line = refused(args);
            assert!(line.contains(remedy) && !line.contains('\n'), "{args:?}: {line}");
        }
    }

    #[test]
    fn an_option_of_another_command_is_said_to_be_one() {
        for (args, line) in [
            (
                &["--since", "10m", "/srv"][..],
                "fsmon has no option --since, but fsmon decode has; see fsmon decode --help",
            ),
            (
                &["-F", "/srv"],
                "fsmon has no option -F, but fsmon decode has; see fsmon decode --help",
            ),
            (
                &["--json"],
                "fsmon has no option --json, but fsmon doctor has; see fsmon doctor --help",
            ),
            (
                &["decode", "-o", "x"],
                "fsmon decode has no option -o, which only fsmon PATH has; see fsmon decode --help",
            ),
            (
                &["doctor", "--since=1s"],
                "fsmon doctor has no option --since, but fsmon decode has; see fsmon decode --help",
            ),
            (
                &["doctor", "-f", "json"],
                "fsmon doctor has no option -f, which only fsmon PATH has; see fsmon doctor --help",
            ),
            (&["-x"], "unexpected argument '-x' found; see fsmon --help"),
        ] {
            assert_eq!(refused(args), line, "{args:?}");
        }
    }
}
