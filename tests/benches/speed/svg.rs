//! A table as bars: a group for each column, a bar for each row, a line from the least to the largest.
use crate::{
    figures::{Table, number},
    html::escaped,
};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 10.0;
const LEGEND_LINE: f64 = 20.0;
const COLOURS: [&str; 8] = [
    "#4e79a7", "#9c9c9c", "#f28e2b", "#59a14f", "#2f6f4f", "#b6d7a8", "#e15759", "#76448a",
];
const GRID_LINES: u32 = 4;

pub fn bars(table: &Table) -> String {
    let largest = table
        .rows
        .iter()
        .flat_map(|row| row.cells.iter().filter_map(|cell| cell.spread()))
        .map(|(.., largest)| largest)
        .fold(0.0, f64::max);
    if largest <= 0.0 || table.columns.is_empty() {
        return String::new();
    }
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / largest);
    let legend = LEGEND_LINE * (table.rows.len() as f64 + 1.0);
    let full = TOP + HEIGHT + LEGEND_LINE + legend;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {full}\" width=\"{WIDTH}\" height=\"{full}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"13\" role=\"img\" aria-label=\"{}\">\n",
        escaped(&table.title)
    );
    for line in 0..=GRID_LINES {
        let value = largest * f64::from(line) / f64::from(GRID_LINES);
        let height = y(value);
        svg += &format!(
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{height:.1}\" y2=\"{height:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            height + 4.0,
            number(value)
        );
    }
    let group = (WIDTH - LEFT) / table.columns.len() as f64;
    let bar = group * 0.85 / table.rows.len().max(1) as f64;
    for (column, name) in table.columns.iter().enumerate() {
        let start = LEFT + group * (column as f64 + 0.075);
        for (number_of_row, row) in table.rows.iter().enumerate() {
            let Some((median, least, most)) = row.cells.get(column).and_then(|cell| cell.spread())
            else {
                continue;
            };
            let x = start + bar * number_of_row as f64;
            let middle = x + bar / 2.0;
            svg += &format!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {}</title></rect>\
                 <line x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#222\"/>\n",
                y(median),
                bar * 0.9,
                HEIGHT + TOP - y(median),
                colour(number_of_row),
                escaped(&row.name),
                number(median),
                y(least),
                y(most)
            );
        }
        svg += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            LEFT + group * (column as f64 + 0.5),
            TOP + HEIGHT + LEGEND_LINE * 0.8,
            escaped(name)
        );
    }
    for (number_of_row, row) in table.rows.iter().enumerate() {
        let height = TOP + HEIGHT + LEGEND_LINE * (number_of_row as f64 + 1.5);
        svg += &format!(
            "<rect x=\"{LEFT}\" y=\"{height:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            colour(number_of_row),
            LEFT + 20.0,
            height + 11.0,
            escaped(&row.name)
        );
    }
    svg + "</svg>\n"
}

fn colour(row: usize) -> &'static str {
    COLOURS[row % COLOURS.len()]
}
