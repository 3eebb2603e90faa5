//! The table, and the same as JSON.

use serde::Serialize;

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// What was reached.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The baseline of the same run, in the same unit.
    pub(crate) baseline: Option<f64>,
    /// What is to be reached, as a comparison of `judged` with a number.
    pub(crate) reach: Option<Reach>,
    /// Missing it fails the run.
    pub(crate) acceptance: bool,
    /// Anything a reader must know.
    pub(crate) note: String,
}

/// A mark to reach.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    /// The value is at least this.
    AtLeast(f64),
    /// The value is at most this.
    AtMost(f64),
    /// The value is at least this share of the baseline.
    Share(f64),
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            baseline: None,
            reach: None,
            acceptance: false,
            note: String::new(),
        }
    }

    pub(crate) fn baseline(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self
    }

    pub(crate) fn reach(mut self, reach: Reach) -> Self {
        self.reach = Some(reach);
        self
    }

    pub(crate) fn acceptance(mut self) -> Self {
        self.acceptance = true;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether the mark was reached; `None` without one.
    pub(crate) fn met(&self) -> Option<bool> {
        Some(match self.reach? {
            Reach::AtLeast(mark) => self.value >= mark,
            Reach::AtMost(mark) => self.value <= mark,
            Reach::Share(mark) => self.value >= mark * self.baseline?,
        })
    }

    fn line(&self) -> [String; 5] {
        let share = self.baseline.map(|baseline| self.value / baseline * 100.0);
        [
            format!("{}{}", self.name, if self.acceptance { " *" } else { "" }),
            format!("{} {}", figure(self.value), self.unit),
            self.baseline.map_or(String::new(), |b| {
                format!("{} ({:.0} %)", figure(b), share.unwrap_or_default())
            }),
            match self.reach {
                None => String::new(),
                Some(Reach::AtLeast(mark)) => format!("≥ {}", figure(mark)),
                Some(Reach::AtMost(mark)) => format!("≤ {}", figure(mark)),
                Some(Reach::Share(mark)) => format!("≥ {:.0} % of it", mark * 100.0),
            },
            match self.met() {
                None => self.note.clone(),
                Some(met) => {
                    let verdict = if met { "reached" } else { "MISSED" };
                    format!("{verdict} {}", self.note).trim_end().to_owned()
                }
            },
        ]
    }
}

/// Three significant digits, or all before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The table for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["", "measured", "baseline", "to reach", ""].map(str::to_owned);
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(Row::line)).collect();
    let mut widths = [0; 5];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let pad = width - cell.chars().count();
            // Numbers to the right, words to the left.
            if column == 1 {
                text.push_str(&" ".repeat(pad));
                text.push_str(cell);
            } else {
                text.push_str(cell);
                text.push_str(&" ".repeat(pad));
            }
            text.push_str("  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push_str("* acceptance\n");
    text
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_judged() {
        let row = Row::new("read", 80.0, "MB/s").baseline(100.0);
        assert_eq!(row.clone().met(), None);
        assert_eq!(row.clone().reach(Reach::Share(0.75)).met(), Some(true));
        assert_eq!(row.clone().reach(Reach::Share(0.85)).met(), Some(false));
        assert_eq!(row.clone().reach(Reach::AtMost(79.0)).met(), Some(false));
        let text = table(&[row.reach(Reach::AtLeast(90.0)).acceptance()]);
        assert!(text.contains("MISSED") && text.contains("read *") && text.contains("(80 %)"));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert!(median(&mut []).is_nan());
    }
}
