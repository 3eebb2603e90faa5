//! Sizes as people write them.

/// Bytes: a number, or one with K, M, G, T or P behind it (multiples of 1024; `iB` may follow).
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = match number.parse() {
        Ok(number) => number,
        Err(_) if digits == 0 => return Err("give bytes, or as 64K, 10M, 1G".to_owned()),
        Err(_) => return Err("that is more than any file can have".to_owned()),
    };
    let power = match unit.strip_suffix("iB").unwrap_or(unit) {
        "" if unit.is_empty() => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        _ => return Err(format!("{unit:?} is no unit: give bytes, or as 64K, 10M, 1G, 2T")),
    };
    number
        .checked_mul(1 << (10 * power))
        .ok_or_else(|| "that is more than any file can have".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units_or_are_refused() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("64K", 65_536),
            ("10M", 10 << 20),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "-1", "M", "1.5G", "10MB", "10iB", "1 K", "99999999999999999999", "20000P"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
