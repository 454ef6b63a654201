//! Regular expressions on whole paths.

use super::about;
use crate::limits::REGEX_BYTES;
use fsmon_format::error::{Error, Setting};
use regex::bytes::{RegexSet, RegexSetBuilder};

/// What paths must and must not contain. Clones share it.
#[derive(Clone, Debug)]
pub struct Regexes {
    include: Option<RegexSet>,
    exclude: Option<RegexSet>,
}

impl Regexes {
    /// `None` if there is no expression.
    ///
    /// # Errors
    /// An expression is malformed, or takes too much memory.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Option<Self>, Error> {
        let include = set(Setting::IncludeRegex, include)?;
        let exclude = set(Setting::ExcludeRegex, exclude)?;
        let is_any = include.is_some() || exclude.is_some();
        Ok(is_any.then_some(Regexes { include, exclude }))
    }

    /// Whether a path must match to pass.
    pub fn must_include(&self) -> bool {
        self.include.is_some()
    }

    /// Whether a path passes: an expression of `include` is found in it, if there are any, and none of `exclude` is.
    pub fn pass(&self, path: &[u8]) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(path))
            && !self.exclude.as_ref().is_some_and(|set| set.is_match(path))
    }
}

fn set(setting: Setting, patterns: &[String]) -> Result<Option<RegexSet>, Error> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let is_empty = patterns.iter().any(String::is_empty);
    match builder(patterns).build() {
        Ok(set) if !is_empty => Ok(Some(set)),
        // One that is wrong by itself, or else all are too large together.
        _ => Err(patterns
            .iter()
            .find_map(|pattern| wrong(setting, pattern))
            .unwrap_or_else(|| about(setting, Error::invalid(too_large("they take"))))),
    }
}

/// The error of a pattern by itself, so that it is named.
fn wrong(setting: Setting, pattern: &str) -> Option<Error> {
    let shown = pattern.escape_debug();
    if pattern.is_empty() {
        let line = "bad regular expression '': it is empty and matches every path; leave it out";
        return Some(about(setting, Error::invalid(line)));
    }
    let why = match builder(&[pattern.to_owned()]).build() {
        Ok(_) => return None,
        Err(regex::Error::CompiledTooBig(_)) => too_large("it takes"),
        Err(error) => last_line(&error.to_string()),
    };
    let line = format!("bad regular expression '{shown}': {why}");
    Some(about(setting, Error::invalid(line)))
}

fn builder(patterns: &[String]) -> RegexSetBuilder {
    let mut builder = RegexSetBuilder::new(patterns);
    builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES);
    builder
}

fn too_large(takes: &str) -> String {
    format!(
        "{takes} more than {} MiB of memory; write fewer or smaller repetitions",
        REGEX_BYTES >> 20
    )
}

/// The crate's errors draw the pattern in several lines, and end with what is wrong.
fn last_line(text: &str) -> String {
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(text);
    last.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(include: &[&str], exclude: &[&str], path: &[u8]) -> bool {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let regexes = Regexes::new(&owned(include), &owned(exclude)).expect("valid");
        regexes.is_none_or(|regexes| regexes.pass(path))
    }

    #[test]
    fn an_expression_is_found_anywhere_unless_it_says_where() {
        for (include, exclude, path, expected) in [
            (&[][..], &[][..], "/a", true),
            (&["b+"], &[], "/abbc", true),
            (&["^/b"], &[], "/a/b", false),
            (&["x", "c$"], &[], "/a/b.c", true),
            (&["x", "c$"], &[], "/a/b.ch", false),
            (&[], &["/v[0-9]+/"], "/a/v12/f", false),
            (&[], &["/v[0-9]+/"], "/a/v/f", true),
            (&["f"], &["v"], "/v/f", false),
            (&["(?i)MAKEFILE$"], &[], "/a/Makefile", true),
        ] {
            assert_eq!(passes(include, exclude, path.as_bytes()), expected, "{include:?} {path}");
        }
        assert!(passes(&[r"\.c$"], &[], b"/\xff\xfe.c"));
        assert!(passes(&[r"(?-u)\xff"], &[], b"/\xff\xfe.c"));
    }

    #[test]
    fn a_bad_expression_is_one_line_with_its_setting() {
        for (pattern, words) in [
            ("a(", "bad regular expression 'a(': unclosed group"),
            ("", "it is empty"),
            ("(?s)(.{9999}){99}", "it takes more than 1 MiB of memory"),
            ("a\n\x1b(", "'a\\n\\u{1b}(': unclosed group"),
        ] {
            let error = Regexes::new(&[], &["fine".to_owned(), pattern.to_owned()]);
            let error = error.expect_err(pattern);
            let line = error.to_string();
            assert!(line.contains(words) && !line.contains(['\n', '\x1b']), "{line}");
            assert_eq!(error.setting(), Some(Setting::ExcludeRegex));
        }
        let many: Vec<_> = (0..100).map(|number| format!("a{number}.{{200}}")).collect();
        let error = Regexes::new(&many, &[]).expect_err("too large together");
        assert!(
            error.to_string().starts_with("include_regex: they take more than 1 MiB"),
            "{error}"
        );
        assert_eq!(error.setting(), Some(Setting::IncludeRegex));
    }
}
