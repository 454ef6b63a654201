//! Secrets in command lines: what is behind names such as `--password=` is replaced before anything is recorded or shown.
//!
//! It works on the words of a command line as text, so it knows names and not programs: `--token=x` and `-H
//! 'Authorization: x'` are found, `mysql -px` is not. Globs name what else is hidden.

use crate::filter::globs;
use fsmon_format::error::{Error, Setting};
use globset::{Candidate, GlobSet};
use regex::bytes::{CaptureLocations, Regex};
use std::ops::Range;

/// What stands for what was hidden: `…` in UTF-8.
const HIDDEN: &[u8] = "…".as_bytes();

/// The ends of names whose values are secrets, whatever is before: `--db-password`, `GITHUB_TOKEN`.
const NAMES: &str = "(?:passw(?:or)?d|passphrase|passin|passout|token|secret|credentials?|authorization|\
                     (?:api|access|secret|auth)[-_.]?key)";

/// Room for a command line as it is recorded, in bytes.
const CMDLINE_BYTES: usize = 4096;

/// What is before a name that is not at the beginning of a word.
const SEPARATORS: &[u8] = b" \t\r\n'\"?&;,{(";

/// Hides secrets.
#[derive(Debug)]
pub struct Redactor {
    globs: Option<GlobSet>,
    /// A name and what separates it from its value, within a word.
    named: Regex,
    /// A word that is an option whose value is the next word.
    option: Regex,
    /// User and password of a URL.
    url: Regex,
    /// Used again and again, so that nothing is allocated.
    in_named: CaptureLocations,
    in_url: CaptureLocations,
    out: Vec<u8>,
}

impl Redactor {
    /// `hidden`: globs on words that are hidden whole, beside the values of well-known names.
    ///
    /// # Errors
    /// A glob is malformed.
    pub fn new(hidden: &[String]) -> Result<Self, Error> {
        let regex = |text: &str| Regex::new(text).expect("it is tested");
        let named = regex(&format!(
            r#"(?i-u)(?:^|[ \t\r\n'"?&;,{{(])(?:[-\w.]*{NAMES}["']?(?:=|:\s*)(?:(?:basic|bearer|digest|negotiate|token)\s+)?|-{{1,2}}[-\w.]*{NAMES}[ \t]+([^-\s]))"#
        ));
        let url = regex(r"(?-u)[a-zA-Z][-+.a-zA-Z0-9]*://[^/?#@:\s]*:([^/?#\s]*)@");
        Ok(Redactor {
            in_named: named.capture_locations(),
            in_url: url.capture_locations(),
            out: Vec::with_capacity(CMDLINE_BYTES),
            named,
            url,
            globs: globs::words(Setting::Redact, hidden)?,
            option: regex(&format!("(?i-u)^-{{1,2}}[-\\w.]*{NAMES}$")),
        })
    }

    /// The command line without its secrets, if it has any: words with NULs between them, as it came. It is not longer than
    /// before. What was hidden once stays as it is.
    pub fn hide(&mut self, cmdline: &[u8]) -> Option<&[u8]> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let mut is_value = false;
        for (index, word) in cmdline.split(|byte| *byte == 0).enumerate() {
            if index > 0 {
                out.push(0);
            }
            let is_hidden = is_value && !word.starts_with(b"-") || self.is_named(word);
            is_value = self.option.is_match(word);
            if is_hidden { put_hidden(word.len(), &mut out) } else { self.put(word, &mut out) }
        }
        self.out = out;
        (self.out != cmdline).then_some(&self.out)
    }

    fn is_named(&self, word: &[u8]) -> bool {
        let globs = self.globs.as_ref();
        globs.is_some_and(|globs| globs.is_match_candidate(&Candidate::from_bytes(word)))
    }

    fn put(&mut self, word: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(secret) = self.next_secret(word, at) {
            out.extend_from_slice(&word[at..secret.start]);
            put_hidden(secret.len(), out);
            at = secret.end;
        }
        out.extend_from_slice(&word[at..]);
    }

    /// The next secret in a word, from this position on.
    fn next_secret(&mut self, word: &[u8], from: usize) -> Option<Range<usize>> {
        let of_url = self.secret_of_url(word, from);
        let named = self.named_secret(word, from);
        // Where one is within the other, the longer one.
        match (of_url, named) {
            (Some(of_url), Some(named)) if named.start <= of_url.start => Some(named),
            (of_url, named) => of_url.or(named),
        }
    }

    fn secret_of_url(&mut self, word: &[u8], from: usize) -> Option<Range<usize>> {
        self.url.captures_read_at(&mut self.in_url, word, from)?;
        self.in_url.get(1).map(|(start, end)| start..end)
    }

    fn named_secret(&mut self, word: &[u8], from: usize) -> Option<Range<usize>> {
        let name = self.named.captures_read_at(&mut self.in_named, word, from)?;
        let begin = self.in_named.get(1).map_or(name.end(), |(start, _)| start);
        // A word that is one setting may have any value. In a script, in a URL or in JSON the value ends somewhere.
        if name.start() == 0 && begin == name.end() && !SEPARATORS.contains(&word[0]) {
            return Some(begin..word.len());
        }
        let quote = word[begin..].first().filter(|byte| b"'\"".contains(byte));
        let start = begin + usize::from(quote.is_some());
        let ends = |byte: &u8| match quote {
            Some(quote) => byte == quote,
            None => byte.is_ascii_whitespace() || b"'\"&;,)}".contains(byte),
        };
        let len = word[start..].iter().position(ends);
        Some(start..len.map_or(word.len(), |len| start + len))
    }
}

/// Nothing longer than before. Something shorter than [`HIDDEN`] becomes one asterisk.
fn put_hidden(len: usize, out: &mut Vec<u8>) {
    match len {
        0 => {}
        len if len < HIDDEN.len() => out.push(b'*'),
        _ => out.extend_from_slice(HIDDEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden(globs: &[&str], words: &[&str]) -> Option<String> {
        let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let mut redactor = Redactor::new(&globs).expect("valid");
        let hidden = redactor.hide(words.join("\0").as_bytes())?.to_vec();
        Some(String::from_utf8(hidden).expect("UTF-8").replace('\0', " | "))
    }

    #[test]
    fn values_of_well_known_names_are_hidden() {
        for (words, expected) in [
            (&["login", "--password=hunter two", "-v"][..], "login | --password=… | -v"),
            (&["login", "--password", "hunter2", "-v"], "login | --password | … | -v"),
            (&["x", "-Passphrase", "hunter2"], "x | -Passphrase | …"),
            (&["env", "GITHUB_TOKEN=abcdef", "make"], "env | GITHUB_TOKEN=… | make"),
            (&["x", "--db.password=a"], "x | --db.password=*"),
            (&["curl", "-H", "Authorization: Bearer abc"], "curl | -H | Authorization: Bearer …"),
            (&["curl", "-H", "X-Api-Key:abcdef"], "curl | -H | X-Api-Key:…"),
            (
                &["sh", "-c", "curl -H \"Authorization: Bearer abc\" x"],
                "sh | -c | curl -H \"Authorization: Bearer …\" x",
            ),
            (&["env", "DB=postgres://u:abc@h/db"], "env | DB=postgres://u:…@h/db"),
            (&["x", "--from=a://u:abc@h b://v:abc@i"], "x | --from=a://u:…@h b://v:…@i"),
            (
                &["x", "TOKEN=ab", "PASSWORD=", "--secret", "a"],
                "x | TOKEN=* | PASSWORD= | --secret | *",
            ),
            (&["git", "clone", "https://me:abc@host/x"], "git | clone | https://me:…@host/x"),
            (&["curl", "http://h/?token=abc&page=2"], "curl | http://h/?token=…&page=2"),
            (
                &["sh", "-c", "make PASSWORD=abc && x --secret='a b'"],
                "sh | -c | make PASSWORD=… && x --secret='…'",
            ),
            (&["sh", "-c", "x --token abc -v; y"], "sh | -c | x --token … -v; y"),
            (&["sh", "-c", "--token 'a b' -v"], "sh | -c | --token '…' -v"),
            (
                &["x", "{\"password\":\"abc\",\"user\":\"me\"}"],
                "x | {\"password\":\"…\",\"user\":\"me\"}",
            ),
        ] {
            assert_eq!(hidden(&[], words).as_deref(), Some(expected), "{words:?}");
        }
    }

    #[test]
    fn other_words_stay() {
        for words in [
            &["cc", "-o", "token.o", "-c", "token.c"][..],
            &["tokenizer", "--tokenizer=wordpiece", "--tokens", "3"],
            &["x", "PWD=/home/me", "--password-file=/run/secret", "--pass-through"],
            &["git", "clone", "https://host/a:b@c", "ssh://git@host/x"],
            &["x", "--token", "--verbose", "name"],
            &["sh", "-c", "x --token --verbose name"],
            &[""],
        ] {
            assert_eq!(hidden(&[], words), None, "{words:?}");
        }
    }

    #[test]
    fn globs_name_what_else_is_hidden() {
        let words = ["mysql", "-pabc", "--password=x", "/etc/-pabc"];
        let expected = "mysql | … | --password=* | /etc/-pabc";
        assert_eq!(hidden(&["-p?*"], &words).as_deref(), Some(expected));
        let error = Redactor::new(&["[".to_owned()]).expect_err("malformed");
        assert!(error.to_string().contains('['), "{error}");
        let error = Redactor::new(&[String::new()]).expect_err("it can never match");
        assert!(error.to_string().contains("it is empty"), "{error}");
    }

    proptest! {
        #[test]
        fn no_command_line_grows_and_what_is_hidden_stays(
            words in prop::collection::vec("(-{0,2}[a-z]{0,3}(password|token|api-key)?[=: ]?[ -~…]{0,8}|[ -~]{0,8})", 0..6)
        ) {
            let mut redactor = Redactor::new(&["*x*".to_owned()]).expect("valid");
            let cmdline = words.join("\0");
            if let Some(once) = redactor.hide(cmdline.as_bytes()).map(<[u8]>::to_vec) {
                prop_assert!(once.len() <= cmdline.len());
                let count = |text: &[u8]| text.iter().filter(|byte| **byte == 0).count();
                prop_assert_eq!(count(&once), count(cmdline.as_bytes()));
                prop_assert_eq!(redactor.hide(&once), None, "{:?}", String::from_utf8_lossy(&once));
            }
        }

        #[test]
        fn any_bytes_are_taken(cmdline in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Redactor::new(&[]).expect("valid").hide(&cmdline).map(<[u8]>::to_vec);
        }
    }
}
