//! The figures as a table for the terminal.
use crate::figures::{Cell, Row, Table, number};

/// With a line for each row, and the reasons of missing figures below.
pub fn table(table: &Table) -> String {
    let mut reasons = Vec::new();
    let rows: Vec<(&str, Vec<String>)> = table
        .rows
        .iter()
        .map(|row| {
            let cells = (0..table.columns.len())
                .map(|column| cell(table, row, column, &mut reasons))
                .collect();
            (row.name.as_str(), cells)
        })
        .collect();
    let first = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let widths: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let cells = rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells
                .map(|cell| cell.chars().count())
                .chain([title.chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = format!("\n{} [{}] ({})\n", table.title, table.unit, table.name);
    let mut line = |name: &str, cells: &[String]| {
        text += &format!("  {name:<first$}");
        for (cell, width) in cells.iter().zip(&widths) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    };
    line("", &table.columns);
    for (name, cells) in &rows {
        line(name, cells);
    }
    for (number, reason) in reasons.iter().enumerate() {
        text += &format!("  ({}) {reason}\n", number + 1);
    }
    text
}

fn cell(table: &Table, row: &Row, column: usize, reasons: &mut Vec<String>) -> String {
    let Some(cell) = row.cells.get(column) else {
        return "-".to_owned();
    };
    if let Cell::Missing(reason) = cell {
        let known = reasons.iter().position(|other| other == reason);
        let number = known.unwrap_or_else(|| {
            reasons.push(reason.clone());
            reasons.len() - 1
        });
        return format!("none ({})", number + 1);
    }
    let Some((median, least, largest)) = cell.spread() else {
        return "-".to_owned();
    };
    let mut text = number(median);
    if least != largest {
        text += &format!(" [{}-{}]", number(least), number(largest));
    }
    if let Some(ratio) = table.ratio(row, column) {
        text += &format!(" x{ratio:.2}");
    }
    text
}
