//! `fsmon-bench report`: makes the tables of PERF.md and docs/perf from bench/results.
//!
//! Marks in a page say where tables go; the rest is written by hand:
//!
//! ```text
//! <!-- fsmon-bench: apart -->             all tables of the newest bench/results/DATE-apart.json
//! <!-- fsmon-bench: streams sizes -->     that table of the newest bench/results/DATE-streams.json
//! <!-- fsmon-bench: soak, by hand -->     stays as it is until there is a bench/results/DATE-soak.json
//! <!-- fsmon-bench: targets -->           what is asked of fsmon, and what was measured
//! <!-- end -->
//! ```

mod blocks;
mod kept;
mod ratio;
mod targets;

use crate::results;
use blocks::Mark;
use clap::Args;
use kept::Kept;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Make the tables of PERF.md and docs/perf from bench/results
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Change nothing; name each page that is out of date, and exit with 1 if there is one
    #[arg(long)]
    check: bool,
}

/// A page as it is, and as `report` makes it.
struct Page {
    path: PathBuf,
    is: String,
    should_be: String,
}

/// Writes the pages that differ, or names them.
pub(crate) fn main(args: &ReportArgs) -> Result<bool, String> {
    let root = workspace();
    let mut all_same = true;
    for page in pages(root)?.iter().filter(|page| page.is != page.should_be) {
        let name = page.path.strip_prefix(root).unwrap_or(&page.path).display();
        if args.check {
            all_same = false;
            eprintln!("{name} differs from bench/results: run `fsmon-bench report`");
        } else {
            fs::write(&page.path, &page.should_be).map_err(|error| format!("{name}: {error}"))?;
            eprintln!("wrote {name}");
        }
    }
    Ok(all_same)
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench is in the workspace")
}

fn pages(root: &Path) -> Result<Vec<Page>, String> {
    let kept = Kept::read(&results::directory())?;
    let paths = paths(root).map_err(|error| format!("docs/perf: {error}"))?;
    let page = |path: PathBuf| {
        let failed = |error: String| format!("{}: {error}", path.display());
        let is = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let to_root = if path.parent() == Some(root) { "" } else { "../../" };
        let filled = blocks::fill(&is, |mark| tables(mark, &kept, to_root));
        let should_be = filled.map_err(failed)?;
        Ok(Page { path, is, should_be })
    };
    paths.into_iter().map(page).collect()
}

fn paths(root: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = root.join("docs/perf").read_dir()?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    paths.push(root.join("PERF.md"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    Ok(paths)
}

/// What belongs at a mark; `None` where no results are there. `to_root` is how links get to the
/// workspace.
fn tables(mark: &Mark, kept: &Kept, to_root: &str) -> Result<Option<String>, String> {
    if mark.name == "targets" {
        return targets::markdown(kept).map(Some);
    }
    let Some((file, results)) = kept.newest(&mark.name) else { return Ok(None) };
    let tables = results.figures.tables();
    if let Some(missing) = mark.only.iter().find(|name| !tables.iter().any(|t| t.name == **name)) {
        return Err(format!("{file} has no table {missing}"));
    }
    let chosen = tables.iter().filter(|t| mark.only.is_empty() || mark.only.contains(&t.name));
    let origin = format!("{}. [Every run]({to_root}bench/results/{file}).\n\n", results.line());
    let tables: Vec<String> = chosen.map(crate::table::Table::markdown).collect();
    Ok(Some(origin + &tables.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo run -p fsmon-bench -- report` makes it so.
    #[test]
    fn the_pages_are_what_the_results_make_of_them() {
        let pages = pages(workspace()).expect("all can be made");
        assert!(pages.len() > 5, "{}", pages.len());
        for Page { path, is, should_be } in pages {
            assert!(is == should_be, "{} differs from bench/results", path.display());
        }
    }

    /// A file that no page shows is forgotten, or its name is wrong.
    #[test]
    fn every_result_is_on_a_page() {
        let kept = Kept::read(&results::directory()).expect("all can be read");
        let texts: Vec<String> =
            pages(workspace()).expect("all can be made").into_iter().map(|page| page.is).collect();
        for file in kept.files() {
            assert!(texts.iter().any(|text| text.contains(file)), "no page has {file}");
        }
    }
}
