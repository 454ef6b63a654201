//! Escapes bytes of file and process names for a format.
//!
//! Most names are plain ASCII: one scan, one copy. The rest is decoded as UTF-8. Characters that control
//! a terminal or disguise the text around them (control characters, directions of writing, zero widths) are
//! escaped in every format that has escapes.

/// How a format writes characters that are not plain.
pub trait Style {
    /// ASCII bytes that are copied as they are.
    const PLAIN: [bool; 256];
    /// Whether a character beyond ASCII is to be escaped.
    fn is_special(c: char) -> bool;
    /// Appends a character that is not plain. Returns whether the output is exact.
    fn special(c: char, out: &mut Vec<u8>) -> bool;
    /// Appends a substitute for bytes that are not UTF-8. Returns whether the output is exact.
    fn broken(bytes: &[u8], out: &mut Vec<u8>) -> bool;
}

/// Inside the quotes of a JSON string.
pub enum Json {}
/// Inside the quotes of a CSV field.
pub enum Csv {}
/// Inside the quotes of a CSV field that goes to a terminal.
pub enum CsvTerminal {}
/// For people to read.
pub enum Human {}
/// A whole message for people: names in it are escaped already, so backslashes stay.
pub enum Message {}

/// Appends `text`. Returns whether exactly these bytes can be recovered from the output.
#[inline]
pub fn escape<S: Style>(text: &[u8], out: &mut Vec<u8>) -> bool {
    match text.iter().position(|byte| !S::PLAIN[usize::from(*byte)]) {
        None => {
            out.extend_from_slice(text);
            true
        }
        Some(plain) => {
            out.extend_from_slice(&text[..plain]);
            escape_rest::<S>(&text[plain..], out)
        }
    }
}

#[cold]
fn escape_rest<S: Style>(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut exact = true;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii() && S::PLAIN[c as usize] {
                out.push(c as u8);
            } else if c.is_ascii() || S::is_special(c) {
                exact &= S::special(c, out);
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if !chunk.invalid().is_empty() {
            exact &= S::broken(chunk.invalid(), out);
        }
    }
    exact
}

/// A message as one line without control characters, whatever names are in it.
pub fn message(text: &str) -> String {
    escaped::<Message>(text.as_bytes())
}

/// A name as human output shows it, for a message: exact, also where it is not UTF-8.
pub fn shown(name: &[u8]) -> String {
    escaped::<Human>(name)
}

fn escaped<S: Style>(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape::<S>(text, &mut out);
    String::from_utf8(out).expect("what is not UTF-8 was escaped")
}

const REPLACEMENT: &str = "\u{fffd}";

const fn plain_without(specials: &[u8], controls_too: bool) -> [bool; 256] {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 0x80 {
        plain[byte] = controls_too || (byte >= 0x20 && byte != 0x7f);
        byte += 1;
    }
    let mut i = 0;
    while i < specials.len() {
        plain[specials[i] as usize] = false;
        i += 1;
    }
    plain
}

/// Control characters, and characters that change how the text around them looks: the Unicode categories
/// Cc, Cf, Zl and Zp (Unicode 17, UnicodeData.txt).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn hex(digits: u32, number: u32, out: &mut Vec<u8>) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * digit)) as usize & 0xf]);
    }
}

impl Style for Json {
    const PLAIN: [bool; 256] = plain_without(b"\"\\", false);

    fn is_special(c: char) -> bool {
        is_hidden(c)
    }

    fn special(c: char, out: &mut Vec<u8>) -> bool {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    hex(4, u32::from(*unit), out);
                }
            }
        }
        true
    }

    fn broken(_: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(REPLACEMENT.as_bytes());
        false
    }
}

impl Style for Csv {
    const PLAIN: [bool; 256] = plain_without(b"\"", true);

    fn is_special(_: char) -> bool {
        false
    }

    fn special(_: char, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"\"\"");
        true
    }

    fn broken(_: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(REPLACEMENT.as_bytes());
        false
    }
}

impl Style for CsvTerminal {
    const PLAIN: [bool; 256] = plain_without(b"\"", false);

    fn is_special(c: char) -> bool {
        is_hidden(c)
    }

    fn special(c: char, out: &mut Vec<u8>) -> bool {
        if c == '"' {
            return Csv::special(c, out);
        }
        Csv::broken(&[], out)
    }

    fn broken(bytes: &[u8], out: &mut Vec<u8>) -> bool {
        Csv::broken(bytes, out)
    }
}

impl Style for Human {
    const PLAIN: [bool; 256] = plain_without(b"\\", false);

    fn is_special(c: char) -> bool {
        is_hidden(c)
    }

    fn special(c: char, out: &mut Vec<u8>) -> bool {
        match c {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c.is_ascii() => {
                out.extend_from_slice(b"\\x");
                hex(2, c.into(), out);
            }
            c => {
                out.extend_from_slice(b"\\u{");
                hex(if u32::from(c) > 0xffff { 6 } else { 4 }, c.into(), out);
                out.push(b'}');
            }
        }
        true
    }

    fn broken(bytes: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in bytes {
            out.extend_from_slice(b"\\x");
            hex(2, u32::from(*byte), out);
        }
        true
    }
}

impl Style for Message {
    const PLAIN: [bool; 256] = plain_without(b"", false);

    fn is_special(c: char) -> bool {
        is_hidden(c)
    }

    fn special(c: char, out: &mut Vec<u8>) -> bool {
        Human::special(c, out)
    }

    fn broken(bytes: &[u8], out: &mut Vec<u8>) -> bool {
        Human::broken(bytes, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_what_is_escaped_stays() {
        let text =
            "cannot open /a\x1b[31m\x1b[31m\n\r\u{9b}\u{202e}\u{200b}\u{2028}\u{feff}\u{8e2}: no";
        let line = message(text);
        assert_eq!(
            line,
            "cannot open /a\\x1b[31m\\x1b[31m\\n\\r\\u{009b}\\u{202e}\\u{200b}\\u{2028}\\u{feff}\\u{08e2}: no"
        );
        assert_eq!(message(&line), line);
    }

    #[test]
    fn names_are_shown_exactly() {
        assert_eq!(shown(b"a\\b\xff\x1b \xc3\xa4"), "a\\\\b\\xff\\x1b \u{e4}");
    }
}
