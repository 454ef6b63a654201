//! JSON: one object a line. Unknown fields are absent.

use super::escape::{self, escape};
use super::exe::Exe;
use super::pieces::Pieces;
use super::prefix::{Paths, append_raw};
use super::words::CommandLine;
use super::{Line, LineFormat, Place, ancestors, comm, inexact, notes, number};
use crate::limits::PROCESS_BYTES;
use crate::wall::Utc;
use crate::world::{Change, World};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{
    COUNT_UNKNOWN, Cause, EventRef, Gap, Loss, NoteRef, Proc, Reason, proc_flag,
};

/// Writes JSON lines.
pub struct Json {
    chain: bool,
    cmdline: bool,
    time: Utc,
    paths: Paths<escape::Json>,
    /// The fields of a process, from `,"pid":` on.
    processes: Pieces<()>,
    rendered: Vec<u8>,
}

impl Json {
    /// With `chain`, ancestors are shown.
    pub fn new(chain: bool) -> Self {
        Json {
            chain,
            cmdline: false,
            time: Utc::utc(),
            paths: Paths::default(),
            processes: Pieces::default(),
            rendered: Vec::with_capacity(PROCESS_BYTES),
        }
    }

    /// With `on`, command lines are shown.
    pub fn with_cmdline(self, on: bool) -> Self {
        Json { cmdline: on, ..self }
    }

    fn append_process(&mut self, mirror: &Mirror, id: u32, out: &mut Vec<u8>) {
        if let Some(index) = self.processes.find(id) {
            out.extend_from_slice(self.processes.get(index).0);
        } else if let Some(image) = mirror.proc(id) {
            self.rendered.clear();
            render_process(mirror, image, self.chain, &mut self.rendered);
            if self.cmdline
                && let Some(cmdline) = CommandLine::of(mirror, image)
            {
                cmdline.append_fields(&mut self.rendered);
            }
            self.processes.put(id, &self.rendered, ());
            out.extend_from_slice(&self.rendered);
        }
    }
}

impl LineFormat for Json {
    fn is_record(line: &[u8]) -> bool {
        line[0] == b'{'
    }

    fn begin(&mut self, _: &mut Vec<u8>) {}

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
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.time.text(world.wall.real_ns(event.head.time_ns.get())));
        out.extend_from_slice(b"\",\"event_type\":\"");
        out.extend_from_slice(line.kind.name.as_bytes());
        out.push(b'"');
        let exact = self.append_path(mirror, line.place, b",\"path\":\"", out);
        let old_exact = self.append_path(mirror, line.old, b",\"old_path\":\"", out);
        let via_exact = self.append_path(mirror, line.via, b",\"via\":\"", out);
        if event.is_dir() {
            out.extend_from_slice(b",\"is_dir\":true");
        }
        if let Some(object) = line.joined_by() {
            append_text(b",\"object\":\"", format_hex(object).as_slice(), out);
        }
        self.append_process(mirror, event.head.proc.get(), out);
        if event.head.flags.get() != 0 {
            append_flags(&event, out);
        }
        if exact == Some(false) {
            append_base64(mirror, line.place, b",\"path_b64\":\"", out);
        }
        if old_exact == Some(false) {
            append_base64(mirror, line.old, b",\"old_path_b64\":\"", out);
        }
        if via_exact == Some(false) {
            append_base64(mirror, line.via, b",\"via_b64\":\"", out);
        }
        if let Some((error, count)) = line.fs_error() {
            append_number(b",\"error\":", error.into(), out);
            append_number(b",\"error_count\":", count.into(), out);
        }
        if let Some(bytes) = line.late_size {
            append_number(b",\"size\":", bytes, out);
            out.extend_from_slice(b",\"size_late\":true");
        }
        out.extend_from_slice(b"}\n");
    }

    fn loss(&mut self, world: &World, loss: &Loss, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.time.text(world.wall.real_ns(loss.last_ns.get())));
        out.extend_from_slice(b"\",\"event_type\":\"LOSS\"");
        let (mirror, place) = (&world.mirror, Place::of_loss(loss));
        let exact = self.append_path(mirror, place, b",\"path\":\"", out);
        let reason = Reason::from_code(loss.reason.get()).name();
        append_text(b",\"reason\":\"", reason.as_bytes(), out);
        if loss.count.get() != COUNT_UNKNOWN {
            append_number(b",\"lost\":", loss.count.get(), out);
        }
        if exact == Some(false) {
            append_base64(mirror, place, b",\"path_b64\":\"", out);
        }
        out.extend_from_slice(b"}\n");
    }

    fn gap(&mut self, gap: &Gap, out: &mut Vec<u8>) {
        let to_ns = gap.to_ns.get();
        self.append_time(b"{\"time\":\"", to_ns, out);
        out.extend_from_slice(b",\"event_type\":\"GAP\"");
        self.append_time(b",\"from\":\"", gap.from_ns.get(), out);
        self.append_time(b",\"to\":\"", to_ns, out);
        let cause = Cause::from_code(gap.cause.get()).name();
        append_text(b",\"cause\":\"", cause.as_bytes(), out);
        if let Some(stream) = gap.stream_before() {
            append_text(b",\"stream\":\"", format_stream(stream).as_bytes(), out);
        }
        if let Some(events) = gap.events_before() {
            append_number(b",\"events\":", events, out);
        }
        out.extend_from_slice(b"}\n");
    }

    fn note(&mut self, world: &World, note: &NoteRef<'_>, out: &mut Vec<u8>) {
        self.append_time(b"{\"time\":\"", world.wall.real_ns(note.head.time_ns.get()), out);
        out.extend_from_slice(b",\"event_type\":\"NOTE\",\"note\":\"");
        notes::append_sentence::<escape::Json>(note, out);
        append_text(b"\",\"what\":\"", note.what().name().as_bytes(), out);
        if !note.path.is_empty() {
            append_text(b",\"path\":\"", note.path, out);
        }
        for (index, name) in notes::types(note).enumerate() {
            let before: &[u8] = if index == 0 { b",\"types\":[\"" } else { b",\"" };
            append_text(before, name.as_bytes(), out);
        }
        if notes::types(note).next().is_some() {
            out.push(b']');
        }
        if note.is_recursive() {
            out.extend_from_slice(b",\"recursive\":true");
        }
        if !note.text.is_empty() {
            append_text(b",\"text\":\"", note.text, out);
        }
        if std::str::from_utf8(note.path).is_err() {
            out.extend_from_slice(b",\"path_b64\":\"");
            append_base64_text(note.path, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Adds the cursor to a line that was just appended.
pub fn append_cursor(cursor: &str, out: &mut Vec<u8>) {
    const END: &[u8] = b"}\n";
    debug_assert!(out.ends_with(END));
    out.truncate(out.len() - END.len());
    append_text(b",\"cursor\":\"", cursor.as_bytes(), out);
    out.extend_from_slice(END);
}

/// The id of a stream as 32 hexadecimal digits.
pub(super) fn format_stream(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

impl Json {
    fn append_time(&mut self, before: &[u8], real_ns: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(before);
        out.extend_from_slice(self.time.text(real_ns));
        out.push(b'"');
    }

    #[inline]
    fn append_path(
        &mut self,
        mirror: &Mirror,
        place: Option<Place<'_>>,
        before: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        let exact = self.paths.append(mirror, place?, before, out)?;
        out.push(b'"');
        Some(exact)
    }
}

/// An object's hash as 16 hexadecimal digits.
#[cold]
pub fn format_hex(object: u64) -> [u8; 16] {
    let digit = |at: usize| b"0123456789abcdef"[(object >> (60 - 4 * at) & 15) as usize];
    std::array::from_fn(digit)
}

/// The fields that few events have.
fn append_flags(event: &EventRef<'_>, out: &mut Vec<u8>) {
    if let Some(word) = inexact(event.attribution()) {
        append_text(b",\"attribution\":\"", word.as_bytes(), out);
    }
    if event.found() {
        out.extend_from_slice(b",\"found\":true");
    }
    if event.exchange() {
        out.extend_from_slice(b",\"exchange\":true");
    }
    if event.unsure() {
        out.extend_from_slice(b",\"unsure\":true");
    }
}

#[cold]
pub(super) fn render_process(mirror: &Mirror, image: &Proc, chain: bool, out: &mut Vec<u8>) {
    let flags = image.flags.get();
    if image.pid.get() != 0 {
        append_number(b",\"pid\":", image.pid.get().into(), out);
    }
    if image.ppid.get() != 0 {
        append_number(b",\"ppid\":", image.ppid.get().into(), out);
    }
    if flags & proc_flag::COMM != 0 {
        append_text(b",\"cmd\":\"", comm(image), out);
    }
    Exe::of(mirror, image).append_fields(out);
    if flags & proc_flag::CRED != 0 {
        append_number(b",\"uid\":", image.uid.get().into(), out);
        append_number(b",\"gid\":", image.gid.get().into(), out);
    }
    if let Some(user) = mirror.string(image.user.get()) {
        append_text(b",\"user\":\"", user, out);
    }
    if let Some(cgroup) = mirror.string(image.cgroup.get()) {
        append_text(b",\"cgroup\":\"", cgroup, out);
    } else if image.cgroup_id.get() != 0 {
        append_number(b",\"cgroup\":\"id:", image.cgroup_id.get(), out);
        out.push(b'"');
    }
    if chain && ancestors(mirror, image).next().is_some() {
        out.extend_from_slice(b",\"chain\":");
        append_chain(mirror, image, out);
    }
}

/// Appends `[{"pid":1,"cmd":"init"}]`, nearest first.
pub fn append_chain(mirror: &Mirror, image: &Proc, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, ancestor) in ancestors(mirror, image).enumerate() {
        let before: &[u8] = if index == 0 { b"{\"pid\":" } else { b",{\"pid\":" };
        append_number(before, ancestor.pid.get().into(), out);
        if ancestor.flags.get() & proc_flag::COMM != 0 {
            append_text(b",\"cmd\":\"", comm(ancestor), out);
        }
        out.push(b'}');
    }
    out.push(b']');
}

pub(super) fn append_text(before: &[u8], text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    escape::<escape::Json>(text, out);
    out.push(b'"');
}

pub(super) fn append_number(before: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    number::append(value, out);
}

#[cold]
fn append_base64(mirror: &Mirror, place: Option<Place<'_>>, before: &[u8], out: &mut Vec<u8>) {
    let Some(place) = place else { return };
    out.extend_from_slice(before);
    out.extend_from_slice(path_base64(mirror, place).as_bytes());
    out.push(b'"');
}

/// The exact bytes of a path that the format cannot show. Rare, so it may allocate.
#[cold]
pub fn path_base64(mirror: &Mirror, place: Place<'_>) -> String {
    let mut raw = Vec::new();
    append_raw(mirror, place, &mut raw);
    BASE64_STANDARD.encode(raw)
}

/// Appends any bytes in base64. Rare, so it may allocate.
#[cold]
pub fn append_base64_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(BASE64_STANDARD.encode(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Lines;
    use crate::text::fixture::{Bench, event, image};
    use fsmon_format::kind;
    use proptest::prelude::*;
    use serde_json::Value;
    use zerocopy::FromZeros;

    fn bench(chain: bool) -> Bench<Lines<Json>> {
        Bench::lines(Json::new(chain))
    }

    #[test]
    fn every_field_in_its_place() {
        let mut bench = bench(true);
        bench.play();
        let cc = r#""pid":12,"ppid":11,"cmd":"cc","exe":"/usr/bin/cc","uid":1000,"gid":100,"user":"builder","cgroup":"/job/7","chain":[{"pid":11,"cmd":"make"},{"pid":10,"cmd":"sh"}]"#;
        let make =
            r#""pid":11,"ppid":10,"cmd":"make","uid":0,"gid":0,"chain":[{"pid":10,"cmd":"sh"}]"#;
        let t = r#"{"time":"2023-11-14T22:13:19.000000000Z","event_type""#;
        let expected = [
            format!(
                r#"{{"time":"2023-11-14T22:13:20.000000042Z","event_type":"CREATE","path":"/srv/b/sub/a.o",{cc}}}"#
            ),
            format!(
                r#"{{"time":"2023-11-14T22:13:20.000000042Z","event_type":"CLOSE_WRITE","path":"/srv/b/sub/a.o",{cc}}}"#
            ),
            format!(
                r#"{t}:"RENAME","path":"/srv/b/new","old_path":"/srv/b/sub/old","is_dir":true,{cc},"unsure":true}}"#
            ),
            format!(r#"{t}:"RENAME","path":"/srv/b/in","is_dir":true,{cc},"attribution":"late"}}"#),
            format!(
                r#"{t}:"RENAME","old_path":"/srv/b/sub/out",{make},"attribution":"ambiguous"}}"#
            ),
            format!(
                "{t}:\"CREATE\",\"path\":\"/srv/b/\u{fffd}x\\n\",{}",
                r#""attribution":"unknown","found":true,"path_b64":"L3Nydi9iL/94Cg=="}"#
            ),
            format!(r#"{t}:"FS_ERROR","error":117,"error_count":5}}"#),
            format!(
                r#"{t}:"ATTRIB","path":"/srv/b/sub","is_dir":true,"pid":10,"cmd":"sh","uid":0,"gid":0}}"#
            ),
            format!(r#"{t}:"LOSS","reason":"queue_overflow"}}"#),
            format!(r#"{t}:"LOSS","reason":"process_messages","lost":12}}"#),
        ];
        let text = bench.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, expected);
        for line in lines {
            serde_json::from_str::<Value>(line).expect("JSON");
        }
    }

    #[test]
    fn what_the_recorder_says() {
        let mut bench = bench(false);
        bench.furnish();
        bench.pipeline = bench.pipeline.with_notes();
        bench.tell();
        let (from, to) = ("2023-11-14T21:56:40.123456789Z", "2023-11-14T22:13:20.000000001Z");
        let gap = |cause| {
            format!(
                r#"{{"time":"{to}","event_type":"GAP","from":"{from}","to":"{to}","cause":"{cause}","stream":"01ab7265616d20623420697420776173","events":7}}"#
            )
        };
        let note = |rest| {
            format!(r#"{{"time":"2023-11-14T22:13:20.000000002Z","event_type":"NOTE",{rest}}}"#)
        };
        let types =
            r#""types":["CREATE","RENAME","ATTRIB","CLOSE_WRITE","DELETE"],"recursive":true"#;
        let extent = "(CREATE, RENAME, ATTRIB, CLOSE_WRITE, DELETE), with everything below it";
        let expected = [
            gap("unknown"),
            gap("killed"),
            gap("other"),
            note(format!(
                r#""note":"watching /srv {extent}","what":"watch_began","path":"/srv",{types}"#
            )),
            note(format!(
                r#""note":"no longer watching /srv","what":"watch_ended","path":"/srv",{types}"#
            )),
            note(format!(
                r#""note":"waiting for /srv/later to appear {extent}","what":"watch_pending","path":"/srv/later",{types}"#
            )),
            note(format!(
                "\"note\":\"cannot watch /srv/\u{fffd}\\n,\\\": no\\u001b[31m, it is \\\"full\\\"\",\"what\":\"watch_failed\",\"path\":\"/srv/\u{fffd}\\n,\\\"\",{types},\"text\":\"no\\u001b[31m, it is \\\"full\\\"\",\"path_b64\":\"L3Nydi//Ciwi\""
            )),
            note(format!(
                r#""note":"cannot watch /srv","what":"watch_failed","path":"/srv",{types}"#
            )),
            note(
                r#""note":"deleted old.fsmon before it reached its age: cc wrote 97 % of it","what":"segment_deleted","path":"old.fsmon","text":"cc wrote 97 % of it""#
                    .into(),
            ),
            note(r#""note":"something that this version does not know","what":"other""#.into()),
            note(
                r#""note":"/srv: as never before","what":"other","path":"/srv","text":"as never before""#
                    .into(),
            ),
        ];
        let text = bench.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, expected);
        for line in lines {
            serde_json::from_str::<Value>(line).expect("JSON");
        }
    }

    #[test]
    fn a_gap_leaves_out_what_is_not_known() {
        let mut gap = Gap::new_zeroed();
        gap.events = COUNT_UNKNOWN.into();
        let mut out = Vec::new();
        Json::new(false).gap(&gap, &mut out);
        let line: Value = serde_json::from_slice(&out).expect("JSON");
        let fields: Vec<_> = line.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(fields, ["cause", "event_type", "from", "time", "to"]);
    }

    #[test]
    fn a_group_that_is_gone_keeps_its_id() {
        let mut bench = bench(false);
        bench.dir(1, 0, b"/");
        bench.image(Proc { cgroup_id: 77.into(), flags: 0.into(), ..image(1, 5, "") });
        bench.event(event(kind::DELETE, 1, 1), b"f", b"");
        let line: Value = serde_json::from_str(&bench.text()).expect("JSON");
        assert_eq!((&line["cgroup"], &line["path"]), (&"id:77".into(), &"/f".into()));
        assert_eq!((line.get("cmd"), line.get("uid"), line.get("chain")), (None, None, None));
    }

    #[test]
    fn what_runs_is_shown_exactly() {
        let mut bench = bench(false);
        bench.dir(1, 0, b"/r");
        bench.string(1, b"/opt/\xff");
        bench.string(2, b"./\xfe");
        let (exe, exec, exe_root) = (1.into(), 2.into(), 4_026_532_201.into());
        let flags = (proc_flag::EXE_LATE | proc_flag::EXE_UNSURE | proc_flag::EXE_CUT).into();
        bench.image(Proc { exe, exec, exe_root, flags, ..image(1, 5, "") });
        bench.event(event(kind::DELETE, 1, 1), b"f", b"");
        // Without a path nothing is to be said of it.
        bench.image(Proc { exec, exe_root, flags, ..image(2, 6, "") });
        bench.event(event(kind::DELETE, 1, 2), b"f", b"");
        let text = bench.text();
        let mut lines = text.lines();
        let whole = lines.next().expect("a line");
        let expected = "\"pid\":5,\"exe\":\"/opt/\u{fffd}\",\"exe_root\":\"mnt:[4026532201]\",\
                        \"exe_late\":true,\"exe_unsure\":true,\"exe_cut\":true,\
                        \"exec\":\"./\u{fffd}\",\"exe_b64\":\"L29wdC//\",\"exec_b64\":\"Li/+\"}";
        assert!(whole.ends_with(expected), "{whole}");
        let without = lines.next().expect("a line");
        assert!(
            without.ends_with("\"pid\":6,\"exec\":\"./\u{fffd}\",\"exec_b64\":\"Li/+\"}"),
            "{without}"
        );
    }

    #[test]
    fn what_is_kept_follows_renames_and_ids_used_again() {
        let mut bench = bench(false);
        bench.furnish();
        let mut next = |change: &mut dyn FnMut(&mut Bench<_>)| {
            change(&mut bench);
            bench.event(event(kind::CREATE, 2, 3), b"f", b"");
            let line: Value = serde_json::from_str(&bench.text()).expect("JSON");
            (line["path"].as_str().expect("path").to_owned(), line["pid"].as_u64())
        };
        assert_eq!(next(&mut |_| {}), ("/srv/b/sub/f".into(), Some(12)));
        let rename = next(&mut |bench| bench.dir_again(1, 0, 1, 1, b"/srv/c"));
        assert_eq!(rename, ("/srv/c/sub/f".into(), Some(12)));
        let reused = next(&mut |bench| bench.dir_again(2, 1, 0, 99, b"other"));
        assert_eq!(reused, ("/srv/c/other/f".into(), Some(12)));
        assert_eq!(next(&mut |bench| bench.image(image(3, 99, "ld"))).1, Some(99));
    }

    proptest! {
        #[test]
        fn any_name_is_valid_json_and_comes_back(name in proptest::collection::vec(any::<u8>(), 1..255)) {
            let mut bench = bench(false);
            bench.dir(1, 0, b"/r");
            bench.event(event(kind::CREATE, 1, 0), &name, b"");
            let text = bench.text();
            let no_control = text.trim_end_matches('\n').chars().all(|c| !c.is_control());
            prop_assert!(no_control, "{}", text);
            let line: Value = serde_json::from_str(&text).expect("JSON");
            let path = [b"/r/", &name[..]].concat();
            prop_assert_eq!(line["path"].as_str().expect("path"), String::from_utf8_lossy(&path));
            let exact = line.get("path_b64").map(|text| {
                BASE64_STANDARD.decode(text.as_str().expect("text")).expect("base64")
            });
            let needed = std::str::from_utf8(&path).is_err();
            prop_assert_eq!(exact, needed.then_some(path));
        }
    }
}
