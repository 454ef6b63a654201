//! The files of results.

use super::{Measured, Results, Verdict, directory};
use clap::Args;
use std::path::PathBuf;

/// Where to write every single figure.
#[derive(Args)]
pub(crate) struct Keep {
    /// Keep everything that was measured as bench/results/DATE-NAME.json, of which `report` makes the
    /// tables named NAME in docs/perf
    #[arg(long, value_name = "NAME", value_parser = name)]
    keep: Option<String>,
    /// Write everything that was measured to this file [default without --keep: bench/results/DATE.json for a
    /// comparison that is not --quick, else none]
    #[arg(long, value_name = "FILE", conflicts_with = "keep")]
    json: Option<PathBuf>,
}

/// Letters, digits and dashes: it is a part of a file's name, and a word in a page.
fn name(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(is_part) {
        return Ok(text.to_owned());
    }
    Err("a name has lower-case letters, digits and dashes, and begins with a letter".into())
}

/// Where to write when the command line does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Otherwise {
    Nowhere,
    /// bench/results/DATE.json
    Unnamed,
}

impl Keep {
    /// Measures, and writes the figures to the file. Returns the verdict.
    pub(crate) fn run(
        &self,
        otherwise: Otherwise,
        measure: impl FnOnce() -> Result<Measured, String>,
    ) -> Result<bool, String> {
        let mut results = Results::begin();
        let Measured { figures, verdict } = measure()?;
        results.figures = figures;
        println!("{}", results.line());
        if let Some(path) = self.path(results.date(), otherwise) {
            results.write(&path)?;
            eprintln!("wrote {}", path.display());
        }
        Ok(verdict == Verdict::Right)
    }

    fn path(&self, date: &str, otherwise: Otherwise) -> Option<PathBuf> {
        let date = date.replace(':', "");
        match (&self.json, &self.keep, otherwise) {
            (Some(path), ..) => Some(path.clone()),
            (None, Some(name), _) => Some(directory().join(format!("{date}-{name}.json"))),
            (None, None, Otherwise::Unnamed) => Some(directory().join(format!("{date}.json"))),
            (None, None, Otherwise::Nowhere) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word() {
        assert!(name("churn-2").is_ok());
        assert!(["", "2", "-a", "a b", "a/b", "A"].iter().all(|text| name(text).is_err()));
    }

    #[test]
    fn results_go_where_they_are_to() {
        let date = "2026-11-30T03:51:54Z";
        let keep = |keep: Option<&str>| Keep { keep: keep.map(str::to_owned), json: None };
        let named = directory().join("2026-11-30T035154Z-soak.json");
        assert_eq!(keep(Some("soak")).path(date, Otherwise::Unnamed), Some(named));
        let unnamed = directory().join("2026-11-30T035154Z.json");
        assert_eq!(keep(None).path(date, Otherwise::Unnamed), Some(unnamed));
        assert_eq!(keep(None).path(date, Otherwise::Nowhere), None);
    }
}
