//! CSV after RFC 4180: a header, the columns of the JSON lines, CRLF. Unknown fields are empty.
//!
//! Paths are always quoted, so that the directory's part can be cached. Bytes that are not UTF-8 are
//! replaced, and so are control characters if the output is a terminal; then `path_b64` has the exact bytes.
//! The columns of the executed file follow those of JSON's other fields, then come `object` and `via`, then those that
//! only gaps and notes fill. Those of the size and of the command line come last, and only on request.

use super::escape::{self, Style, escape};
use super::exe::{self, Exe};
use super::json::{append_base64_text, append_chain, format_hex, format_stream, path_base64};
use super::pieces::{Piece, Pieces};
use super::prefix::Paths;
use super::words::CommandLine;
use super::{Line, LineFormat, Place, ancestors, comm, inexact, notes, number};
use crate::limits::PROCESS_BYTES;
use crate::wall::Utc;
use crate::world::{Change, World};
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{COUNT_UNKNOWN, Cause, Gap, Loss, NoteRef, Reason, proc_flag};
use memchr::memchr2_iter;

const HEADER: &[u8] = b"time,event_type,path,old_path,is_dir,pid,ppid,cmd,exe,uid,gid,user,\
cgroup,chain,attribution,found,exchange,unsure,path_b64,old_path_b64,error,error_count,reason,lost";

/// The columns behind those of the executed file: the object that joins the lines of a file without a name,
/// and the unwatched name through which a file was changed.
const LAST_HEADER: &[u8] = b",object,via,via_b64";
const LAST_COLUMNS: usize = 3;

/// The columns behind those, of gaps and notes. The cause of a gap, and what a note says, are in `reason`.
const RECORDER_HEADER: &[u8] = b",from,stream,events,note";
const RECORDER_COLUMNS: usize = 4;
/// Those columns of all other lines: empty.
const NO_RECORDER: &[u8; RECORDER_COLUMNS] = b",,,,";
/// The same and the end of the line, in one piece.
const NO_RECORDER_AND_END: &[u8; RECORDER_COLUMNS + 2] = b",,,,\r\n";

/// The columns of the size, which are there only on request.
const SIZE_HEADER: &[u8] = b",size,size_late";
const SIZE_COLUMNS: usize = 2;

/// The columns of the command line.
const CMDLINE_HEADER: &[u8] = b",cmdline,cmdline_from,cmdline_cut,cmdline_b64";
const CMDLINE_COLUMNS: usize = 4;

/// Commas from `path` to `path_b64`, and from there to `reason`.
const LOSS_TO_PATH: usize = 16;
const LOSS_TO_REASON: usize = 4;
/// Commas from `reason` to `from`.
const REASON_TO_RECORDER: usize = 1 + exe::COLUMNS + LAST_COLUMNS + 1;

/// Columns of a process, from `pid` to `chain`.
const PROCESS_COLUMNS: usize = 9;

/// The columns of an unknown process: empty.
const UNKNOWN_PROCESS: Piece<'_, usize> =
    (&[b','; PROCESS_COLUMNS + exe::COLUMNS], PROCESS_COLUMNS);

/// Columns that few events fill, from `attribution` to `lost`.
const SELDOM_COLUMNS: usize = 10;

/// Writes CSV; `S` is how text inside quotes is escaped.
pub struct Csv<S> {
    chain: bool,
    size: bool,
    cmdline: bool,
    time: Utc,
    paths: Paths<S>,
    /// The columns from `pid` to `chain`, then those of the executed file; and where the latter begin.
    processes: Pieces<usize>,
    rendered: Vec<u8>,
    /// JSON inside a column.
    json: Vec<u8>,
}

impl<S: Style> Csv<S> {
    /// With `chain`, that column is filled.
    pub fn new(chain: bool) -> Self {
        Csv {
            chain,
            size: false,
            cmdline: false,
            time: Utc::utc(),
            paths: Paths::default(),
            processes: Pieces::default(),
            rendered: Vec::with_capacity(PROCESS_BYTES),
            json: Vec::with_capacity(PROCESS_BYTES),
        }
    }

    /// With `on`, there are columns for the command line.
    pub fn with_cmdline(self, on: bool) -> Self {
        Csv { cmdline: on, ..self }
    }

    /// With `on`, there are columns for the size of the file.
    pub fn with_size(self, on: bool) -> Self {
        Csv { size: on, ..self }
    }

    fn append_cmdline(&mut self, mirror: &Mirror, id: u32, out: &mut Vec<u8>) {
        let Some(cmdline) = mirror.proc(id).and_then(|image| CommandLine::of(mirror, image)) else {
            return out.extend_from_slice(&[b','; CMDLINE_COLUMNS]);
        };
        self.json.clear();
        let exact = cmdline.append_array(&mut self.json);
        append_text::<S>(Some(&self.json), out);
        out.push(b',');
        out.extend_from_slice(cmdline.from());
        out.extend_from_slice(if cmdline.is_cut() { b",true," } else { b",," });
        if !exact {
            cmdline.append_base64(out);
        }
    }

    fn append_path(
        &mut self,
        mirror: &Mirror,
        place: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        out.push(b',');
        let exact = self.paths.append(mirror, place?, b"\"", out)?;
        out.push(b'"');
        Some(exact)
    }

    /// The columns from `pid` to `chain`, and those of the executed file.
    fn process(&mut self, mirror: &Mirror, id: u32) -> (&[u8], &[u8]) {
        let (columns, end) = match self.processes.find(id) {
            Some(index) => self.processes.get(index),
            None => self.render_process(mirror, id),
        };
        columns.split_at(end)
    }

    #[cold]
    fn render_process(&mut self, mirror: &Mirror, id: u32) -> Piece<'_, usize> {
        let Some(image) = mirror.proc(id) else { return UNKNOWN_PROCESS };
        let out = &mut self.rendered;
        out.clear();
        let flags = image.flags.get();
        let (known, cred) = (flags & proc_flag::COMM != 0, flags & proc_flag::CRED != 0);
        let exe = Exe::of(mirror, image);
        append_number(Some(image.pid.get().into()).filter(|pid| *pid != 0), out);
        append_number(Some(image.ppid.get().into()).filter(|pid| *pid != 0), out);
        append_text::<S>(known.then(|| comm(image)), out);
        let path_exact = append_text::<S>(exe.path, out);
        append_number(cred.then(|| image.uid.get().into()), out);
        append_number(cred.then(|| image.gid.get().into()), out);
        append_text::<S>(mirror.string(image.user.get()), out);
        match (mirror.string(image.cgroup.get()), image.cgroup_id.get()) {
            (None, id) if id != 0 => {
                out.extend_from_slice(b",id:");
                number::append(id, out);
            }
            (path, _) => _ = append_text::<S>(path, out),
        }
        self.json.clear();
        if self.chain && ancestors(mirror, image).next().is_some() {
            append_chain(mirror, image, &mut self.json);
        }
        append_text::<S>(Some(&self.json), out);
        let end = out.len();
        let exec_exact = append_text::<S>(exe.exec, out);
        exe.append_columns([path_exact, exec_exact], out);
        self.processes.put(id, out, end);
        (out, end)
    }
}

impl<S: Style> LineFormat for Csv<S> {
    /// A quoted name can contain line breaks.
    fn line_end(text: &[u8]) -> Option<usize> {
        let mut is_quoted = false;
        for at in memchr2_iter(b'"', b'\n', text) {
            if text[at] == b'"' {
                is_quoted = !is_quoted;
            } else if !is_quoted {
                return Some(at + 1);
            }
        }
        None
    }

    /// Records begin with a time; a header and the line break after a truncated line do not.
    fn is_record(line: &[u8]) -> bool {
        line[0].is_ascii_digit()
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER);
        out.extend_from_slice(exe::HEADER);
        out.extend_from_slice(LAST_HEADER);
        out.extend_from_slice(RECORDER_HEADER);
        if self.size {
            out.extend_from_slice(SIZE_HEADER);
        }
        if self.cmdline {
            out.extend_from_slice(CMDLINE_HEADER);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn changed(&mut self, change: Change) {
        self.paths.changed(change);
        match change {
            Change::Proc(id) => self.processes.forget(id),
            Change::Everything => self.processes.forget_all(),
            _ => {}
        }
    }

    fn event(&mut self, world: &World, line: &Line<'_>, out: &mut Vec<u8>) {
        let (event, mirror) = (line.event, &world.mirror);
        out.extend_from_slice(self.time.text(world.wall.real_ns(event.head.time_ns.get())));
        out.push(b',');
        out.extend_from_slice(line.kind.name.as_bytes());
        let exact = self.append_path(mirror, line.place, out);
        let old_exact = self.append_path(mirror, line.old, out);
        out.extend_from_slice(if event.is_dir() { b",true" } else { b"," });
        let (process, file) = self.process(mirror, event.head.proc.get());
        out.extend_from_slice(process);
        let is_plain = event.head.flags.get() == 0 && line.kind.bit != kind::FS_ERROR;
        if is_plain && exact != Some(false) && old_exact != Some(false) {
            out.extend_from_slice(&[b','; SELDOM_COLUMNS]);
        } else {
            append_seldom(mirror, line, exact, old_exact, out);
        }
        out.extend_from_slice(file);
        out.push(b',');
        if let Some(object) = line.joined_by() {
            out.extend_from_slice(&format_hex(object));
        }
        let via_exact = self.append_path(mirror, line.via, out);
        append_base64(mirror, line.via, via_exact, out);
        if !self.size && !self.cmdline {
            return out.extend_from_slice(NO_RECORDER_AND_END);
        }
        out.extend_from_slice(NO_RECORDER);
        if self.size {
            append_number(line.late_size, out);
            out.extend_from_slice(if line.late_size.is_some() { b",true" } else { b"," });
        }
        if self.cmdline {
            self.append_cmdline(mirror, event.head.proc.get(), out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn loss(&mut self, world: &World, loss: &Loss, out: &mut Vec<u8>) {
        out.extend_from_slice(self.time.text(world.wall.real_ns(loss.last_ns.get())));
        out.extend_from_slice(b",LOSS");
        let (mirror, place) = (&world.mirror, Place::of_loss(loss));
        let exact = self.append_path(mirror, place, out);
        out.extend_from_slice(&[b','; LOSS_TO_PATH]);
        if let Some(place) = place.filter(|_| exact == Some(false)) {
            out.extend_from_slice(path_base64(mirror, place).as_bytes());
        }
        out.extend_from_slice(&[b','; LOSS_TO_REASON]);
        out.extend_from_slice(Reason::from_code(loss.reason.get()).name().as_bytes());
        append_number(Some(loss.count.get()).filter(|count| *count != COUNT_UNKNOWN), out);
        out.extend_from_slice(&[b','; exe::COLUMNS + LAST_COLUMNS]);
        out.extend_from_slice(NO_RECORDER);
        self.end_without_process(out);
    }

    fn gap(&mut self, gap: &Gap, out: &mut Vec<u8>) {
        out.extend_from_slice(self.time.text(gap.to_ns.get()));
        out.extend_from_slice(b",GAP,");
        out.extend_from_slice(&[b','; LOSS_TO_PATH + LOSS_TO_REASON]);
        out.extend_from_slice(Cause::from_code(gap.cause.get()).name().as_bytes());
        out.extend_from_slice(&[b','; REASON_TO_RECORDER]);
        out.extend_from_slice(self.time.text(gap.from_ns.get()));
        out.push(b',');
        if let Some(stream) = gap.stream_before() {
            out.extend_from_slice(format_stream(stream).as_bytes());
        }
        append_number(gap.events_before(), out);
        out.push(b',');
        self.end_without_process(out);
    }

    fn note(&mut self, world: &World, note: &NoteRef<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.time.text(world.wall.real_ns(note.head.time_ns.get())));
        out.extend_from_slice(b",NOTE,\"");
        let exact = escape::<S>(note.path, out);
        out.push(b'"');
        out.extend_from_slice(&[b','; LOSS_TO_PATH]);
        if !exact {
            append_base64_text(note.path, out);
        }
        out.extend_from_slice(&[b','; LOSS_TO_REASON]);
        out.extend_from_slice(note.what().name().as_bytes());
        out.extend_from_slice(&[b','; REASON_TO_RECORDER + RECORDER_COLUMNS - 1]);
        out.push(b'"');
        notes::append_sentence::<S>(note, out);
        out.push(b'"');
        self.end_without_process(out);
    }
}

impl<S> Csv<S> {
    /// The end of a line that has neither size nor command line.
    fn end_without_process(&self, out: &mut Vec<u8>) {
        if self.size {
            out.extend_from_slice(&[b','; SIZE_COLUMNS]);
        }
        if self.cmdline {
            out.extend_from_slice(&[b','; CMDLINE_COLUMNS]);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The columns from `attribution` to `lost`.
fn append_seldom(
    mirror: &Mirror,
    line: &Line<'_>,
    exact: Option<bool>,
    old_exact: Option<bool>,
    out: &mut Vec<u8>,
) {
    let event = line.event;
    out.push(b',');
    out.extend_from_slice(inexact(event.attribution()).unwrap_or_default().as_bytes());
    for flag in [event.found(), event.exchange(), event.unsure()] {
        out.extend_from_slice(if flag { b",true" } else { b"," });
    }
    append_base64(mirror, line.place, exact, out);
    append_base64(mirror, line.old, old_exact, out);
    let error = line.fs_error();
    append_number(error.map(|(errno, _)| errno.into()), out);
    append_number(error.map(|(_, count)| count.into()), out);
    out.extend_from_slice(b",,");
}

fn append_number(value: Option<u64>, out: &mut Vec<u8>) {
    out.push(b',');
    if let Some(value) = value {
        number::append(value, out);
    }
}

/// Quotes only if necessary. Returns whether the text is exact.
fn append_text<S: Style>(text: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.push(b',');
    let text = text.unwrap_or_default();
    let quoted = text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
    if quoted {
        out.push(b'"');
    }
    let exact = escape::<S>(text, out);
    if quoted {
        out.push(b'"');
    }
    exact
}

fn append_base64(
    mirror: &Mirror,
    place: Option<Place<'_>>,
    exact: Option<bool>,
    out: &mut Vec<u8>,
) {
    out.push(b',');
    if let (Some(place), Some(false)) = (place, exact) {
        out.extend_from_slice(path_base64(mirror, place).as_bytes());
    }
}

/// For files and pipes.
pub type Plain = Csv<escape::Csv>;
/// For terminals.
pub type Terminal = Csv<escape::CsvTerminal>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Lines;
    use crate::text::fixture::{Bench, event, image};
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use fsmon_format::record::{Event, Proc, event_flag};
    use proptest::prelude::*;

    /// A plain reader of RFC 4180: records of fields.
    fn read(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), Vec::new());
        let (mut quoted, mut at) = (false, 0);
        while at < text.len() {
            match (quoted, text[at], text.get(at + 1)) {
                (true, b'"', Some(b'"')) => {
                    field.push(b'"');
                    at += 1;
                }
                (true, b'"', _) => quoted = false,
                (true, byte, _) => field.push(byte),
                (false, b'"', _) if field.is_empty() => quoted = true,
                (false, b',', _) => record.push(std::mem::take(&mut field)),
                (false, b'\r', Some(b'\n')) => {
                    record.push(std::mem::take(&mut field));
                    records.push(std::mem::take(&mut record));
                    at += 1;
                }
                (false, byte, _) => field.push(byte),
            }
            at += 1;
        }
        assert!(!quoted && record.is_empty() && field.is_empty());
        records
    }

    fn text(field: &[u8]) -> &str {
        std::str::from_utf8(field).expect("UTF-8")
    }

    fn bench<S: Style>() -> Bench<Lines<Csv<S>>> {
        Bench::lines(Csv::<S>::new(true))
    }

    #[test]
    fn the_same_columns_as_json() {
        let mut bench = bench::<escape::Csv>();
        bench.pipeline.begin(&mut bench.out);
        bench.play();
        let text = bench.text();
        let chain = r#""[{""pid"":11,""cmd"":""make""},{""pid"":10,""cmd"":""sh""}]""#;
        let cc = format!("12,11,cc,/usr/bin/cc,1000,100,builder,/job/7,{chain}");
        let t = "2023-11-14T22:13:19.000000000Z";
        let lines: Vec<_> = text.split_terminator("\r\n").collect();
        assert_eq!(
            lines[0].as_bytes(),
            [HEADER, exe::HEADER, LAST_HEADER, RECORDER_HEADER].concat()
        );
        // Behind the first 24 columns nothing is known.
        let files = ",".repeat(exe::COLUMNS + LAST_COLUMNS + RECORDER_COLUMNS);
        assert_eq!(
            lines[1],
            format!(
                "2023-11-14T22:13:20.000000042Z,CREATE,\"/srv/b/sub/a.o\",,,{cc},,,,,,,,,,{files}"
            )
        );
        assert_eq!(
            lines[3],
            format!("{t},RENAME,\"/srv/b/new\",\"/srv/b/sub/old\",true,{cc},,,,true,,,,,,{files}")
        );
        assert_eq!(
            lines[6],
            format!(
                "{t},CREATE,\"/srv/b/\u{fffd}x\n\",,,,,,,,,,,,unknown,true,,,L3Nydi9iL/94Cg==,,,,,{files}"
            )
        );
        assert_eq!(lines[7], format!("{t},FS_ERROR{},117,5,,{files}", ",".repeat(18)));
        assert_eq!(lines[9], format!("{t},LOSS{},queue_overflow,{files}", ",".repeat(20)));
        assert_eq!(lines[10], format!("{t},LOSS{},process_messages,12{files}", ",".repeat(20)));
        for record in read(text.as_bytes()) {
            assert_eq!(record.len(), 24 + exe::COLUMNS + LAST_COLUMNS + RECORDER_COLUMNS);
        }
    }

    #[test]
    fn what_the_recorder_says() {
        for cmdline in [false, true] {
            let mut bench = Bench::lines(Csv::<escape::Csv>::new(true).with_cmdline(cmdline));
            bench.pipeline.begin(&mut bench.out);
            bench.furnish();
            bench.pipeline = bench.pipeline.with_notes();
            bench.tell();
            bench.event(event(kind::CREATE, 1, 3), b"f", b"");
            let rows = read(&bench.out);
            let header = &rows[0];
            assert!(rows.iter().all(|row| row.len() == header.len()));
            assert!(header.starts_with(&[b"time".to_vec()]) && rows.len() == 13);
            let filled = |row: usize| -> Vec<_> {
                let columns = header.iter().zip(&rows[row]).filter(|(_, field)| !field.is_empty());
                columns.map(|(name, field)| (text(name), text(field))).collect()
            };
            assert_eq!(
                filled(2),
                [
                    ("time", "2023-11-14T22:13:20.000000001Z"),
                    ("event_type", "GAP"),
                    ("reason", "killed"),
                    ("from", "2023-11-14T21:56:40.123456789Z"),
                    ("stream", "01ab7265616d20623420697420776173"),
                    ("events", "7"),
                ]
            );
            assert_eq!(
                filled(7),
                [
                    ("time", "2023-11-14T22:13:20.000000002Z"),
                    ("event_type", "NOTE"),
                    ("path", "/srv/\u{fffd}\n,\""),
                    ("path_b64", "L3Nydi//Ciwi"),
                    ("reason", "watch_failed"),
                    ("note", "cannot watch /srv/\u{fffd}\n,\": no\x1b[31m, it is \"full\""),
                ]
            );
            assert!(filled(12).iter().all(|(name, _)| !["from", "note"].contains(name)));
        }
    }

    #[test]
    fn what_runs_is_shown_as_in_json() {
        let mut bench = bench::<escape::Csv>();
        bench.pipeline.begin(&mut bench.out);
        bench.dir(1, 0, b"/r");
        bench.string(1, b"/opt/\xff,a");
        bench.string(2, b"./a");
        let flags = proc_flag::EXE_LATE | proc_flag::EXE_UNSURE | proc_flag::EXE_CUT;
        let image = image(1, 5, "a");
        let (exe, exec) = (1.into(), 2.into());
        bench.image(Proc {
            exe,
            exec,
            exe_root: 4_026_532_201.into(),
            flags: flags.into(),
            ..image
        });
        bench.event(event(kind::CREATE, 1, 1), b"f", b"");
        bench.event(event(kind::CREATE, 1, 0), b"f", b"");
        let lines = read(bench.text().as_bytes());
        let columns = lines[0].iter().map(|name| text(name)).zip(&lines[1]);
        let of =
            |name: &str| columns.clone().find(|(n, _)| *n == name).map(|(_, field)| text(field));
        assert_eq!(of("exe"), Some("/opt/\u{fffd},a"));
        assert_eq!(of("exe_b64"), Some("L29wdC//LGE="));
        assert_eq!((of("exec"), of("exec_b64")), (Some("./a"), Some("")));
        assert_eq!(of("exe_root"), Some("mnt:[4026532201]"));
        for flag in ["exe_late", "exe_unsure", "exe_cut"] {
            assert_eq!(of(flag), Some("true"), "{flag}");
        }
        assert!(lines[2][24..].iter().all(Vec::is_empty) && lines[2].len() == lines[0].len());
    }

    #[test]
    fn a_file_without_a_name_is_joined_by_its_object() {
        let mut bench = Bench::lines(Csv::<escape::Csv>::new(false).with_cmdline(true));
        bench.pipeline.begin(&mut bench.out);
        bench.dir(1, 0, b"/r");
        let of = |mut event: Event, flags: u16| {
            (event.object, event.flags) = (0x2a_u64.into(), flags.into());
            event
        };
        bench.event(of(event(kind::MODIFY, 0, 0), 0), b"", b"");
        bench.event(of(event(kind::CREATE, 1, 0), event_flag::NAMED), b"f", b"");
        bench.event(of(event(kind::DELETE, 1, 0), 0), b"f", b"");
        bench.loss(1, 5);
        let lines = read(bench.text().as_bytes());
        let at = lines[0].iter().position(|name| name == b"object").expect("a column");
        assert_eq!(lines[0].len() - at, LAST_COLUMNS + RECORDER_COLUMNS + CMDLINE_COLUMNS);
        let objects: Vec<_> = lines[1..].iter().map(|line| text(&line[at])).collect();
        assert_eq!(objects, ["000000000000002a", "000000000000002a", "", ""]);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    }

    #[test]
    fn the_name_through_which_a_file_was_changed() {
        let mut bench = bench::<escape::Csv>();
        bench.pipeline.begin(&mut bench.out);
        bench.dir(1, 0, b"/r");
        bench.dir(2, 0, b"/o");
        let mut through = event(kind::MODIFY, 1, 0);
        through.dir2 = 2.into();
        bench.event(through, b"f", b"a");
        through.flags = event_flag::VIA.into();
        bench.event(through, b"f", b"a,b");
        bench.event(through, b"f", b"\xff");
        let lines = read(bench.text().as_bytes());
        let at = lines[0].iter().position(|name| name == b"via").expect("a column");
        let via: Vec<_> =
            lines[1..].iter().map(|line| [text(&line[at]), text(&line[at + 1])]).collect();
        assert_eq!(via, [["", ""], ["/o/a,b", ""], ["/o/\u{fffd}", "L28v/w=="]]);
    }

    fn row<S: Style>(name: &[u8], cmd: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut bench = bench::<S>();
        bench.dir(1, 0, b"/r");
        let mut image = image(1, 5, "");
        image.comm[..cmd.len()].copy_from_slice(cmd);
        bench.image(image);
        bench.event(event(kind::CREATE, 1, 1), name, b"");
        let mut records = read(&bench.out);
        assert_eq!(records.len(), 1);
        (bench.out, records.remove(0))
    }

    proptest! {
        #[test]
        fn any_name_comes_back(
            name in proptest::collection::vec(any::<u8>(), 1..255),
            cmd in proptest::collection::vec(1..=255u8, 0..15),
        ) {
            let (_, fields) = row::<escape::Csv>(&name, &cmd);
            let path = [b"/r/", &name[..]].concat();
            prop_assert_eq!(text(&fields[2]), String::from_utf8_lossy(&path));
            prop_assert_eq!(text(&fields[7]), String::from_utf8_lossy(&cmd));
            if std::str::from_utf8(&path).is_err() {
                prop_assert_eq!(BASE64_STANDARD.decode(&fields[18]).expect("base64"), path);
            } else {
                prop_assert!(fields[18].is_empty());
            }
        }

        #[test]
        fn a_terminal_gets_no_control_character(
            name in proptest::collection::vec(any::<u8>(), 1..255),
            cmd in proptest::collection::vec(1..=255u8, 0..15),
        ) {
            let (out, fields) = row::<escape::CsvTerminal>(&name, &cmd);
            let text = String::from_utf8(out).expect("UTF-8");
            prop_assert!(text.trim_end_matches("\r\n").chars().all(|c| !c.is_control()));
            let path = [b"/r/", &name[..]].concat();
            if fields[2] != path {
                prop_assert_eq!(BASE64_STANDARD.decode(&fields[18]).expect("base64"), path);
            }
        }
    }
}
