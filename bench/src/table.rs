//! Tables: medians with their spreads, in Markdown, for the terminal and for docs/perf.

/// A table with a heading.
pub(crate) struct Table {
    /// The heading, and how a page names it.
    pub(crate) name: String,
    /// What stands above it.
    pub(crate) note: Option<String>,
    /// The first row is the head.
    pub(crate) rows: Vec<Vec<String>>,
}

/// A median and how far the figures lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// What a cell says that has no figure.
const NOTHING: &str = "–";

impl Table {
    /// A table with this head and no rows yet.
    pub(crate) fn new(name: &str, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Table { name: name.to_owned(), note: None, rows: vec![head] }
    }

    /// Adds a row, whose last cells may be missing.
    pub(crate) fn push(&mut self, mut cells: Vec<String>) {
        cells.resize(self.rows[0].len(), String::new());
        self.rows.push(cells);
    }

    /// Heading, note and table; without the columns that have no figure at all.
    pub(crate) fn markdown(&self) -> String {
        let note = self.note.as_ref().map_or_else(String::new, |note| format!("{note}\n\n"));
        format!("### {}\n\n{note}{}", self.name, lay_out(&self.without_empty_columns()))
    }

    fn without_empty_columns(&self) -> Vec<Vec<String>> {
        let is_empty = |column: usize| {
            let mut cells = self.rows[1..].iter().map(|row| &row[column]);
            cells.all(|cell| cell.is_empty() || cell == NOTHING)
        };
        let kept: Vec<usize> =
            (0..self.rows[0].len()).filter(|column| *column == 0 || !is_empty(*column)).collect();
        let pick = |row: &Vec<String>| kept.iter().map(|column| row[*column].clone()).collect();
        self.rows.iter().map(pick).collect()
    }
}

/// Prints the tables to the terminal.
pub(crate) fn print(tables: &[Table]) {
    tables.iter().for_each(|table| println!("{}", table.markdown()));
}

/// The cells of a row without figures: why it has none.
pub(crate) fn not_run(name: &str, error: &str) -> Vec<String> {
    vec![name.to_owned(), format!("not run: {}", error.replace('|', "/"))]
}

impl Spread {
    /// Of these figures; `None` without any.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), min, max })
    }
}

/// `3.0x (1.0–8.0)`: with `digits` digits and `unit`.
pub(crate) fn show(spread: Option<Spread>, digits: usize, unit: &str) -> String {
    let Some(Spread { median, min, max }) = spread else { return NOTHING.into() };
    if min.to_bits() == max.to_bits() {
        return format!("{median:.digits$}{unit}");
    }
    format!("{median:.digits$}{unit} ({min:.digits$}–{max:.digits$})")
}

/// `3.0x`: without the spread.
pub(crate) fn show_median(spread: Option<Spread>, digits: usize, unit: &str) -> String {
    spread.map_or_else(|| NOTHING.into(), |spread| format!("{:.digits$}{unit}", spread.median))
}

/// The sum over all runs: a single one that was lost must show.
pub(crate) fn show_sum(figures: impl Iterator<Item = Option<u64>>) -> String {
    let sum = figures.flatten().reduce(|sum, figure| sum + figure);
    sum.map_or_else(|| NOTHING.into(), |sum| sum.to_string())
}

/// Columns as wide as their widest cell.
fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2)));
    let rule = format!("|{}\n", rule.collect::<String>());
    let mut lines = rows.iter().map(|row| line(row));
    lines.next().unwrap_or_default() + &rule + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of(vec![3.0, 1.0, 8.0]);
        assert_eq!(spread, Some(Spread { median: 3.0, min: 1.0, max: 8.0 }));
        assert_eq!(Spread::of(vec![1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(show(spread, 1, "x"), "3.0x (1.0–8.0)");
        assert_eq!(show(None, 1, "x"), "–");
    }

    #[test]
    fn one_loss_in_many_runs_shows() {
        assert_eq!(show_sum([Some(0), Some(1), None].into_iter()), "1");
        assert_eq!(show_sum([None].into_iter()), "–");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "µs".into()], vec!["long".into(), String::new()]];
        assert_eq!(lay_out(&rows), "| a    | µs |\n|------|----|\n| long |    |\n");
    }

    #[test]
    fn a_column_without_any_figure_is_left_out() {
        let mut table = Table::new("t", &["a", "b", "c"]);
        table.push(vec!["x".into(), NOTHING.into(), NOTHING.into()]);
        table.push(not_run("y", "no | there"));
        let expected = "### t\n\n| a | b                   |\n|---|---------------------|\n\
                        | x | –                   |\n| y | not run: no / there |\n";
        assert_eq!(table.markdown(), expected);
    }
}
