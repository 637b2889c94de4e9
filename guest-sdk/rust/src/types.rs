//! Types of column values that Rust has no name for.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A fixed-point number of up to `P` digits, `S` of them after the point: the column type `decimal(P,S)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: u8>(
    /// The number times 10 to the power of `S`.
    pub i128,
);

impl<const P: u8, const S: u8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, S)
    }
}

pub(crate) fn write_decimal(f: &mut impl fmt::Write, unscaled: i128, scale: u8) -> fmt::Result {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs();
    if scale == 0 {
        return write!(f, "{sign}{digits}");
    }
    let unit = 10u128.pow(scale.into());
    let width = usize::from(scale);
    write!(f, "{sign}{}.{:0width$}", digits / unit, digits % unit)
}

/// Reads `-12.34` as the unscaled number of a `decimal(precision,scale)`; `None` if it does not fit exactly.
pub(crate) fn read_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > usize::from(scale)
    {
        return None;
    }
    let zeros = u32::from(scale) - u32::try_from(fraction.len()).ok()?;
    let fraction: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let unscaled = whole
        .parse::<i128>()
        .ok()?
        .checked_mul(10i128.pow(scale.into()))?
        .checked_add(fraction.checked_mul(10i128.pow(zeros))?)?;
    (unscaled < 10i128.pow(precision.into())).then_some(sign * unscaled)
}

/// A day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(
    /// Days since 1970-01-01.
    pub i32,
);

/// The days from 1970-01-01 to 0000-03-01, where the 400-year cycle below starts.
const DAYS_TO_ERA: i64 = 719_468;
const DAYS_PER_ERA: i64 = 146_097;

impl Date {
    /// The day of the Gregorian calendar; `None` if there is none such.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
            return None;
        }
        // Years that start in March put the leap day last, so a month's offset does not depend on the year.
        let year = i64::from(year) - i64::from(month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = i64::from((month + 9) % 12);
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        i32::try_from(era * DAYS_PER_ERA + day_of_era - DAYS_TO_ERA)
            .ok()
            .map(Self)
    }

    /// Year, month and day.
    pub fn ymd(self) -> (i32, u32, u32) {
        let days = i64::from(self.0) + DAYS_TO_ERA;
        let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let fits = "an i32 of days spans fewer than i32::MAX years, and months and days are small";
        (
            i32::try_from(year).expect(fits),
            u32::try_from(month).expect(fits),
            u32::try_from(day).expect(fits),
        )
    }
}

fn days_in(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    /// `2026-05-25`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        let Ok(year @ ..=9999) = u32::try_from(year) else {
            return write!(f, "{year:04}-{month:02}-{day:02}");
        };
        let mut text = *b"0000-00-00";
        put_digits(&mut text[..4], year);
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..], day);
        f.write_str(str::from_utf8(&text).expect(ASCII))
    }
}

const ASCII: &str = "digits and signs are UTF-8";

/// Writes the last digits of a number over a text: many times as fast as formatting it.
fn put_digits(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl std::str::FromStr for Date {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '-').map(str::parse::<u32>);
        let mut part = || parts.next()?.ok();
        (|| Self::from_ymd(i32::try_from(part()?).ok()?, part()?, part()?))()
            .ok_or_else(|| crate::Error::fatal(format!("`{text}` is not a date as 2026-05-25")))
    }
}

/// A moment, counted in microseconds from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub i64,
);

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

impl Timestamp {
    /// A moment of the UTC day `date`; `None` for an hour of 24 or more and so on, or beyond the range of the type.
    pub fn from_date_and_time(
        date: Date,
        hour: u32,
        minute: u32,
        second: u32,
        micros: u32,
    ) -> Option<Self> {
        if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
            return None;
        }
        let seconds = i64::from(hour * 3600 + minute * 60 + second);
        i64::from(date.0)
            .checked_mul(MICROS_PER_DAY)?
            .checked_add(seconds * MICROS_PER_SECOND + i64::from(micros))
            .map(Self)
    }

    /// The UTC day that it is in.
    pub fn date(self) -> Date {
        let days = self.0.div_euclid(MICROS_PER_DAY);
        Date(i32::try_from(days).expect("an i64 of microseconds is fewer than 2^31 days"))
    }
}

impl fmt::Display for Timestamp {
    /// `2026-05-25T12:34:56Z`, with as many digits of the second as there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(MICROS_PER_DAY);
        let part = |number: i64| u32::try_from(number).expect("it is of one day");
        let (seconds, micros) = (
            part(of_day / MICROS_PER_SECOND),
            part(of_day % MICROS_PER_SECOND),
        );
        let mut text = *b"T00:00:00.000000Z";
        put_digits(&mut text[1..3], seconds / 3600);
        put_digits(&mut text[4..6], seconds / 60 % 60);
        put_digits(&mut text[7..9], seconds % 60);
        put_digits(&mut text[10..16], micros);
        let end = match micros {
            0 => 9,
            _ if micros % 1000 == 0 => 13,
            _ => 16,
        };
        text[end] = b'Z';
        self.date().fmt(f)?;
        f.write_str(str::from_utf8(&text[..=end]).expect(ASCII))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = crate::Error;

    /// Reads RFC 3339: `2026-05-25T12:34:56.789Z`, or with an offset as `+02:00`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read_rfc3339(text).ok_or_else(|| {
            crate::Error::fatal(format!(
                "`{text}` is not a timestamp as 2026-05-25T12:34:56Z"
            ))
        })
    }
}

fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_at_checked(10)?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = time.split_at_checked(8)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("0", rest),
    };
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<u32>().ok());
    let micros = format!("{:0<6}", fraction.get(..6.min(fraction.len()))?);
    let local = Timestamp::from_date_and_time(
        date.parse().ok()?,
        clock.next()??,
        clock.next()??,
        clock.next()??,
        micros.parse().ok()?,
    )?;
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, zone) = match zone.split_at_checked(1)? {
                ("+", zone) => (1, zone),
                ("-", zone) => (-1, zone),
                _ => return None,
            };
            let (hours, minutes) = zone.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    local
        .0
        .checked_sub(offset_minutes * 60 * MICROS_PER_SECOND)
        .map(Timestamp)
}

/// A text that is valid JSON: the column type `json`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Json<'a>(
    /// The text.
    pub Cow<'a, str>,
);

impl Json<'_> {
    /// The JSON of any value that serde can write.
    ///
    /// # Errors
    /// If the value cannot be JSON, as a map whose keys are no texts.
    pub fn of(value: &impl Serialize) -> Result<Self, crate::Error> {
        serde_json::to_string(value)
            .map(|text| Self(text.into()))
            .map_err(|error| crate::Error::fatal(error.to_string()))
    }

    /// The value that the JSON stands for; what [`Json::of`] wrote is read again, but for the last digit of a float.
    ///
    /// # Errors
    /// If it stands for something else.
    pub fn read<'s, T: Deserialize<'s>>(&'s self) -> Result<T, crate::Error> {
        serde_json::from_str(&self.0).map_err(|error| crate::Error::fatal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_survives_the_calendar() {
        for days in (-800_000..800_000).step_by(13) {
            let (year, month, day) = Date(days).ymd();
            assert_eq!(Date::from_ymd(year, month, day), Some(Date(days)));
        }
        assert_eq!(Date::from_ymd(2000, 2, 29), Some(Date(11_016)));
        assert_eq!(Date::from_ymd(1900, 2, 29), None);
        assert_eq!(Date::from_ymd(2026, 13, 1), None);
        assert_eq!(Date(-1).to_string(), "1969-12-31");
        assert_eq!(Date(2_932_897).to_string(), "10000-01-01");
        assert_eq!(Date(-719_529).to_string(), "-001-12-31");
    }

    #[test]
    fn a_timestamp_is_read_as_it_is_written() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-05-25T12:34:56.789Z",
            "1969-12-31T23:59:59.999999Z",
            "0001-02-03T04:05:06.007Z",
            "9999-12-31T23:59:59.000001Z",
        ] {
            let parsed: Timestamp = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
        let offset: Timestamp = "2026-05-25T14:34:56+02:00".parse().expect("an offset");
        assert_eq!(offset.to_string(), "2026-05-25T12:34:56Z");
        assert!("2026-05-25".parse::<Timestamp>().is_err());
        assert!("2026-05-25T25:00:00Z".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_decimal_is_exact_or_refused() {
        assert_eq!(read_decimal("-12.3", 10, 2), Some(-1230));
        assert_eq!(read_decimal("0.05", 10, 2), Some(5));
        assert_eq!(read_decimal("1.000", 3, 2), Some(100));
        assert_eq!(read_decimal("0.005", 10, 2), None);
        assert_eq!(read_decimal("99999999.5", 9, 2), None);
        for bad in ["", "-", ".5", "1e3", "1.2.3", "+1", "1_0"] {
            assert_eq!(read_decimal(bad, 10, 2), None, "{bad}");
        }
        assert_eq!(Decimal::<10, 2>(-5).to_string(), "-0.05");
        assert_eq!(Decimal::<10, 0>(7).to_string(), "7");
    }
}
