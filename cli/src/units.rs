//! Rates as people read them. Prefixes are those of SI everywhere: 1 kB is 1000 bytes, as 1 kbit is 1000 bits.

const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// Three figures and a prefix: `12.3 kbit/s`.
fn scaled(value: f64, unit: &str) -> String {
    let mut size = value;
    let mut prefixes = PREFIXES.iter();
    let mut prefix = prefixes.next();
    // What rounds to 1000 is 1.00 of the next prefix.
    while size >= 999.5 {
        let Some(next) = prefixes.next() else { break };
        size /= 1000.0;
        prefix = Some(next);
    }
    let prefix = prefix.copied().unwrap_or_default();
    let decimals = match (prefix, size) {
        ("", size) if size < 9.95 && size.fract() >= 0.05 => 1,
        ("", _) => 0,
        (_, size) if size < 9.995 => 2,
        (_, size) if size < 99.95 => 1,
        _ => 0,
    };
    format!("{size:.decimals$} {prefix}{unit}")
}

/// Bits a second, of bytes a second.
pub(crate) fn bits(bytes_a_second: f64) -> String {
    scaled(bytes_a_second * 8.0, "bit/s")
}

/// Packets a second.
pub(crate) fn packets(rate: f64) -> String {
    scaled(rate, "p/s")
}

/// Anything a second.
pub(crate) fn rate(rate: f64) -> String {
    scaled(rate, "/s")
}

/// Bytes.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, "B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_and_a_prefix() {
        let shown = [
            0.0, 0.04, 0.5, 7.0, 42.4, 999.4, 999.5, 1_234.0, 56_789.0, 999_499.0, 999_500.0, 3e9,
            2e18,
        ]
        .map(packets);
        assert_eq!(
            shown,
            [
                "0 p/s",
                "0 p/s",
                "0.5 p/s",
                "7 p/s",
                "42 p/s",
                "999 p/s",
                "1.00 kp/s",
                "1.23 kp/s",
                "56.8 kp/s",
                "999 kp/s",
                "1.00 Mp/s",
                "3.00 Gp/s",
                "2000 Pp/s"
            ]
        );
        assert_eq!(
            (bits(125_000.0), bytes(1_500), rate(3.0)),
            (
                "1.00 Mbit/s".to_owned(),
                "1.50 kB".to_owned(),
                "3 /s".to_owned()
            )
        );
    }
}
