//! How a body comes in: whole, no larger than it may be, in time, and not so slowly that it holds a place that others wait for.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::header;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::server::refusal::{Code, Refusal};

/// Bytes a second that anyone can send: the slowest line on which a component of some megabytes comes in time at all.
const SLOWEST: u64 = 64 << 10;
/// A moment in which nothing comes is no slow line.
const GRACE: Duration = Duration::from_secs(10);

/// The request with all of its body.
///
/// # Errors
/// When that is larger than `most`, has not come within `timeout`, or comes more slowly than it has to.
pub async fn received(
    request: Request,
    most: usize,
    timeout: Duration,
) -> Result<Request, Refusal> {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    let bytes = whole(body.into_data_stream(), most, timeout).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

async fn whole(
    mut body: BodyDataStream,
    most: usize,
    timeout: Duration,
) -> Result<Vec<u8>, Refusal> {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    loop {
        let patience = patience(bytes.len() as u64, timeout);
        let Ok(piece) = timeout_at(begun + patience, body.next()).await else {
            let message = match patience == timeout {
                true => format!("not all of the request had come in after {timeout:?}"),
                false => format!(
                    "{} bytes of the request had come in after {patience:?}, and no more",
                    bytes.len()
                ),
            };
            return Err(Refusal::new(Code::Timeout, message));
        };
        let Some(piece) = piece else {
            return Ok(bytes);
        };
        let piece = piece
            .map_err(|error| Refusal::invalid(format!("the body did not come in: {error}")))?;
        if piece.len() > most - bytes.len() {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&piece);
    }
}

/// How long after its beginning a request may have brought no more than this.
fn patience(bytes: u64, timeout: Duration) -> Duration {
    let needed = Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST);
    (GRACE + needed).min(timeout)
}

fn too_large(most: usize) -> Refusal {
    let message = format!("more was sent than the {} MiB that this takes", most >> 20);
    Refusal::new(Code::TooLarge, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_has_as_long_as_a_slow_line_takes_and_no_longer_than_all_have() {
        let minute = Duration::from_secs(60);
        assert_eq!(patience(0, minute), GRACE);
        assert_eq!(patience(10 * SLOWEST, minute), 2 * GRACE);
        assert_eq!(patience(1 << 40, minute), minute);
        let short = Duration::from_millis(200);
        assert_eq!(patience(0, short), short);
    }
}
