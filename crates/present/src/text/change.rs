//! Lines of `fsmon changes`: what is different at a path, and the process that did something to it last.

use super::escape::{self, escape};
use super::json::{append_base64_text, append_number, append_text, render_process};
use super::{comm, number};
use crate::wall::Utc;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Proc, proc_flag};

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BLUE: &str = "\x1b[34m";

/// One path that is different.
#[derive(Clone, Copy, Debug)]
pub struct ChangeLine<'a> {
    /// `A`, `M`, `D`, `R` or `T`.
    pub letter: char,
    /// The path.
    pub path: &'a [u8],
    /// Where it was, of what was renamed.
    pub old_path: Option<&'a [u8]>,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Event types on it.
    pub events: u32,
    /// Nobody knows whether something was there before.
    pub is_unsure: bool,
    /// It was made, and is gone again.
    pub is_temporary: bool,
    /// When something was done to it last, wall time in ns since 1970.
    pub time_ns: u64,
    /// The last process, as an id of the mirror; 0 unknown.
    pub process: u32,
}

/// Writes them as JSON.
pub struct ChangeJson {
    time: Utc,
}

impl Default for ChangeJson {
    fn default() -> Self {
        ChangeJson { time: Utc::utc() }
    }
}

impl ChangeJson {
    /// Appends a line. The process has the fields that it has in a line of an event.
    pub fn append(&mut self, mirror: &Mirror, line: &ChangeLine<'_>, out: &mut Vec<u8>) {
        let letter = [u8::try_from(line.letter).unwrap_or(b'?')];
        append_text(b"{\"change\":\"", &letter, out);
        let is_exact = append_path(b",\"path\":\"", line.path, out);
        let old = line.old_path.unwrap_or_default();
        let is_old_exact =
            line.old_path.is_none_or(|old| append_path(b",\"old_path\":\"", old, out));
        if line.is_dir {
            out.extend_from_slice(b",\"is_dir\":true");
        }
        append_number(b",\"events\":", line.events.into(), out);
        if line.is_unsure {
            out.extend_from_slice(b",\"before\":\"unknown\"");
        }
        if line.is_temporary {
            out.extend_from_slice(b",\"temporary\":true");
        }
        out.extend_from_slice(b",\"time\":\"");
        out.extend_from_slice(self.time.text(line.time_ns));
        out.push(b'"');
        if let Some(image) = mirror.proc(line.process) {
            render_process(mirror, image, false, out);
        }
        for (is_exact, before, path) in [
            (is_exact, &b",\"path_b64\":\""[..], line.path),
            (is_old_exact, b",\"old_path_b64\":\"", old),
        ] {
            if !is_exact {
                out.extend_from_slice(before);
                append_base64_text(path, out);
                out.push(b'"');
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Returns whether the text is exact.
fn append_path(before: &[u8], path: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(before);
    let is_exact = escape::<escape::Json>(path, out);
    out.push(b'"');
    is_exact
}

/// Writes them for people.
pub struct ChangeHuman {
    colours: bool,
}

impl ChangeHuman {
    /// With or without colours.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        ChangeHuman { colours }
    }

    fn colour(&self, code: &str, out: &mut Vec<u8>) {
        if self.colours {
            out.extend_from_slice(code.as_bytes());
        }
    }

    /// Appends a line.
    pub fn append(&self, mirror: &Mirror, line: &ChangeLine<'_>, out: &mut Vec<u8>) {
        self.colour(colour_of(line.letter), out);
        out.extend_from_slice(line.letter.encode_utf8(&mut [0; 4]).as_bytes());
        self.colour(RESET, out);
        out.extend_from_slice(b"  ");
        if let Some(old) = line.old_path {
            append_name(old, line.is_dir, out);
            out.extend_from_slice(b" -> ");
        }
        append_name(line.path, line.is_dir, out);
        self.colour(DIM, out);
        out.extend_from_slice(b"  (");
        match mirror.proc(line.process) {
            Some(image) => append_process(mirror, image, out),
            None => out.push(b'?'),
        }
        out.push(b')');
        if line.is_temporary && !line.is_unsure {
            out.extend_from_slice(b"  (made and gone)");
        } else if line.is_temporary {
            out.extend_from_slice(b"  (gone, perhaps made)");
        } else if line.is_unsure {
            out.extend_from_slice(b"  (before unknown)");
        }
        self.colour(RESET, out);
        out.push(b'\n');
    }
}

fn append_name(path: &[u8], is_dir: bool, out: &mut Vec<u8>) {
    escape::<escape::Human>(path, out);
    if is_dir && path.last() != Some(&b'/') {
        out.push(b'/');
    }
}

fn append_process(mirror: &Mirror, image: &Proc, out: &mut Vec<u8>) {
    let flags = image.flags.get();
    if flags & proc_flag::COMM != 0 {
        escape::<escape::Human>(comm(image), out);
    } else {
        out.push(b'?');
    }
    out.push(b' ');
    number::append(image.pid.get().into(), out);
    out.push(b' ');
    if let Some(user) = mirror.string(image.user.get()) {
        escape::<escape::Human>(user, out);
    } else if flags & proc_flag::CRED != 0 {
        number::append(image.uid.get().into(), out);
    } else {
        out.push(b'?');
    }
}

fn colour_of(letter: char) -> &'static str {
    match letter {
        'A' => GREEN,
        'D' => RED,
        'R' => YELLOW,
        'M' => BLUE,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixture::{capacity, image};
    use fsmon_format::record::Body;
    use serde_json::Value;

    fn line(path: &[u8]) -> ChangeLine<'_> {
        ChangeLine {
            letter: 'M',
            path,
            old_path: None,
            is_dir: false,
            events: 3,
            is_unsure: false,
            is_temporary: false,
            time_ns: 1_700_000_000_000_000_042,
            process: 1,
        }
    }

    fn mirror() -> Mirror {
        let mut mirror = Mirror::new(capacity());
        mirror.define(&Body::Proc(&image(1, 12, "cc")));
        mirror
    }

    fn json(line: &ChangeLine<'_>) -> String {
        let mut out = Vec::new();
        ChangeJson::default().append(&mirror(), line, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn human(line: &ChangeLine<'_>) -> String {
        let mut out = Vec::new();
        ChangeHuman::new(false).append(&mirror(), line, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn json_has_each_field_in_its_place() {
        let process =
            r#""time":"2023-11-14T22:13:20.000000042Z","pid":12,"cmd":"cc","uid":0,"gid":0"#;
        assert_eq!(
            json(&line(b"/a")),
            format!("{{\"change\":\"M\",\"path\":\"/a\",\"events\":3,{process}}}\n")
        );
        let all = ChangeLine {
            letter: 'R',
            old_path: Some(b"/\xfe"),
            is_dir: true,
            is_unsure: true,
            is_temporary: true,
            ..line(b"/\xff")
        };
        let text = json(&all);
        let expected = format!(
            "{{\"change\":\"R\",\"path\":\"/\u{fffd}\",\"old_path\":\"/\u{fffd}\",\"is_dir\":true,\"events\":3,\
             \"before\":\"unknown\",\"temporary\":true,{process},\"path_b64\":\"L/8=\",\"old_path_b64\":\"L/4=\"}}\n"
        );
        assert_eq!(text, expected);
        serde_json::from_str::<Value>(&text).expect("JSON");
        let nobody = json(&ChangeLine { process: 0, ..line(b"/a") });
        assert!(nobody.ends_with("42Z\"}\n"), "{nobody}");
    }

    #[test]
    fn people_read_no_escape_sequences() {
        assert_eq!(human(&line(b"/a\x1b[2J")), "M  /a\\x1b[2J  (cc 12 0)\n");
        let renamed =
            ChangeLine { letter: 'R', old_path: Some(b"/d"), is_dir: true, ..line(b"/e") };
        assert_eq!(human(&renamed), "R  /d/ -> /e/  (cc 12 0)\n");
        let unsure = ChangeLine { is_unsure: true, process: 0, ..line(b"/e") };
        assert_eq!(human(&unsure), "M  /e  (?)  (before unknown)\n");
    }
}
