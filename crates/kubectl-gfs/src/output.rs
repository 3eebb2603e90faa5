//! Results on the standard output: text for people, JSON or YAML for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use crate::flags::Format;

/// Prints a result: `text` for people, `value` for programs.
pub(crate) fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let out = match format {
        Format::Text => text(value),
        Format::Json => serde_json::to_string_pretty(value).context("writing JSON")? + "\n",
        Format::Yaml => serde_yaml::to_string(value).context("writing YAML")?,
    };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(out.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Columns, each as wide as its widest cell; the first row is the head. Columns named in `right`
/// are flushed right.
pub(crate) fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let _ = if right.contains(&column) {
                write!(line, "{pad}{cell}  ")
            } else {
                write!(line, "{cell}{pad}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bytes for people: 1.5 GiB.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Milliseconds since 1970 as UTC, `2026-11-22 18:03:00`.
pub(crate) fn time(millis: u64) -> String {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(time(1_795_370_580_000), "2026-11-22 18:03:00");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["name".into(), "size".into()], vec!["ü".into(), "10".into()]];
        assert_eq!(columns(&rows, &[1]), "name  size\nü       10\n");
    }
}
