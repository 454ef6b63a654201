//! Lines for people: aligned, with colours on a terminal, never a control byte from a name.

use super::escape::{self, escape};
use super::prefix::Paths;
use super::when::{self, TimeFormat, When};
use super::words::CommandLine;
use super::{Line, LineFormat, Place, ancestors, comm, inexact, notes, number};
use crate::world::{Change, World};
use fsmon_format::error::{Names, Setting};
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{
    Attribution, COUNT_UNKNOWN, Cause, Gap, Loss, NoteRef, Proc, Reason, proc_flag,
};

/// Columns for `cmd[pid]`: 15 bytes of a command and a pid of five digits.
const PROCESS_WIDTH: usize = 22;
/// Columns for the user.
const USER_WIDTH: usize = 8;

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BLUE: &str = "\x1b[34m";
const CYAN: &str = "\x1b[36m";
const ALARM: &str = "\x1b[1;97;41m";

/// Writes lines for people.
pub struct Human {
    chain: bool,
    cmdline: bool,
    colours: bool,
    when: When,
    paths: Paths<escape::Human>,
    names: Names,
}

impl Human {
    /// With `chain`, the ancestors follow at the end of the line.
    pub fn new(chain: bool, colours: bool) -> Self {
        let (when, paths) = (When::new(None), Paths::default());
        Human { chain, cmdline: false, colours, when, paths, names: Setting::words }
    }

    /// With another time format than the time of day.
    pub fn with_time(self, format: Option<TimeFormat>) -> Self {
        Human { when: When::new(format), ..self }
    }

    /// With `on`, the command line follows at the end of the line.
    pub fn with_cmdline(self, on: bool) -> Self {
        Human { cmdline: on, ..self }
    }

    /// With these names of settings instead of [`Setting::words`].
    pub fn with_names(self, names: Names) -> Self {
        Human { names, ..self }
    }

    fn colour(&self, code: &str, out: &mut Vec<u8>) {
        if self.colours {
            out.extend_from_slice(code.as_bytes());
        }
    }

    fn begin_line(&mut self, real_ns: u64, name: &str, colour: &str, out: &mut Vec<u8>) {
        self.colour(DIM, out);
        if let Some(new_date) = self.when.new_date(real_ns) {
            new_date.append(out);
            out.push(b'\n');
        }
        self.when.append(real_ns, out);
        self.colour(RESET, out);
        out.extend_from_slice(b"  ");
        self.colour(colour, out);
        padded(kind::NAME_LEN_MAX, out, |out| out.extend_from_slice(name.as_bytes()));
        self.colour(RESET, out);
    }

    fn append_process(&self, mirror: &Mirror, image: Option<&Proc>, out: &mut Vec<u8>) {
        self.colour(CYAN, out);
        padded(PROCESS_WIDTH, out, |out| match image {
            Some(image) => append_name(image, out),
            None => out.push(b'?'),
        });
        self.colour(RESET, out);
        out.push(b' ');
        padded(USER_WIDTH, out, |out| {
            let Some(image) = image else { return };
            if let Some(user) = mirror.string(image.user.get()) {
                escape::<escape::Human>(user, out);
            } else if image.flags.get() & proc_flag::CRED != 0 {
                number::append(image.uid.get().into(), out);
            } else {
                out.push(b'?');
            }
        });
    }

    fn append_place(
        &mut self,
        mirror: &Mirror,
        place: Option<Place<'_>>,
        is_dir: bool,
        or: &str,
        out: &mut Vec<u8>,
    ) {
        if place.and_then(|place| self.paths.append(mirror, place, b"", out)).is_none() {
            out.extend_from_slice(or.as_bytes());
        } else if is_dir && out.last() != Some(&b'/') {
            out.push(b'/');
        }
    }

    fn append_paths(&mut self, mirror: &Mirror, line: &Line<'_>, out: &mut Vec<u8>) {
        let is_dir = line.event.is_dir();
        if line.kind.bit != kind::RENAME {
            let nowhere = if line.joined_by().is_some() { "(a file without a name)" } else { "?" };
            return self.append_place(mirror, line.place, is_dir, nowhere, out);
        }
        self.append_place(mirror, line.old, is_dir, "(outside)", out);
        out.extend_from_slice(b" -> ");
        self.append_place(mirror, line.place, is_dir, "(outside)", out);
    }
}

impl LineFormat for Human {
    /// Everything but a date, and the line break after a truncated line.
    fn is_record(line: &[u8]) -> bool {
        let text = line.strip_prefix(DIM.as_bytes()).unwrap_or(line);
        !text.starts_with(when::DATE_PREFIX) && line != b"\n"
    }

    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn changed(&mut self, change: Change) {
        self.paths.changed(change);
    }

    fn event(&mut self, world: &World, line: &Line<'_>, out: &mut Vec<u8>) {
        let (event, mirror) = (line.event, &world.mirror);
        let real_ns = world.wall.real_ns(event.head.time_ns.get());
        self.begin_line(real_ns, line.kind.name, colour_of(line.kind.bit), out);
        out.extend_from_slice(b"  ");
        let image = mirror.proc(event.head.proc.get());
        self.append_process(mirror, image, out);
        out.push(b' ');
        self.append_paths(mirror, line, out);
        if line.via.is_some() {
            out.extend_from_slice(b"  (via ");
            self.append_place(mirror, line.via, false, "?", out);
            out.push(b')');
        }
        if let Some((errno, count)) = line.fs_error() {
            append_noted(b"  error ", errno.into(), out);
            append_noted(b", times ", count.into(), out);
        }
        if let Some(bytes) = line.late_size {
            append_noted(b"  (size ", bytes, out);
            out.extend_from_slice(b", late)");
        }
        if event.found() {
            out.extend_from_slice(b"  (found)");
        }
        if event.exchange() {
            out.extend_from_slice(b"  (exchange)");
        }
        if event.unsure() {
            out.extend_from_slice(b"  (unsure)");
        }
        // An unknown process is shown as a question mark already.
        let word = inexact(event.attribution());
        if let Some(word) = word.filter(|_| event.attribution() != Attribution::Unknown) {
            out.extend_from_slice(b"  (");
            out.extend_from_slice(word.as_bytes());
            out.push(b')');
        }
        if let Some(image) = image.filter(|_| self.chain) {
            self.colour(DIM, out);
            for ancestor in ancestors(mirror, image) {
                out.extend_from_slice(b" < ");
                append_name(ancestor, out);
            }
            self.colour(RESET, out);
        }
        let cmdline = image.filter(|_| self.cmdline).and_then(|i| CommandLine::of(mirror, i));
        if let Some(cmdline) = cmdline {
            self.colour(DIM, out);
            cmdline.append_for_people(out);
            self.colour(RESET, out);
        }
        out.push(b'\n');
    }

    fn loss(&mut self, world: &World, loss: &Loss, out: &mut Vec<u8>) {
        self.begin_line(world.wall.real_ns(loss.last_ns.get()), "LOSS", ALARM, out);
        out.extend_from_slice(b"  ");
        self.colour(ALARM, out);
        out.extend_from_slice(b"*** ");
        if loss.count.get() != COUNT_UNKNOWN {
            append_noted(b"", loss.count.get(), out);
            out.extend_from_slice(b" lost: ");
        }
        append_consequence(Reason::from_code(loss.reason.get()), self.names, out);
        if let Some(place) = Place::of_loss(loss) {
            out.extend_from_slice(b": ");
            self.append_place(&world.mirror, Some(place), true, "?", out);
        }
        out.extend_from_slice(b" ***");
        self.colour(RESET, out);
        out.push(b'\n');
    }

    fn gap(&mut self, gap: &Gap, out: &mut Vec<u8>) {
        self.begin_line(gap.to_ns.get(), "GAP", ALARM, out);
        out.extend_from_slice(b"  ");
        self.colour(ALARM, out);
        out.extend_from_slice(b"*** nothing was recorded since ");
        self.when.append_with_date(gap.from_ns.get(), out);
        out.extend_from_slice(b": ");
        let cause = Cause::from_code(gap.cause.get());
        out.extend_from_slice(notes::reason(cause).as_bytes());
        out.extend_from_slice(b" ***");
        self.colour(RESET, out);
        out.push(b'\n');
    }

    fn note(&mut self, world: &World, note: &NoteRef<'_>, out: &mut Vec<u8>) {
        self.begin_line(world.wall.real_ns(note.head.time_ns.get()), "NOTE", "", out);
        out.extend_from_slice(b"  ");
        notes::append_sentence::<escape::Human>(note, out);
        out.push(b'\n');
    }
}

fn colour_of(bit: u32) -> &'static str {
    match bit {
        kind::CREATE => GREEN,
        kind::DELETE | kind::DELETE_SELF | kind::FS_ERROR => RED,
        kind::RENAME | kind::MOVED_FROM | kind::MOVED_TO | kind::MOVE_SELF => YELLOW,
        kind::MODIFY | kind::CLOSE_WRITE => BLUE,
        _ => "",
    }
}

/// Whether the output is a terminal whose user has not asked for plain text (no-color.org).
pub fn wants_colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Appends what a loss means to the user.
fn append_consequence(reason: Reason, names: Names, out: &mut Vec<u8>) {
    let mut say = |text: &str| out.extend_from_slice(text.as_bytes());
    match reason {
        Reason::QueueOverflow => say("the kernel's queue overflowed, changes are missing here"),
        Reason::ProcessMessages => say("process messages were lost, names may be read late"),
        Reason::DirsMax => {
            say("more directories than ");
            say(names(Setting::DirsMax));
            say(", changes below the rest are not seen");
        }
        Reason::ProcessesMax => {
            say("more processes than ");
            say(names(Setting::ProcessesMax));
            say(", the oldest were forgotten");
        }
        Reason::Walk => say("a directory could not be read, what lies below it is not known"),
        Reason::Unmarked => say(
            "made in new directories before these could be watched: what was done to them until then is not known",
        ),
        Reason::Mount => say("something was mounted there, changes on it are missing"),
        Reason::Unmount => say("it was unmounted, what is there is watched again"),
        Reason::FilesMax => {
            say(
                "more files than can be known, changes of the rest through hard links are not seen",
            );
        }
        Reason::TablesFull => say(
            "a table was full, changes before this may be missing or wrong where names changed often",
        ),
        Reason::NameTooLong => say(
            "a name has more than 255 bytes, its change and those that waited with it are missing",
        ),
        Reason::Disk => say(
            "the disk did not keep up, and the kernel's queue was at its limit: changes are missing here",
        ),
        Reason::Other(_) => say("for a reason that this version does not know"),
    }
}

fn append_name(image: &Proc, out: &mut Vec<u8>) {
    if image.flags.get() & proc_flag::COMM != 0 {
        escape::<escape::Human>(comm(image), out);
    } else {
        out.push(b'?');
    }
    out.push(b'[');
    number::append(image.pid.get().into(), out);
    out.push(b']');
}

fn append_noted(before: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    number::append(value, out);
}

/// Pads what `write` appends to `width` characters.
fn padded(width: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let is_continuation = |byte: &&u8| **byte & 0xc0 == 0x80;
    let written = out.len() - start - out[start..].iter().filter(is_continuation).count();
    let end = out.len() + width.saturating_sub(written);
    out.resize(end, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixture::{Bench, event};
    use proptest::prelude::*;

    /// Everything but the time, which depends on where this runs.
    fn shown(chain: bool) -> Vec<String> {
        let mut bench = Bench::lines(Human::new(chain, false).with_time(Some(TimeFormat::Delta)));
        bench.play();
        bench.text().lines().map(|line| line[12..].to_owned()).collect()
    }

    #[test]
    fn aligned_lines() {
        assert_eq!(
            shown(false),
            [
                "  CREATE         cc[12]                 builder  /srv/b/sub/a.o",
                "  CLOSE_WRITE    cc[12]                 builder  /srv/b/sub/a.o",
                "  RENAME         cc[12]                 builder  /srv/b/sub/old/ -> /srv/b/new/  (unsure)",
                "  RENAME         cc[12]                 builder  (outside) -> /srv/b/in/  (late)",
                "  RENAME         make[11]               0        /srv/b/sub/out -> (outside)  (ambiguous)",
                "  CREATE         ?                               /srv/b/\\xffx\\n  (found)",
                "  FS_ERROR       ?                               ?  error 117, times 5",
                "  ATTRIB         sh[10]                 0        /srv/b/sub/",
                "  LOSS           *** the kernel's queue overflowed, changes are missing here ***",
                "  LOSS           *** 12 lost: process messages were lost, names may be read late ***",
            ]
        );
    }

    #[test]
    fn what_the_recorder_says() {
        let mut bench = Bench::lines(Human::new(false, false).with_time(Some(TimeFormat::Delta)));
        bench.furnish();
        bench.pipeline = bench.pipeline.with_notes();
        bench.tell();
        let text = bench.text();
        let lines: Vec<_> = text.lines().map(|line| &line[12..]).collect();
        let gap =
            "  GAP            *** nothing was recorded since 2023-11-14T21:56:40.123456789Z: ";
        let extent = "(CREATE, RENAME, ATTRIB, CLOSE_WRITE, DELETE), with everything below it";
        assert_eq!(
            lines,
            [
                &format!("{gap}the cause is not known ***"),
                &format!("{gap}the recorder was killed ***"),
                &format!("{gap}the cause is one that this version does not know ***"),
                &format!("  NOTE           watching /srv {extent}"),
                "  NOTE           no longer watching /srv",
                &format!("  NOTE           waiting for /srv/later to appear {extent}"),
                "  NOTE           cannot watch /srv/\\xff\\n,\": no\\x1b[31m, it is \"full\"",
                "  NOTE           cannot watch /srv",
                "  NOTE           deleted old.fsmon before it reached its age: cc wrote 97 % of it",
                "  NOTE           something that this version does not know",
                "  NOTE           /srv: as never before",
            ]
        );
    }

    #[test]
    fn a_limit_has_the_name_that_the_program_gives_it() {
        let said = |human: Human| {
            let mut bench = Bench::lines(human.with_time(Some(TimeFormat::Delta)));
            bench.loss(Reason::DirsMax.code(), 1);
            bench.text()
        };
        let (plain, named) = (Human::new(false, false), Human::new(false, false));
        assert!(
            said(plain).contains("more directories than the limit of directories, changes below")
        );
        let named = said(named.with_names(|_| "--limit"));
        assert!(named.contains("more directories than --limit, changes below"), "{named}");
    }

    /// The error of a filesystem has no path either, and is of no such file: see `aligned_lines`.
    #[test]
    fn a_file_without_a_name() {
        let mut bench = Bench::lines(Human::new(false, false).with_time(Some(TimeFormat::Delta)));
        let mut modified = event(kind::MODIFY, 0, 0);
        modified.object = 7.into();
        bench.event(modified, b"", b"");
        assert!(bench.text().ends_with("  (a file without a name)\n"), "{}", bench.text());
    }

    #[test]
    fn a_line_says_which_day_it_is_where_that_is_not_today() {
        let mut bench = Bench::lines(Human::new(false, false));
        bench.play();
        let text = bench.text();
        let mut lines = text.lines();
        let first = lines.next().expect("a line");
        assert!(first.starts_with("-- 2023-11-1") && first.ends_with(" --"), "{first}");
        assert!(lines.all(|line| !line.starts_with("--")));
    }

    #[test]
    fn the_ancestry_ends_the_line() {
        assert_eq!(
            shown(true)[0],
            "  CREATE         cc[12]                 builder  /srv/b/sub/a.o < make[11] < sh[10]"
        );
    }

    #[test]
    fn colours_are_the_only_control_characters() {
        let mut bench = Bench::lines(Human::new(true, true));
        bench.play();
        let text = bench.text();
        assert!(text.contains("\x1b[32mCREATE"));
        assert!(text.contains(ALARM));
        for after in text.split('\x1b').skip(1) {
            assert!(after.starts_with('[') && after.contains('m'), "{after:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_reaches_the_terminal_as_control(name in proptest::collection::vec(any::<u8>(), 1..255)) {
            let human = Human::new(false, false).with_time(Some(TimeFormat::Utc));
            let mut bench = Bench::lines(human);
            bench.dir(1, 0, &name);
            bench.event(event(kind::CREATE, 1, 0), &name, b"");
            let text = bench.text();
            let line = text.strip_suffix('\n').expect("a line");
            let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
            prop_assert!(!line.contains(hidden), "{:?}", line);
        }
    }
}
