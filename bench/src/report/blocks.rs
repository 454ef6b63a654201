//! The generated parts of a page: the text between two marks.

/// The contents of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of the results.
    pub(super) name: String,
    /// The names of the tables; empty for all.
    pub(super) only: Vec<String>,
    origin: Made,
}

/// Where the text between the marks comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    FromResults,
    /// Written by hand, as there were no results.
    ByHand,
}

const BEGIN: &str = "<!-- fsmon-bench: ";
const BY_HAND: &str = ", by hand";
const CLOSE: &str = " -->";
const END: &str = "<!-- end -->";

impl Mark {
    /// `None` for any other line.
    fn parse(line: &str) -> Option<Self> {
        let words = line.strip_prefix(BEGIN)?.strip_suffix(CLOSE)?;
        let (words, origin) = match words.strip_suffix(BY_HAND) {
            Some(words) => (words, Made::ByHand),
            None => (words, Made::FromResults),
        };
        let mut words = words.split_whitespace().map(str::to_owned);
        Some(Mark { name: words.next()?, only: words.collect(), origin })
    }

    /// The line of a block that is made from results.
    fn line(&self) -> String {
        let only = self.only.iter().map(|name| format!(" {name}"));
        format!("{BEGIN}{}{}{CLOSE}\n", self.name, only.collect::<String>())
    }
}

/// Returns the page with all blocks made again. `make` returns `None` if there are no results; only a block that was
/// written by hand may lack them.
pub(super) fn fill(
    page: &str,
    make: impl Fn(&Mark) -> Result<Option<String>, String>,
) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), page);
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        let Some(mark) = Mark::parse(line) else {
            if line.starts_with(BEGIN) || line == END {
                return Err(format!("`{line}` begins no block and ends none"));
            }
            filled += &format!("{line}\n");
            continue;
        };
        let (held, after) = body(rest).ok_or_else(|| format!("`{line}` has no `{END}`"))?;
        rest = after;
        filled += &match make(&mark)? {
            Some(made) => format!("{}\n{}\n\n{END}\n", mark.line(), made.trim_end()),
            None if mark.origin == Made::ByHand => format!("{line}\n{held}{END}\n"),
            None => return Err(format!("no file bench/results/DATE-{}.json", mark.name)),
        };
    }
    Ok(filled + rest)
}

/// Splits at the end of the block; `None` if another block begins first.
fn body(text: &str) -> Option<(&str, &str)> {
    let at = text.find(&format!("{END}\n"))?;
    let held = &text[..at];
    (!held.contains(BEGIN)).then(|| (held, &text[at + END.len() + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are results for all but `lacks`.
    fn made(page: &str) -> Result<String, String> {
        fill(page, |mark| {
            Ok((mark.name != "lacks").then(|| format!("T {}{:?}\n", mark.name, mark.only)))
        })
    }

    #[test]
    fn only_blocks_change() {
        let page = "a\n<!-- fsmon-bench: x y z -->\nold\n<!-- end -->\nb\n<!-- other -->";
        let expected = "a\n<!-- fsmon-bench: x y z -->\n\nT x[\"y\", \"z\"]\n\n<!-- end -->\n\
                        b\n<!-- other -->";
        assert_eq!(made(page).as_deref(), Ok(expected));
        assert_eq!(made(expected).as_deref(), Ok(expected));
    }

    #[test]
    fn what_was_made_by_hand_stays_until_there_are_results() {
        let page = "<!-- fsmon-bench: lacks, by hand -->\nold\n<!-- end -->\n";
        assert_eq!(made(page).as_deref(), Ok(page));
        let page = "<!-- fsmon-bench: x, by hand -->\nold\n<!-- end -->\n";
        let expected = "<!-- fsmon-bench: x -->\n\nT x[]\n\n<!-- end -->\n";
        assert_eq!(made(page).as_deref(), Ok(expected));
    }

    #[test]
    fn results_that_are_missing_and_marks_that_are_wrong_are_errors() {
        for page in [
            "<!-- fsmon-bench: lacks -->\n<!-- end -->\n",
            "<!-- fsmon-bench: x -->\n",
            "<!-- fsmon-bench: x -->\n<!-- fsmon-bench: y -->\n<!-- end -->\n",
            "<!-- fsmon-bench: x\n",
            "<!-- end -->\n",
        ] {
            assert!(made(page).is_err(), "{page}");
        }
    }
}
