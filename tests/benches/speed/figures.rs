//! Figures, as they are shown and written: tables of cells, each with its samples.
use serde::Serialize;

/// One figure: what was measured in the rounds, or why nothing was.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Samples(Vec<f64>),
    Missing(String),
}

impl Cell {
    /// Of one measurement.
    pub fn one(value: f64) -> Self {
        Self::Samples(vec![value])
    }

    pub fn missing(error: &anyhow::Error) -> Self {
        Self::Missing(format!("{error:#}"))
    }

    /// The middle one, with the least and the largest.
    pub fn spread(&self) -> Option<(f64, f64, f64)> {
        let Self::Samples(samples) = self else {
            return None;
        };
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0,
            _ => *sorted.get(middle)?,
        };
        Some((median, *sorted.first()?, *sorted.last()?))
    }

    pub fn median(&self) -> Option<f64> {
        self.spread().map(|(median, ..)| median)
    }

    /// Adds a sample, or the reason why there is none: then all of the cell is worth nothing.
    pub fn add(&mut self, outcome: anyhow::Result<f64>) {
        match (outcome, &mut *self) {
            (Ok(sample), Self::Samples(samples)) => samples.push(sample),
            (Err(error), Self::Samples(_)) => *self = Self::missing(&error),
            (_, Self::Missing(_)) => {}
        }
    }
}

/// A row: a contender, a program, a kind of packet.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub cells: Vec<Cell>,
}

impl Row {
    /// To be filled.
    pub fn empty(name: &str, columns: usize) -> Self {
        Self {
            name: name.to_owned(),
            cells: vec![Cell::Samples(Vec::new()); columns],
        }
    }

    /// Adds a sample to a cell.
    pub fn add(&mut self, column: usize, outcome: anyhow::Result<f64>) {
        if let Some(cell) = self.cells.get_mut(column) {
            cell.add(outcome);
        }
    }
}

/// One theme's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What `--only` calls it.
    pub name: &'static str,
    pub title: String,
    pub unit: &'static str,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// The row whose figures are 1 in the ratios.
    pub reference: Option<String>,
    pub note: &'static str,
}

impl Table {
    /// A cell's median by that of the reference in its column.
    pub fn ratio(&self, row: &Row, column: usize) -> Option<f64> {
        let reference = self.reference.as_ref()?;
        let reference = self.rows.iter().find(|row| row.name == *reference)?;
        let one = reference.cells.get(column)?.median()?;
        let this = row.cells.get(column)?.median()?;
        (one != 0.0).then(|| this / one)
    }
}

/// Three figures that count, without an exponent.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        0.0 => "0".to_owned(),
        _ if magnitude >= 100.0 => format!("{value:.0}"),
        _ if magnitude >= 10.0 => format!("{value:.1}"),
        _ if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
