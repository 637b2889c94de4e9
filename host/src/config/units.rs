//! Human units: "1s", "64MiB".

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads "1s", "100ms", "2m 30s".
pub fn parse_duration(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok())
}

/// Writes what [`parse_duration`] reads, exactly.
pub fn format_duration(duration: Duration) -> String {
    match jiff::SignedDuration::try_from(duration) {
        Ok(duration) => format!("{duration:#}"),
        Err(_) => format!("{}s", duration.as_secs()),
    }
}

/// Reads "64MiB", "10kB", "100".
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit = match text[digits..].trim_start() {
        "" => 1,
        word => SIZE_UNITS.iter().find(|(unit, _)| *unit == word)?.1,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

/// Writes what [`parse_size`] reads, exactly, in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS
        .iter()
        .filter(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor)
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_size_survives_being_written_and_read(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn every_whole_unit_is_read_as_its_factor(count in 0_u64..1 << 30, unit in 0..SIZE_UNITS.len(), space in "[ ]{0,2}") {
            let (word, factor) = SIZE_UNITS[unit];
            prop_assert_eq!(parse_size(&format!("{count}{space}{word}")), Some(count * factor));
        }

        #[test]
        fn every_duration_survives_being_written_and_read(seconds in 0..u64::from(u32::MAX), nanos in 0..1_000_000_000_u32) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC*") {
            parse_size(&text);
            parse_duration(&text);
        }
    }

    #[test]
    fn a_size_that_does_not_fit_is_refused() {
        assert_eq!(parse_size("18446744073709551616"), None);
        assert_eq!(parse_size("17179869184GiB"), None);
    }

    #[test]
    fn what_is_not_a_size_or_a_duration_is_refused() {
        for text in ["", "MiB", "-1", "1.5MiB", "64 mib", "1e6", "12 34"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
        for text in ["", "1", "s", "-1s", "1 fortnight", "1s ago"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
