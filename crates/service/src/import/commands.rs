//! Regular expressions on the names of commands, as globs.
//!
//! The older versions look for an expression anywhere in a name; a glob matches a name from its beginning to its end:
//! `rsync` becomes `*rsync*`, and `^git(-.*)?$` becomes `git` and `git-*`. Only what means exactly the same is made.

use crate::limits::{IMPORT_GLOB_BYTES, IMPORT_GLOBS_MAX};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// The most letters of a class that become an alternative each.
const LETTERS_MAX: u32 = 16;

/// What an alternative of an expression consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// The beginning of the name.
    Begin,
    /// The end of the name.
    End,
    /// Any letters, or none.
    Any,
    /// A piece of a glob that has no `*` but escaped ones.
    Glob(String),
}

/// The ways in which an expression can match.
type Ways = Vec<Vec<Part>>;

/// The globs that match the same names, together; `None` if no globs do.
pub(super) fn globs(regex: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::Parser::new().parse(regex).ok()?;
    let mut globs = Vec::new();
    for way in ways(&hir)? {
        let glob = glob(&way)?;
        if !globs.contains(&glob) {
            globs.push(glob);
        }
    }
    Some(globs)
}

/// The glob of one way.
fn glob(way: &[Part]) -> Option<String> {
    let begins = way.iter().take_while(|part| **part == Part::Begin).count();
    let ends = way[begins..].iter().rev().take_while(|part| **part == Part::End).count();
    let any = |is_there| if is_there { &[Part::Any][..] } else { &[] };
    let inner = &way[begins..way.len() - ends];
    let mut parts = [any(begins == 0), inner, any(ends == 0)].concat();
    parts.dedup_by(|next, part| *part == Part::Any && *next == Part::Any);
    let mut glob = String::new();
    for part in &parts {
        match part {
            // `a^` and `$a` match nothing; that is not worth a glob.
            Part::Begin | Part::End => return None,
            Part::Any => glob.push('*'),
            Part::Glob(piece) => glob.push_str(piece),
        }
    }
    // The name of a command is not empty.
    (!glob.is_empty() && glob.len() <= IMPORT_GLOB_BYTES).then_some(glob)
}

fn ways(hir: &Hir) -> Option<Ways> {
    match hir.kind() {
        HirKind::Empty => Some(vec![vec![]]),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(one(Part::Glob(text.chars().map(escaped).collect())))
        }
        HirKind::Class(class) => of_class(class),
        HirKind::Look(Look::Start) => Some(one(Part::Begin)),
        HirKind::Look(Look::End) => Some(one(Part::End)),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Capture(capture) => ways(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().try_fold(vec![vec![]], |before, part| joined(&before, &ways(part)?))
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(ways(part)?);
            }
            (all.len() <= IMPORT_GLOBS_MAX).then_some(all)
        }
    }
}

fn one(part: Part) -> Ways {
    vec![vec![part]]
}

/// Each of the ways before, with each of those behind it.
fn joined(before: &Ways, behind: &Ways) -> Option<Ways> {
    if before.len() * behind.len() > IMPORT_GLOBS_MAX {
        return None;
    }
    let pairs = before.iter().flat_map(|first| behind.iter().map(move |second| (first, second)));
    let all: Ways = pairs.map(|(first, second)| [&first[..], second].concat()).collect();
    all.iter().all(|way| bytes(way) <= IMPORT_GLOB_BYTES).then_some(all)
}

fn bytes(way: &[Part]) -> usize {
    let of = |part: &Part| if let Part::Glob(piece) = part { piece.len() } else { 1 };
    way.iter().map(of).sum()
}

fn of_class(class: &Class) -> Option<Ways> {
    if is_any(class) {
        return Some(one(Part::Glob("?".into())));
    }
    let Class::Unicode(class) = class else { return None };
    let ranges = || class.iter().map(|range| (range.start(), range.end()));
    let is_bounded = |(first, last): (char, char)| u32::from(last) - u32::from(first) < 256;
    if !ranges().all(is_bounded) {
        return None;
    }
    let letters: Vec<char> = ranges().flat_map(|(first, last)| first..=last).collect();
    if letters.iter().all(|letter| letter.is_alphanumeric()) && !letters.is_empty() {
        let range = |(first, last)| match first == last {
            true => String::from(first),
            false => format!("{first}-{last}"),
        };
        let set: String = ranges().map(range).collect();
        return Some(one(Part::Glob(format!("[{set}]"))));
    }
    (letters.len() <= LETTERS_MAX as usize)
        .then(|| letters.iter().map(|letter| vec![Part::Glob(escaped(*letter))]).collect())
}

/// Whether it is `.`: all letters but a line break, which names of commands hardly have.
fn is_any(class: &Class) -> bool {
    let Class::Unicode(class) = class else { return false };
    let mut without = class.clone();
    without.negate();
    without.iter().all(|range| range.start() == '\n' && range.end() == '\n')
}

fn of_repetition(repetition: &Repetition) -> Option<Ways> {
    let (min, max) = (repetition.min, repetition.max);
    if let HirKind::Class(class) = repetition.sub.kind()
        && is_any(class)
        && max.is_none()
        && min <= LETTERS_MAX
    {
        let least = "?".repeat(min as usize);
        return Some(vec![vec![Part::Glob(least), Part::Any]]);
    }
    let max = max.filter(|max| *max <= LETTERS_MAX)?;
    let sub = ways(&repetition.sub)?;
    let mut all = Vec::new();
    let mut times = vec![vec![]];
    for count in 0..=max {
        if count >= min {
            all.extend(times.clone());
        }
        if count < max {
            times = joined(&times, &sub)?;
        }
    }
    (all.len() <= IMPORT_GLOBS_MAX).then_some(all)
}

/// A letter that stands for itself.
fn escaped(letter: char) -> String {
    match letter {
        '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!' | ',' => format!("\\{letter}"),
        letter => letter.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
    use proptest::prelude::*;

    #[test]
    fn what_globs_can_say_becomes_globs() {
        for (regex, expected) in [
            ("rsync", &["*rsync*"][..]),
            ("^rsync$", &["rsync"]),
            ("rsync|apt", &["*rsync*", "*apt*"]),
            ("^(git|hg)$", &["git", "hg"]),
            ("^git(-.*)?$", &["git", "git-*"]),
            ("nginx.*", &["*nginx*"]),
            ("^cc.$", &["cc?"]),
            ("^python3\\.[0-9]$", &["python3.[0-9]"]),
            (".+", &["*?*"]),
            ("a{2}", &["*aa*"]),
            ("^[ab*]x", &["\\*x*", "ax*", "bx*"]),
            ("^\\[kworker", &["\\[kworker*"]),
            ("^!x,y$", &["\\!x\\,y"]),
            ("", &["*"]),
        ] {
            let expected = expected.iter().map(|glob| (*glob).to_owned()).collect();
            assert_eq!(globs(regex), Some(expected), "{regex}");
        }
    }

    #[test]
    fn what_globs_cannot_say_becomes_none() {
        let wide = "(ab|cd)".repeat(7);
        for regex in
            ["x+", "x*y", "\\bx", "(?m)^x", "[^a]", "\\d", "a^", "x$y", "(", "*.tmp", "^$", &wide]
        {
            assert_eq!(globs(regex), None, "{regex}");
        }
    }

    fn set(globs: &[String]) -> GlobSet {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(GlobBuilder::new(glob).backslash_escape(true).build().expect("valid"));
        }
        set.build().expect("valid")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The regular expression itself is the judge.
        #[test]
        fn the_globs_match_the_same_names(
            regex in "(\\^)?([ab.*?!,]|a\\{1,2\\}|\\.\\*|\\.\\+|\\(a\\|b\\)|\\[ab\\]|\\(\\?i\\)a|\\||\\\\[*?.]){0,6}(\\$)?",
            names in prop::collection::vec("[abAB.*?!,]{1,5}", 1..8),
        ) {
            let (Some(globs), Ok(regex)) = (globs(&regex), regex::Regex::new(&regex)) else { return Ok(()) };
            let set = set(&globs);
            // globset takes these two for directories; no program has such a name.
            for name in names.iter().filter(|name| !matches!(name.as_str(), "." | "..")) {
                prop_assert_eq!(set.is_match(name), regex.is_match(name), "{} {:?} {}", regex, &globs, name);
            }
        }
    }
}
