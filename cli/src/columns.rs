//! Tables for people: columns as wide as they need to be, two spaces apart.

use crate::terminal::clean;

/// A cell of a table: words stand at its left end, numbers at its right.
pub(crate) struct Cell {
    text: String,
    right: bool,
}

impl Cell {
    /// Words.
    pub(crate) fn word(text: &str) -> Cell {
        Cell {
            text: clean(text),
            right: false,
        }
    }
    /// A number, or what stands above numbers.
    pub(crate) fn number(number: impl ToString) -> Cell {
        Cell {
            text: clean(&number.to_string()),
            right: true,
        }
    }
}

/// The rows of a table as lines.
pub(crate) fn columns(rows: &[Vec<Cell>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<Cell>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| match cell.right {
                true => format!("{:>width$}", cell.text),
                false => format!("{:<width$}", cell.text),
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
