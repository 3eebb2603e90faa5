//! What was claimed, what was seen, and whether the one holds: the table at the end.

use std::fmt::Write as _;
use std::time::Duration;

/// The claims of a run, in the order they were tried.
#[derive(Debug, Default)]
pub struct Verdict {
    rows: Vec<Row>,
    /// How many of the claims that did not hold came true, but too late.
    late: usize,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every claim held.
    Held,
    /// Nothing was wrong, lost or missing, but something came too late.
    Late,
    /// Something else did not hold.
    Failed,
}

#[derive(Debug)]
struct Row {
    claim: String,
    seen: String,
    holds: Option<bool>,
}

impl Verdict {
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
        self.late += usize::from(took.is_some() && !in_time);
        self.claim(claim, seen, in_time);
    }

    /// How many claims did not hold.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.rows.iter().filter(|row| row.holds == Some(false)).count()
    }

    /// What it comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.failures() {
            0 => Outcome::Held,
            count if count == self.late => Outcome::Late,
            _ => Outcome::Failed,
        }
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
    fn late_is_not_the_same_as_wrong_or_never() {
        let limit = Duration::from_secs(5);
        let mut verdict = Verdict::default();
        verdict.within("full redundancy", Some(Duration::from_secs(4)), limit);
        assert_eq!(verdict.outcome(), Outcome::Held);
        verdict.within("full redundancy", Some(Duration::from_secs(6)), limit);
        assert_eq!(verdict.outcome(), Outcome::Late);
        verdict.within("detected", None, limit);
        assert_eq!(verdict.outcome(), Outcome::Failed);
        let mut verdict = Verdict::default();
        verdict.within("full redundancy", Some(Duration::from_secs(6)), limit);
        verdict.claim("content is equal", "no", false);
        assert_eq!(verdict.outcome(), Outcome::Failed);
    }
}
