//! What was claimed, what was seen, and whether the one holds: the table at the end.

use std::fmt::Write as _;
use std::time::Duration;

/// The claims of a run, in the order they were tried.
#[derive(Debug, Default)]
pub struct Verdict {
    rows: Vec<Row>,
    /// What came too late is told, and does not count as a failure.
    times_are_told: bool,
}

#[derive(Debug)]
struct Row {
    claim: String,
    seen: String,
    holds: Option<bool>,
}

impl Verdict {
    /// A verdict in which deadlines are told and judged no more: for machines that others use at
    /// the same time. What *never* came is a failure all the same.
    #[must_use]
    pub fn telling_times() -> Self {
        Self { times_are_told: true, ..Self::default() }
    }

    /// Something worth telling that claims nothing.
    pub fn note(&mut self, what: impl Into<String>, seen: impl Into<String>) {
        self.rows.push(Row { claim: what.into(), seen: seen.into(), holds: None });
    }

    /// A claim, and whether it held.
    pub fn claim(&mut self, claim: impl Into<String>, seen: impl Into<String>, holds: bool) {
        self.rows.push(Row { claim: claim.into(), seen: seen.into(), holds: Some(holds) });
    }

    /// The claim that something took less than `limit`. What never happened took too long.
    pub fn within(&mut self, what: &str, took: Option<Duration>, limit: Duration) {
        let claim = format!("{what} < {} s", limit.as_secs_f64());
        let seen = took.map_or_else(|| "never".to_owned(), seconds);
        let in_time = took.is_some_and(|took| took < limit);
        if self.times_are_told && !in_time && took.is_some() {
            self.note(claim, format!("{seen} (LATE)"));
        } else {
            self.claim(claim, seen, in_time);
        }
    }

    /// How many claims did not hold.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.rows.iter().filter(|row| row.holds == Some(false)).count()
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let width = |text: &str| text.chars().count();
        let left = self.rows.iter().map(|row| width(&row.claim)).max().unwrap_or(0);
        let right = self.rows.iter().map(|row| width(&row.seen)).max().unwrap_or(0);
        let mut table = String::new();
        for Row { claim, seen, holds } in &self.rows {
            let mark = match holds {
                None => "",
                Some(true) => "ok",
                Some(false) => "FAILED",
            };
            let line = format!("  {claim:<left$}  {seen:>right$}  {mark}");
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }
}

/// A span, to the hundredth of a second.
#[must_use]
pub fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_late_or_never_came_is_a_failure() {
        let mut verdict = Verdict::default();
        verdict.note("files", "4 000");
        verdict.within(
            "full redundancy",
            Some(Duration::from_millis(4_990)),
            Duration::from_secs(5),
        );
        assert_eq!(verdict.failures(), 0);
        verdict.within("full redundancy", Some(Duration::from_secs(5)), Duration::from_secs(5));
        verdict.within("detected", None, Duration::from_secs(1));
        verdict.claim("content is equal", "no", false);
        assert_eq!(verdict.failures(), 3);
        let table = verdict.table();
        assert!(table.contains("4.99 s  ok") && table.contains("never  FAILED"), "{table}");
        assert_eq!(table.lines().count(), 5);
    }

    #[test]
    fn told_times_are_told_but_what_never_came_fails() {
        let mut verdict = Verdict::telling_times();
        verdict.within("full redundancy", Some(Duration::from_secs(6)), Duration::from_secs(5));
        assert_eq!(verdict.failures(), 0);
        assert!(verdict.table().contains("6.00 s (LATE)"));
        verdict.within("detected", None, Duration::from_secs(1));
        assert_eq!(verdict.failures(), 1);
    }
}
