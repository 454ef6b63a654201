//! The file that a process runs (`exe`), and the path that exec was given (`exec`).

use super::escape::{self, escape};
use super::json::append_base64_text;
use super::number;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Proc, proc_flag};

/// The columns of CSV that follow those of the event.
pub const HEADER: &[u8] = b",exec,exe_root,exe_late,exe_unsure,exe_cut,exe_b64,exec_b64";
/// How many columns those are.
pub const COLUMNS: usize = 7;

/// What an image runs; what is not known is `None` or 0.
#[derive(Clone, Copy)]
pub struct Exe<'a> {
    /// The path of the file.
    pub path: Option<&'a [u8]>,
    /// The path that exec was given.
    pub exec: Option<&'a [u8]>,
    /// Number of the mount namespace in which the path is valid; 0 for that of fsmon.
    root: u32,
    flags: u16,
}

impl<'a> Exe<'a> {
    pub fn of(mirror: &'a Mirror, image: &Proc) -> Self {
        let path = mirror.string(image.exe.get());
        let known = path.is_some();
        Exe {
            path,
            exec: mirror.string(image.exec.get()),
            root: if known { image.exe_root.get() } else { 0 },
            flags: if known { image.flags.get() } else { 0 },
        }
    }

    /// The fields of a JSON object.
    pub fn append_fields(&self, out: &mut Vec<u8>) {
        let exact = append_field(b",\"exe\":\"", self.path, out);
        if self.root != 0 {
            out.extend_from_slice(b",\"exe_root\":\"");
            append_root(self.root, out);
            out.push(b'"');
        }
        for (flag, name) in proc_flag::EXE_NAMES {
            if self.flags & flag != 0 {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":true");
            }
        }
        let exec_exact = append_field(b",\"exec\":\"", self.exec, out);
        for (exact, before, text) in [
            (exact, &b",\"exe_b64\":\""[..], self.path),
            (exec_exact, b",\"exec_b64\":\"", self.exec),
        ] {
            if let (false, Some(text)) = (exact, text) {
                out.extend_from_slice(before);
                append_base64_text(text, out);
                out.push(b'"');
            }
        }
    }

    /// The columns of [`HEADER`] behind `exec`. `exact` says whether CSV shows `path` and `exec` exactly.
    pub fn append_columns(&self, exact: [bool; 2], out: &mut Vec<u8>) {
        out.push(b',');
        if self.root != 0 {
            append_root(self.root, out);
        }
        for (flag, _) in proc_flag::EXE_NAMES {
            out.extend_from_slice(if self.flags & flag == 0 { b"," } else { b",true" });
        }
        for (exact, text) in exact.into_iter().zip([self.path, self.exec]) {
            out.push(b',');
            if let (false, Some(text)) = (exact, text) {
                append_base64_text(text, out);
            }
        }
    }
}

/// As `readlink /proc/PID/ns/mnt` prints it.
fn append_root(namespace: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mnt:[");
    number::append(namespace.into(), out);
    out.push(b']');
}

/// Returns whether the text is exact.
fn append_field(before: &[u8], text: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    let Some(text) = text else { return true };
    out.extend_from_slice(before);
    let exact = escape::<escape::Json>(text, out);
    out.push(b'"');
    exact
}
