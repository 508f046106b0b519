//! Quantities with units: spans of time, rates and sizes.

use std::fmt;
use std::str::FromStr;

use super::ParseError;
use crate::format;
use crate::value::{Kind, text_column};

/// A span of time, like `30s`, `5m` or `2h4m`: days, hours, minutes, seconds and milliseconds. Kept in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// The longest one: 365 days, in milliseconds.
    pub const LONGEST: u64 = 365 * 86_400_000;

    /// The units, the longest first, each in milliseconds.
    const UNITS: [(&'static str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];

    /// In milliseconds.
    pub fn as_millis(self) -> u64 {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        std::time::Duration::from_millis(duration.0)
    }
}

impl fmt::Display for Duration {
    /// The longest units first, without those that are zero: `1d12h`, `1m30s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, millis) in Duration::UNITS {
            if rest >= millis {
                text += &format!("{}{unit}", rest / millis);
                rest %= millis;
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Duration {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a time with its unit, like 30s, 5m or 2h4m", text);
        let mut rest = text;
        let mut millis: u64 = 0;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let (number, behind) = leading_number(rest).ok_or_else(error)?;
            let letters = behind.find(|c: char| !c.is_ascii_lowercase());
            let (unit, behind) = behind.split_at(letters.unwrap_or(behind.len()));
            let unit = Duration::UNITS.iter().find(|(name, _)| *name == unit);
            let Some((_, unit)) = unit else {
                return Err(error().hint("the units are d, h, m, s and ms"));
            };
            let part = number.checked_mul(*unit);
            let sum = part.and_then(|part| millis.checked_add(part));
            millis = sum
                .filter(|millis| *millis <= Duration::LONGEST)
                .ok_or_else(|| error().hint("at most 365d"))?;
            rest = behind;
        }
        Ok(Duration(millis))
    }
}

text_column!(Duration, Kind::Text(&format::DURATION));

/// A rate in bits per second, like `64k`, `10M` or `2500M`; `k`, `M`, `G` and `T` are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    /// In bits per second; never 0.
    pub fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&scaled(self.0, &DECIMAL))
    }
}

impl FromStr for Rate {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("bits per second, like 64k, 10M or 1G", text);
        let plain = ["bit/s", "bps", "bit"]
            .iter()
            .find_map(|unit| text.strip_suffix(unit));
        match quantity(plain.unwrap_or(text), &[&DECIMAL]) {
            Some(0) => Err(error().hint("a rate of 0 lets nothing through")),
            Some(rate) => Ok(Rate(rate)),
            None => Err(error().hint("the units are k, M, G and T")),
        }
    }
}

text_column!(Rate, Kind::Text(&format::RATE));

/// A size in bytes, like `1500`, `64k` or `64Ki`: `k`, `M` and `G` are powers of 1000, `Ki`, `Mi` and `Gi` of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// In bytes; never 0.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_multiple_of(1000) && self.0.is_multiple_of(1024) {
            return f.pad(&scaled(self.0, &BINARY));
        }
        f.pad(&scaled(self.0, &DECIMAL))
    }
}

impl FromStr for Size {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a number of bytes, like 1500, 64k or 64Ki", text);
        match quantity(text, &[&DECIMAL, &BINARY]) {
            Some(0) => Err(error().hint("nothing fits into 0 bytes")),
            Some(size) => Ok(Size(size)),
            None => Err(error().hint("the units are k, M, G, Ki, Mi and Gi")),
        }
    }
}

text_column!(Size, Kind::Text(&format::SIZE));

type Units = [(&'static str, u64)];
const DECIMAL: [(&str, u64); 5] = [
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
    ("", 1),
];
const BINARY: [(&str, u64); 4] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("", 1)];

/// The largest quantity: what the database can hold as a number, and far above what any machine has.
const MOST: u64 = i64::MAX as u64;

/// A number in the largest unit that it is whole in.
fn scaled(number: u64, units: &Units) -> String {
    let unit = units.iter().find(|(_, unit)| number.is_multiple_of(*unit));
    let (name, unit) = unit.copied().unwrap_or(("", 1));
    format!("{}{name}", number / unit)
}

/// A number with a unit of one of the families.
fn quantity(text: &str, families: &[&Units]) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let mut units = families.iter().flat_map(|units| units.iter());
    let (_, unit) = units.find(|(name, _)| *name == unit)?;
    number.checked_mul(*unit).filter(|number| *number <= MOST)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical<T: FromStr<Err = ParseError> + fmt::Display>(text: &str) -> String {
        match text.parse::<T>() {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_text_for_one_quantity() {
        let durations = ["5m0s", "90s", "7440s", "1h60m", "0s", "36h", "1500ms"];
        let texts = durations.map(canonical::<Duration>);
        assert_eq!(
            texts,
            ["5m", "1m30s", "2h4m", "2h", "0s", "1d12h", "1s500ms"]
        );
        let rates = ["10M", "10000000", "10000k", "1500k", "64kbit/s", "1Gbps"];
        let texts = rates.map(canonical::<Rate>);
        assert_eq!(texts, ["10M", "10M", "10M", "1500k", "64k", "1G"]);
        let sizes = ["1500", "64000", "65536", "64Ki", "65536000", "1Mi"];
        let texts = sizes.map(canonical::<Size>);
        assert_eq!(texts, ["1500", "64k", "64Ki", "64Ki", "65536k", "1Mi"]);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5y",
            "366d",
            "99999999999999999999s",
            "5M",
            "5m5",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        for text in [
            "",
            "0",
            "M",
            "10m",
            "10K",
            "1.5M",
            "-1",
            "10Mi",
            "99999999999T",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["", "0", "Ki", "64KiB", "64b", "1e3"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number in 1u64..=MOST, shift in 0u32..63) {
            let number = (number >> shift).max(1);
            prop_assert_eq!(Rate(number).to_string().parse(), Ok(Rate(number)));
            prop_assert_eq!(Size(number).to_string().parse(), Ok(Size(number)));
            let duration = Duration(number % (Duration::LONGEST + 1));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
