//! Command lines: the arguments that exec was given, or those that /proc showed later.

use super::escape::{self, Style, escape};
use super::json::append_base64_text;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Proc, proc_flag};

/// Values of `cmdline_from`: read from /proc later, so perhaps changed by then, or sent with the exec.
const FROM_PROC: &[u8] = b"proc";
const FROM_EXEC: &[u8] = b"exec";

/// The command line of an image.
#[derive(Clone, Copy)]
pub struct CommandLine<'a> {
    /// Words separated by NUL.
    text: &'a [u8],
    /// Whether the process has more of it.
    cut: bool,
    /// Whether it was read from /proc.
    read: bool,
}

impl<'a> CommandLine<'a> {
    pub fn of(mirror: &'a Mirror, image: &Proc) -> Option<Self> {
        let text = mirror.string(image.cmdline.get())?;
        let flags = image.flags.get();
        Some(CommandLine {
            text,
            cut: flags & proc_flag::CMDLINE_CUT != 0,
            read: flags & proc_flag::CMDLINE_READ != 0,
        })
    }

    fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.text.split(|byte| *byte == 0)
    }

    /// The value of `cmdline_from`.
    pub fn from(&self) -> &'static [u8] {
        if self.read { FROM_PROC } else { FROM_EXEC }
    }

    /// Whether it is the beginning of a longer one.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The fields of a JSON object.
    pub fn append_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"cmdline\":");
        let exact = self.append_array(out);
        out.extend_from_slice(b",\"cmdline_from\":\"");
        out.extend_from_slice(self.from());
        out.push(b'"');
        if self.cut {
            out.extend_from_slice(b",\"cmdline_cut\":true");
        }
        if !exact {
            out.extend_from_slice(b",\"cmdline_b64\":\"");
            self.append_base64(out);
            out.push(b'"');
        }
    }

    /// A JSON array of the words. Returns whether it is exact.
    pub fn append_array(&self, out: &mut Vec<u8>) -> bool {
        let mut exact = true;
        for (index, word) in self.words().enumerate() {
            out.extend_from_slice(if index == 0 { b"[\"" } else { b",\"" });
            exact &= escape::<escape::Json>(word, out);
            out.push(b'"');
        }
        out.push(b']');
        exact
    }

    /// The exact bytes, with NULs between the words.
    pub fn append_base64(&self, out: &mut Vec<u8>) {
        append_base64_text(self.text, out);
    }

    /// For people: words that a shell would split or change are quoted; dots follow if it was cut.
    pub fn append_for_people(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.read { b"  (/proc: " } else { b"  (" });
        for (index, word) in self.words().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            append_word(word, out);
        }
        out.extend_from_slice(if self.cut { b" ...)" } else { b")" });
    }
}

fn append_word(word: &[u8], out: &mut Vec<u8>) {
    if !word.is_empty() && word != b"..." && word.iter().all(is_plain) {
        return out.extend_from_slice(word);
    }
    out.push(b'\'');
    for (index, part) in word.split(|byte| *byte == b'\'').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\\'");
        }
        escape::<escape::Human>(part, out);
    }
    out.push(b'\'');
}

/// Whether every shell takes the byte literally.
fn is_plain(byte: &u8) -> bool {
    <escape::Human as Style>::PLAIN[usize::from(*byte)]
        && (byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use serde_json::Value;

    fn line(text: &[u8], cut: bool) -> CommandLine<'_> {
        CommandLine { text, cut, read: true }
    }

    fn people(text: &[u8], cut: bool) -> String {
        let mut out = Vec::new();
        line(text, cut).append_for_people(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn people_see_where_a_word_ends() {
        assert_eq!(people(b"cc\0-c\0a b.c\0", false), "  (/proc: cc -c 'a b.c' '')");
        assert_eq!(people(b"sh\0-c\0echo 'x'\n", true), "  (/proc: sh -c 'echo \\'x\\'\\n' ...)");
        assert_eq!(people(b"...\0\xff\0\x1b[31m", false), "  (/proc: '...' '\\xff' '\\x1b[31m')");
    }

    proptest! {
        #[test]
        fn any_words_are_valid_json_and_come_back(text in proptest::collection::vec(any::<u8>(), 1..200)) {
            let mut out = b"{\"a\":1".to_vec();
            line(&text, false).append_fields(&mut out);
            out.push(b'}');
            let object: Value = serde_json::from_slice(&out).expect("JSON");
            let words: Vec<_> = object["cmdline"].as_array().expect("words").clone();
            let lossy = |word| Value::from(String::from_utf8_lossy(word));
            let expected: Vec<_> = text.split(|byte| *byte == 0).map(lossy).collect();
            prop_assert_eq!(words, expected);
            let exact = object.get("cmdline_b64").map(|text| {
                BASE64_STANDARD.decode(text.as_str().expect("text")).expect("base64")
            });
            let needed = std::str::from_utf8(&text).is_err();
            prop_assert_eq!(exact, needed.then_some(text));
        }

        #[test]
        fn people_get_no_control_character(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(people(&text, true).chars().all(|c| !c.is_control()));
        }
    }
}
