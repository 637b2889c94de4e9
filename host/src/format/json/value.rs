//! Values that JSON spells as strings or whose digits must not go through a float.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Days since 1970 of `2026-01-31`.
pub fn date(text: &str) -> Option<i32> {
    // The parser would take a date with a time behind it too.
    if text.len() != "2026-01-31".len() {
        return None;
    }
    let date: Date = text.parse().ok()?;
    let days = date.duration_since(Date::constant(1970, 1, 1)).as_secs() / (24 * 60 * 60);
    i32::try_from(days).ok()
}

/// Microseconds since 1970 of an RFC 3339 time; without an offset it is UTC, finer digits are cut off.
pub fn timestamp(text: &str) -> Option<i64> {
    let time = text.parse::<Timestamp>().or_else(|_| {
        let local = text.parse::<DateTime>()?;
        TimeZone::UTC.to_timestamp(local)
    });
    // Towards the past, so that the order of times is kept around 1970 too.
    let nanoseconds = time.ok()?.as_nanosecond();
    i64::try_from(nanoseconds.div_euclid(1000)).ok()
}

/// Bytes of a string of hex digits.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() % 2 == 1 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    digits.chunks_exact(2).map(byte).collect()
}

/// A JSON number as the float nearest to it, or a string that names what JSON has no number for.
pub fn float(raw: &str) -> Option<f64> {
    match raw {
        "\"NaN\"" => Some(f64::NAN),
        "\"Infinity\"" => Some(f64::INFINITY),
        "\"-Infinity\"" => Some(f64::NEG_INFINITY),
        _ => raw.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// A JSON number, or a string that holds one, as a whole number of units of `10^-scale`; exact, or an error.
pub fn decimal(raw: &str, precision: u8, scale: u8) -> Result<i128, String> {
    let text = raw
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(raw);
    let wrong = || format!("{raw} is not a decimal({precision},{scale})");
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |text| (true, text));
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return Err(wrong());
    }
    let fraction = fraction.trim_end_matches('0');
    let all = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    // How many zeros follow the digits in units of 10^-scale; if negative, digits are too fine.
    let zeros = i64::from(scale) + i64::from(exponent) - fraction.len() as i64;
    let ending = significant.trim_end_matches('0');
    let spare = (significant.len() - ending.len()) as i64;
    if zeros + spare < 0 {
        return Err(format!(
            "{}: it has more than {scale} digits behind the point",
            wrong()
        ));
    }
    if ending.len() as i64 + spare + zeros > i64::from(precision) {
        return Err(format!(
            "{}: it has more than {} digits before the point",
            wrong(),
            precision - scale
        ));
    }
    let value: i128 = ending.parse().map_err(|_| wrong())?;
    let value = value * 10i128.pow((zeros + spare) as u32);
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_and_times_are_those_of_the_calendar() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert_eq!(date("2026-02-29"), None);
        assert_eq!(date("2026-01-31T00:00"), None);
        assert_eq!(timestamp("1970-01-01T00:00:01.5Z"), Some(1_500_000));
        assert_eq!(timestamp("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(timestamp("1970-01-01 00:00:00.0000019"), Some(1));
        assert_eq!(timestamp("1969-12-31T23:59:59.9999999Z"), Some(-1));
        assert_eq!(timestamp("yesterday"), None);
    }

    #[test]
    fn hex_digits_come_in_pairs() {
        assert_eq!(hex("00ffA0"), Some(vec![0, 255, 160]));
        assert_eq!((hex("0"), hex("0g"), hex("\u{e9}")), (None, None, None));
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let two = |text| decimal(text, 5, 2);
        assert_eq!(two("1.5"), Ok(150));
        assert_eq!(two("-0.070"), Ok(-7));
        assert_eq!(two("\"999.99\""), Ok(99_999));
        assert_eq!(two("1.2e2"), Ok(12_000));
        assert_eq!(two("1500e-3"), Ok(150));
        assert_eq!(two("0e99"), Ok(0));
        assert!(
            two("1.005")
                .expect_err("too fine")
                .contains("more than 2 digits behind the point")
        );
        assert!(
            two("1000")
                .expect_err("too large")
                .contains("more than 3 digits before the point")
        );
        for wrong in [
            "\"\"",
            "\".5\"",
            "true",
            "{}",
            "\"1_0\"",
            "1e99999999999",
            "1e2000000000",
            "1e-2000000000",
        ] {
            assert!(two(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_as_it_is_written(value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0u8..=38) {
            let array = arrow::array::Decimal128Array::from(vec![value])
                .with_precision_and_scale(38, scale as i8)
                .expect("in bounds");
            prop_assert_eq!(decimal(&array.value_as_string(0), 38, scale), Ok(value));
        }
    }
}
