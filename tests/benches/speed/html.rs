//! The report as a page without scripts: a plot (svg.rs) and a table for each theme.
use crate::{
    figures::{Cell, Row, Table, number},
    machine::Report,
    svg,
};

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}small{color:#777}p.note{color:#555}svg{max-width:100%;height:auto}";

pub fn page(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>nat: figures</title><style>{STYLE}</style>\n\
         <h1>nat: figures</h1>\n<p>{}; options: {}</p>\n\
         <p>Median of the rounds, least to largest in brackets, and the ratio to the row that is 1. All contenders \
         took turns in one run: compare rows, not machines.</p>\n",
        escaped(&report.machine.text()),
        escaped(&report.machine.options.join(" "))
    );
    for table in &report.tables {
        page += &format!(
            "<h2 id=\"{}\">{}</h2>\n<p class=\"note\">{}, {}</p>\n",
            table.name,
            escaped(&table.title),
            table.unit,
            escaped(table.note)
        );
        if table.unit != "count" {
            page += &svg::bars(table);
        }
        page += &html_table(table);
    }
    page + "</html>\n"
}

fn html_table(table: &Table) -> String {
    let mut text = "<table><tr><th></th>".to_owned();
    for column in &table.columns {
        text += &format!("<th>{}</th>", escaped(column));
    }
    text += "</tr>\n";
    for row in &table.rows {
        text += &format!("<tr><td>{}</td>", escaped(&row.name));
        for (column, cell) in row.cells.iter().enumerate() {
            text += &format!("<td>{}</td>", html_cell(table, row, column, cell));
        }
        text += "</tr>\n";
    }
    text + "</table>\n"
}

fn html_cell(table: &Table, row: &Row, column: usize, cell: &Cell) -> String {
    if let Cell::Missing(reason) = cell {
        return format!("<small>{}</small>", escaped(reason));
    }
    let Some((median, least, largest)) = cell.spread() else {
        return String::new();
    };
    let mut text = number(median);
    if least != largest {
        text += &format!(" <small>[{}-{}]</small>", number(least), number(largest));
    }
    if let Some(ratio) = table.ratio(row, column) {
        text += &format!(" <small>x{ratio:.2}</small>");
    }
    text
}

/// As text in HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
