//! Parses the access logs of Apache and nginx, in the combined or the common format, into typed columns.
//!
//! ```toml
//! [steps.requests]
//! input = "lines"
//! plugin = "access-log"
//! ```
//!
//! It reads the column that `column` names, else `line`, else the first text column. A line that is not of the format is
//! rejected with what was expected. A dash becomes null. Quotes that the server escaped stay as it wrote them.
//!
//! Fourth lesson: a map over typed rows. The texts of a `Request` are pieces of the line; only the numbers and the time are
//! made. A method that cannot go on says why with `reject`, and `?` hands that up.

use wasmill_sdk::prelude::*;
use wasmill_sdk::{Date, Timestamp};

#[derive(Record)]
struct Line<'a> {
    #[record(setting = "column", or_first)]
    line: &'a str,
}

/// One request.
#[derive(Record, Debug, PartialEq)]
struct Request<'a> {
    host: &'a str,
    user: Option<&'a str>,
    time: Timestamp,
    method: Option<&'a str>,
    /// All of the request line if that is not of three words.
    path: Option<&'a str>,
    protocol: Option<&'a str>,
    status: i64,
    bytes: Option<i64>,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
}

fn parse(row: Line<'_>) -> Result<Request<'_>, Reject> {
    let mut rest = Rest(row.line);
    let host = rest.word("the client's host")?;
    rest.word("the client's identity")?;
    let user = rest.word("the user")?;
    let time = rest.enclosed('[', ']', "the time")?;
    let request = rest.enclosed('"', '"', "the request")?;
    let status = rest.word("the status")?;
    let bytes = rest.word("the bytes sent")?;
    let (referer, user_agent) = if rest.0.is_empty() {
        (None, None) // the common format
    } else {
        let referer = rest.enclosed('"', '"', "the referer")?;
        (
            Some(referer),
            Some(rest.enclosed('"', '"', "the user agent")?),
        )
    };
    let mut words = request.split(' ');
    let (method, path, protocol) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(path), Some(protocol), None) => {
            (Some(method), Some(path), Some(protocol))
        }
        _ => (None, Some(request), None),
    };
    Ok(Request {
        host,
        user: Some(user).filter(given),
        time: read_time(time)
            .ok_or_else(|| format!("`{time}` is not a time as 10/Oct/2000:13:55:36 -0700"))?,
        method,
        path: path.filter(given),
        protocol,
        status: status
            .parse()
            .map_err(|_| format!("`{status}` is not a status"))?,
        bytes: Some(bytes)
            .filter(given)
            .map(|bytes| {
                bytes
                    .parse()
                    .map_err(|_| format!("`{bytes}` is not a number of bytes"))
            })
            .transpose()?,
        referer: referer.filter(given),
        user_agent: user_agent.filter(given),
    })
}

/// The log writes a dash for what it does not know.
fn given(text: &&str) -> bool {
    *text != "-"
}

/// The part of the line that is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn word(&mut self, what: &str) -> Result<&'a str, Reject> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        if word.is_empty() {
            return reject(format!("{what} is missing"));
        }
        self.0 = rest;
        Ok(word)
    }

    /// A text in brackets or quotes; a backslash takes the meaning from what follows it.
    fn enclosed(&mut self, open: char, close: char, what: &str) -> Result<&'a str, Reject> {
        let Some(text) = self.0.strip_prefix(open) else {
            return reject(format!("{what} in {open}{close} is missing"));
        };
        let mut escaped = false;
        let end = text.find(|c| {
            let ends = c == close && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else {
            return reject(format!("{what} has no end"));
        };
        let rest = &text[end + 1..];
        self.0 = rest.strip_prefix(' ').unwrap_or(rest);
        Ok(&text[..end])
    }
}

/// Reads `10/Oct/2000:13:55:36 -0700`.
fn read_time(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (local, zone) = text.split_once(' ')?;
    let (date, clock) = local.split_once(':')?;
    let mut date = date.splitn(3, '/');
    let day = date.next()?.parse().ok()?;
    let month = date.next()?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let date = Date::from_ymd(date.next()?.parse().ok()?, month, day)?;
    let mut clock = clock.splitn(3, ':').map(|part| part.parse().ok());
    let local =
        Timestamp::from_date_and_time(date, clock.next()??, clock.next()??, clock.next()??, 0)?;
    let zone: i64 = (zone.len() == 5).then(|| zone.parse().ok())??; // +hhmm, read as one number
    let minutes = zone / 100 * 60 + zone % 100;
    Some(Timestamp(local.0 - minutes * 60_000_000))
}

export_transform!(map: parse);

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing;

    use super::*;

    fn run(lines: &[&str]) -> testing::Run {
        let rows = lines.iter().map(|line| Line { line });
        testing::transform::<Plugin>()
            .rows(rows)
            .run()
            .expect("the input has a text column")
    }

    #[test]
    fn a_line_of_the_combined_format_becomes_typed_columns() {
        let run = run(&[
            r#"192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /a?b=1 HTTP/1.0" 200 2326 "http://example.com/\"q\"" "Agent/1.0 (x)""#,
        ]);
        assert_eq!(
            run.json("out"),
            [
                r#"{"host":"192.0.2.7","user":"frank","time":"2000-10-10T20:55:36Z","method":"GET","path":"/a?b=1","protocol":"HTTP/1.0","status":200,"bytes":2326,"referer":"http://example.com/\\\"q\\\"","user_agent":"Agent/1.0 (x)"}"#
            ]
        );
    }

    #[test]
    fn what_the_log_does_not_know_is_null() {
        let run = run(&[
            r#"::1 - - [01/Jan/2026:00:30:00 +0530] "-" 408 - "-" "-""#,
            r#"::1 - - [01/Jan/2026:00:30:00 +0000] "\x16\x03" 400 0"#,
        ]);
        let rows: Vec<Request> = run.rows("out");
        assert_eq!(rows[0].time.to_string(), "2025-12-31T19:00:00Z");
        assert_eq!(
            (rows[0].user, rows[0].method, rows[0].path, rows[0].bytes),
            (None, None, None, None)
        );
        assert_eq!((rows[0].referer, rows[0].user_agent), (None, None));
        assert_eq!(
            (rows[1].path, rows[1].bytes, rows[1].user_agent),
            (Some(r"\x16\x03"), Some(0), None)
        );
    }

    #[test]
    fn a_line_of_another_kind_is_rejected_with_what_was_expected() {
        let run = run(&[
            "",
            "[warn] worker started",
            r#"::1 - - [32/Jan/2026:00:30:00 +0000] "GET / HTTP/1.1" 200 1"#,
            r#"::1 - - [01/Jan/2026:00:30:00 +0000] "GET / HTTP/1.1 200 1"#,
            r#"::1 - - [01/Jan/2026:00:30:00 +0000] "GET / HTTP/1.1" ok 1"#,
        ]);
        let reasons: Vec<&str> = run
            .rejected()
            .into_iter()
            .map(|(_, reason)| reason)
            .collect();
        assert_eq!(
            reasons,
            [
                "the client's host is missing",
                "the time in [] is missing",
                "`32/Jan/2026:00:30:00 +0000` is not a time as 10/Oct/2000:13:55:36 -0700",
                "the request has no end",
                "`ok` is not a status",
            ]
        );
    }
}
