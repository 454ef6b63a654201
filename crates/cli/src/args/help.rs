//! The paragraphs below the options in help screens and in the man page.

use fsmon_format::kind;

const FILTERS: &str = "\
Filters (--types to --pid): each but --pid can be given more than once. One of the values of an option has to match, \
and a change has to pass all options.";

const GLOBS: &str = "\
Globs: one without `/` matches a name at any depth; one with `/` matches the whole path below the \
watched directory, where `*` stays within a name and `**` goes through directories. /target and \
./target are target in the watched directory itself; a path that begins with the path of the watched \
directory is taken relative to it. A directory that matches stands for everything below it. {a,b} is a or \
b. --exclude wins over --include.";

const TIMES: &str = "\
Times: 10s, 500ms, 2h 30m, 7d; for --duration and --batch-window, a bare number is seconds.";

const SIZES: &str = "Sizes: 100K, 100M, 10G, 1T, in powers of 1024; a small m is minutes.";

const MOMENTS: &str = "\
Moments: 2026-01-31T23:59:59Z or any offset; 2026-01-31 23:59, 23:59, today, yesterday 23:59 are in this time \
zone, and a day alone means its beginning; 10m is ten minutes ago; @1767225600 and 1767225600 are Unix \
times. When clocks go back and a local time occurs twice, --since takes the first and --until the second.";

const PATHS: &str = "\
Paths: a PATH in an excluded directory is watched. A PATH that does not exist yet is watched from when it \
appears; it must look like one (./x, /srv/x), or be given with --wait. To watch a directory called decode, \
convert, daemon, doctor or generate (or another command), write ./decode.";

const STATUS: &str = "\
Exit status: 0 when a signal, --duration or --count ended the watch, 1 after an error, 2 for wrong usage, 130 \
after a second signal.";

const DECODE_STATUS: &str =
    "Exit status: 1 after an error or where the input is damaged, 2 for wrong usage.";

const QUERY: &str = "\
Examples:
  fsmon query --since 10m /srv/www                 what happened there in the last ten minutes
  fsmon query -t delete --since yesterday ./k.c    who deleted it
  fsmon query --exclude-cmd 'git*' --include '*.lock' ~/src
  fsmon query -f json --cursor-file seen /srv      each time only what is new
  fsmon query --follow /srv                        as it happens

Events are printed oldest first. A RENAME is shown if its old or its new path is asked for.";

const CURSORS: &str = "\
Cursors: text that says where a reader of the history has come to. It holds over restarts of the daemon. If what comes \
next was deleted by then, that is said, and the query goes on with the oldest that is kept.";

const QUERY_STATUS: &str = "\
Exit status: 0 something was found; 3 nothing was; 4 the record of the time asked for has a LOSS or a GAP, or a PATH was \
not watched then, whether or not something was found; 1 an error, or the history is damaged; 2 wrong usage.";

/// Below `fsmon --help`.
pub(super) fn watch() -> String {
    let types = format!(
        "Event types: {} (shown unless -t is given), {}, and all. In any case; -t takes several with commas.",
        names(|kind| kind & kind::DEFAULT != 0),
        names(|kind| kind & kind::DEFAULT == 0)
    );
    [&types, FILTERS, GLOBS, TIMES, SIZES, PATHS, STATUS].join("\n\n")
}

/// Below `fsmon decode --help`.
pub(super) fn decode() -> String {
    let types = format!(
        "Event types: {}, and all. Without -t, all that were recorded are shown. In any case; -t takes several \
         with commas.",
        names(|_| true)
    );
    [&types, MOMENTS, FILTERS, GLOBS, DECODE_STATUS].join("\n\n")
}

/// Below `fsmon query --help`.
pub(super) fn query() -> String {
    let types = format!(
        "Event types: {}, and all. Without -t, all that were recorded are shown. In any case; -t takes several \
         with commas.",
        names(|_| true)
    );
    [QUERY, &types, MOMENTS, FILTERS, GLOBS, CURSORS, QUERY_STATUS].join("\n\n")
}

/// Below `fsmon add --help`.
pub(super) fn add() -> String {
    let types = format!(
        "Event types: {} (recorded unless -t is given), {}, and all. In any case; -t takes several with commas.",
        names(|kind| kind & kind::DEFAULT != 0),
        names(|kind| kind & kind::DEFAULT == 0)
    );
    [&types, GLOBS].join("\n\n")
}

/// Below `fsmon clean --help`.
pub(super) fn clean() -> String {
    [TIMES, SIZES].join("\n\n")
}

/// Below `fsmon who --help`.
pub(super) fn who() -> String {
    [WHO, MOMENTS, ANSWER_STATUS].join("\n\n")
}

const WHO: &str = "\
Examples: fsmon who /etc/hosts; fsmon who -n 5 build.log; fsmon who --until yesterday -f json src/main.c

The writer of a file is the last process that changed what is in it, made it, or gave it the name after it had written \
it. The file is followed back through its names: after cc -o x.tmp; mv x.tmp x, it is cc that wrote x. Of a file that is \
gone the first line says who removed it.";

const ANSWER_STATUS: &str = "\
Exit status: 0 found; 3 nothing found; 4 found, but something may be missing between the answer and now: a LOSS, a \
GAP, the end of a watch; 1 after an error or where the history is damaged, 2 for wrong usage.";

/// Below `fsmon index --help`.
pub(super) const INDEX: &str = "\
The daemon makes the index of each segment of its history. This command is for other directories of segments: copies, \
and what fsmon -f binary -o DIR/ wrote. Without indexes fsmon who and fsmon query read everything, and say the same.

Exit status: 1 if a segment cannot be read or is damaged, 2 for wrong usage.";

const CHANGES: &str = "\
Lines: A is new, M has another content or is another file, D is gone, R was renamed, T has other attributes only. What is \
below a renamed directory has moved with it. Where nobody knows whether a name was taken before, and something was \
renamed onto it, it is M with `before unknown`.";

const CHANGES_EXAMPLES: &str = "\
What is different since nine o'clock: fsmon changes --since 9:00 /srv

Since the last good build: fsmon flush > good, and later fsmon changes --since @$(cat good) /srv

For scripts: fsmon changes -0 --since @$(cat good) /srv | xargs -0 -n1 echo";

const CHANGES_STATUS: &str = "\
Exit status: 0 something is different, 3 nothing is, 4 what is printed may not be all, as something is missing in the \
record or a PATH was not watched all the time: a line on standard error says what to rescan. 1 after an error or \
where the history is damaged, 2 for wrong usage.";

/// Below `fsmon changes --help`.
pub(super) fn changes() -> String {
    [CHANGES, CHANGES_EXAMPLES, MOMENTS, GLOBS, CHANGES_STATUS].join("\n\n")
}

/// Below `fsmon import --help`.
pub(super) const IMPORT: &str = "\
Without FILE it reads ~/.config/fsmon/fsmon.toml, and what that names or ~/.local/share/fsmon/managed.jsonl and \
monitored.jsonl: of the user who runs it, and under sudo of the user who called it and of root. A FILE must belong to \
that user or to root, and be no symbolic link.

What has no equivalent is a line on standard error; a filter that has none is left out, so that more is recorded. To see \
what would be watched: fsmon import -o new.toml && fsmon daemon --check --config new.toml

Exit status: 1 if nothing could be read, 2 for wrong usage.";

/// Below `fsmon doctor --help`.
pub(super) const DOCTOR: &str = "\
A PATH that does not exist yet can be watched from when it appears.

Exit status: 1 if one of the paths cannot be watched, 2 for wrong usage.";

/// Below `fsmon generate --help`.
pub(super) const GENERATE: &str = "\
To read the man page: fsmon generate man | man -l -

For completions in a running shell: source <(fsmon generate bash), or fsmon generate fish | source

For completions in zsh: fsmon generate zsh --to DIR, where DIR is in $fpath";

/// The names of the event types with such bits.
fn names(wanted: fn(u32) -> bool) -> String {
    let kinds = kind::ALL.iter().filter(|kind| wanted(kind.bit));
    kinds.map(|kind| kind.name).collect::<Vec<_>>().join(" ")
}
