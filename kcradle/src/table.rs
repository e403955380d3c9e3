//! Tables on standard output: columns as wide as their widest cell, three blanks between them.

use crate::failure::push_visible;
use crate::stdout;

/// Prints a table.
pub(crate) fn print(header: &[&str], rows: Vec<Vec<String>>) {
    stdout::text(format_args!("{}", render(header, rows)));
}

/// The text of a table.
pub(crate) fn render(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    let clean = |row: Vec<String>| row.iter().map(|cell| visible(cell)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).map(clean).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}   ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Cells hold names from images and users.
fn visible(cell: &str) -> String {
    let mut visible = String::new();
    push_visible(&mut visible, cell);
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_escapes() {
        let rows = vec![vec!["a".to_owned(), "\x1b[2J".to_owned()], vec!["long".to_owned(), "b".to_owned()]];
        assert_eq!(render(&["X", "Y"], rows), "X      Y\na      \\u{1b}[2J\nlong   b\n");
    }
}
