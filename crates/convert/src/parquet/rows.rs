//! The rows of one row group.

use super::columns::{Column, Flag, Int, IntOrNull, Long, LongOrNull, Span, Text};
use super::schema::{COLUMNS, HOST};
use crate::limits::{GROUP_ROWS, GROUP_TEXT_BYTES};
use crate::words;
use crate::world::{Change, World, cgroup, comm, exe_root, ids};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Proc, proc_flag};
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;
use std::io::Write;

/// The fields that all rows of a stream share.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) boot_id: String,
    pub(super) stream_id: String,
    pub(super) segment: u32,
}

/// A loss, or a time for which nothing was recorded.
pub(super) struct Missing {
    pub(super) time_ns: u64,
    pub(super) reason: &'static str,
    /// `None` if unknown.
    pub(super) lost: Option<u64>,
    /// Since when nothing was recorded, by wall time; `None` for a loss.
    pub(super) since_ns: Option<u64>,
}

/// The fields of a process image, kept in the columns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Image {
    pid: Option<i32>,
    ppid: Option<i32>,
    ids: Option<(u32, u32)>,
    cmd: Option<Span>,
    exe: Option<Span>,
    user: Option<Span>,
    cgroup: Option<Span>,
    cmdline: Option<Span>,
    cmdline_raw: Option<Span>,
    cmdline_from: Option<Span>,
    cmdline_cut: bool,
    exec: Option<Span>,
    exe_root: Option<Span>,
    exe_late: bool,
    exe_unsure: bool,
    exe_cut: bool,
}

/// Columns, in the order of the schema.
#[derive(Default)]
pub(super) struct Rows {
    /// The number of the row group: texts kept in the columns are valid within it.
    pub(super) group: u64,
    len: usize,
    time: Long,
    event_type: Text,
    path: Text,
    path_raw: Text,
    old_path: Text,
    old_path_raw: Text,
    is_dir: Flag,
    pid: IntOrNull,
    ppid: IntOrNull,
    cmd: Text,
    exe: Text,
    uid: IntOrNull,
    gid: IntOrNull,
    user: Text,
    cgroup: Text,
    cmdline: Text,
    cmdline_raw: Text,
    cmdline_from: Text,
    cmdline_cut: Flag,
    attribution: Text,
    found: Flag,
    exchange: Flag,
    unsure: Flag,
    object: LongOrNull,
    error: IntOrNull,
    error_count: IntOrNull,
    reason: Text,
    lost: LongOrNull,
    host: Text,
    boot_id: Text,
    stream_id: Text,
    segment: Int,
    event: LongOrNull,
    exec: Text,
    exe_root: Text,
    exe_late: Flag,
    exe_unsure: Flag,
    exe_cut: Flag,
    via: Text,
    via_raw: Text,
    since: LongOrNull,
}

impl Rows {
    /// Whether it is time to write the group. Counts the texts of all columns: each can be as long as its stream says.
    pub(super) fn is_full(&mut self) -> bool {
        let texts: usize = self.columns().iter().map(|column| column.text_bytes()).sum();
        self.len >= GROUP_ROWS || texts >= GROUP_TEXT_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores the texts of a process image in the columns, for rows to come.
    pub(super) fn image(&mut self, mirror: &Mirror, image: &Proc) -> Image {
        let flags = image.flags.get();
        let words = mirror.string(image.cmdline.get());
        let from: &[u8] = if flags & proc_flag::CMDLINE_READ == 0 { b"exec" } else { b"proc" };
        let keep = |column: &mut Text, text: Option<&[u8]>| Some(keep_lossy(column, text?));
        let exe = mirror.string(image.exe.get());
        let is = |flag: u16| exe.is_some() && flags & flag != 0;
        let root = exe.and(exe_root(image));
        let raw = words.filter(|words| std::str::from_utf8(words).is_err());
        Image {
            pid: number(image.pid.get()),
            ppid: number(image.ppid.get()),
            ids: ids(image),
            cmd: keep(&mut self.cmd, comm(image)),
            exe: keep(&mut self.exe, exe),
            user: keep(&mut self.user, mirror.string(image.user.get())),
            cgroup: keep(&mut self.cgroup, cgroup(mirror, image).as_deref()),
            cmdline: words.map(|words| self.cmdline.keep(words::joined(words).as_bytes())),
            cmdline_raw: raw.map(|words| self.cmdline_raw.keep(words)),
            cmdline_from: words.map(|_| self.cmdline_from.keep(from)),
            cmdline_cut: words.is_some() && flags & proc_flag::CMDLINE_CUT != 0,
            exec: keep(&mut self.exec, mirror.string(image.exec.get())),
            exe_root: keep(&mut self.exe_root, root.as_deref().map(str::as_bytes)),
            exe_late: is(proc_flag::EXE_LATE),
            exe_unsure: is(proc_flag::EXE_UNSURE),
            exe_cut: is(proc_flag::EXE_CUT),
        }
    }

    /// A row for one type of an event.
    pub(super) fn change(
        &mut self,
        origin: &Origin,
        world: &World,
        change: &Change<'_>,
        image: &Image,
    ) {
        let event = change.event;
        let error = change.fs_error();
        self.time.push(world.wall(event.head.time_ns.get()).cast_signed());
        self.event_type.push(Some(change.kind.name.as_bytes()));
        push_path(&mut self.path, &mut self.path_raw, change.path);
        push_path(&mut self.old_path, &mut self.old_path_raw, change.old_path);
        push_path(&mut self.via, &mut self.via_raw, change.via);
        self.is_dir.push(event.is_dir());
        self.attribution.push(Some(change.attribution().as_bytes()));
        self.found.push(event.found());
        self.exchange.push(event.exchange());
        self.unsure.push(event.unsure());
        self.object.push(change.object().map(u64::cast_signed));
        self.error.push(error.map(|(error, _)| error.cast_signed()));
        self.error_count.push(error.map(|(_, count)| count.cast_signed()));
        self.reason.push(None);
        self.lost.push(None);
        self.event.push(Some(change.number.cast_signed()));
        self.since.push(None);
        self.push_image(image);
        self.push_origin(origin);
    }

    /// A row of type LOSS or GAP.
    pub(super) fn missing(&mut self, origin: &Origin, missing: &Missing) {
        let name: &[u8] = if missing.since_ns.is_some() { b"GAP" } else { b"LOSS" };
        self.time.push(missing.time_ns.cast_signed());
        self.event_type.push(Some(name));
        push_path(&mut self.path, &mut self.path_raw, None);
        push_path(&mut self.old_path, &mut self.old_path_raw, None);
        push_path(&mut self.via, &mut self.via_raw, None);
        for flag in [&mut self.is_dir, &mut self.found, &mut self.exchange, &mut self.unsure] {
            flag.push(false);
        }
        self.attribution.push(None);
        self.object.push(None);
        self.error.push(None);
        self.error_count.push(None);
        self.reason.push(Some(missing.reason.as_bytes()));
        self.lost.push(missing.lost.map(u64::cast_signed));
        self.event.push(None);
        self.since.push(missing.since_ns.map(u64::cast_signed));
        self.push_image(&Image::default());
        self.push_origin(origin);
    }

    fn push_image(&mut self, image: &Image) {
        self.pid.push(image.pid);
        self.ppid.push(image.ppid);
        self.uid.push(image.ids.map(|(uid, _)| uid.cast_signed()));
        self.gid.push(image.ids.map(|(_, gid)| gid.cast_signed()));
        self.cmd.push_kept(image.cmd);
        self.exe.push_kept(image.exe);
        self.user.push_kept(image.user);
        self.cgroup.push_kept(image.cgroup);
        self.cmdline.push_kept(image.cmdline);
        self.cmdline_raw.push_kept(image.cmdline_raw);
        self.cmdline_from.push_kept(image.cmdline_from);
        self.cmdline_cut.push(image.cmdline_cut);
        self.exec.push_kept(image.exec);
        self.exe_root.push_kept(image.exe_root);
        self.exe_late.push(image.exe_late);
        self.exe_unsure.push(image.exe_unsure);
        self.exe_cut.push(image.exe_cut);
    }

    fn push_origin(&mut self, origin: &Origin) {
        self.host.push((!origin.host.is_empty()).then_some(origin.host.as_bytes()));
        self.boot_id.push(Some(origin.boot_id.as_bytes()));
        self.stream_id.push(Some(origin.stream_id.as_bytes()));
        self.segment.push(origin.segment.cast_signed());
        self.len += 1;
    }

    /// Writes the rows as a group and forgets them.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write<W: Write + Send>(
        &mut self,
        file: &mut SerializedFileWriter<W>,
        with_host: bool,
    ) -> Result<()> {
        let mut group = file.next_row_group()?;
        for ((name, _), column) in COLUMNS.iter().zip(self.columns()) {
            if !with_host && *name == HOST {
                continue;
            }
            if let Some(mut writer) = group.next_column()? {
                column.write(&mut writer)?;
                writer.close()?;
            }
        }
        group.close()?;
        // `write` empties a column, but it skipped this one if the file has no host.
        self.host = Text::default();
        self.len = 0;
        self.group += 1;
        Ok(())
    }

    fn columns(&mut self) -> [&mut dyn Column; COLUMNS.len()] {
        [
            &mut self.time,
            &mut self.event_type,
            &mut self.path,
            &mut self.path_raw,
            &mut self.old_path,
            &mut self.old_path_raw,
            &mut self.is_dir,
            &mut self.pid,
            &mut self.ppid,
            &mut self.cmd,
            &mut self.exe,
            &mut self.uid,
            &mut self.gid,
            &mut self.user,
            &mut self.cgroup,
            &mut self.cmdline,
            &mut self.cmdline_raw,
            &mut self.cmdline_from,
            &mut self.cmdline_cut,
            &mut self.attribution,
            &mut self.found,
            &mut self.exchange,
            &mut self.unsure,
            &mut self.object,
            &mut self.error,
            &mut self.error_count,
            &mut self.reason,
            &mut self.lost,
            &mut self.host,
            &mut self.boot_id,
            &mut self.stream_id,
            &mut self.segment,
            &mut self.event,
            &mut self.exec,
            &mut self.exe_root,
            &mut self.exe_late,
            &mut self.exe_unsure,
            &mut self.exe_cut,
            &mut self.via,
            &mut self.via_raw,
            &mut self.since,
        ]
    }
}

/// Pushes a path as text, and its bytes if the text is not exact.
fn push_path(text: &mut Text, raw: &mut Text, path: Option<&[u8]>) {
    match path.map(|path| (path, String::from_utf8_lossy(path))) {
        Some((path, std::borrow::Cow::Owned(lossy))) => {
            text.push(Some(lossy.as_bytes()));
            raw.push(Some(path));
        }
        _ => {
            text.push(path);
            raw.push(None);
        }
    }
}

fn keep_lossy(column: &mut Text, text: &[u8]) -> Span {
    column.keep(String::from_utf8_lossy(text).as_bytes())
}

/// 0 means unknown.
fn number(value: u32) -> Option<i32> {
    (value != 0).then_some(value.cast_signed())
}
