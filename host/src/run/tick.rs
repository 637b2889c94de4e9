//! The time of epochs: ticks of the interval on the machine's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ids::BatchTime;

/// The time of an epoch that is cut now: the interval's last tick since 1970, unless there was an epoch since then. So windows whose lengths are
/// multiples of the interval end at epochs, as Spark's do.
pub fn batch_time(now: i64, interval: Option<Duration>, last: BatchTime) -> BatchTime {
    let interval = interval.and_then(|interval| i64::try_from(interval.as_millis()).ok());
    let tick = match interval {
        Some(interval) if interval > 0 => now - now.rem_euclid(interval),
        _ => now,
    };
    let time = if tick > last.0 { tick } else { now };
    BatchTime(time.max(last.0.saturating_add(1)))
}

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    // A clock before 1970 is as good as one at 1970: batch times only have to grow.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_have_the_time_of_their_tick_and_those_between_ticks_their_own() {
        let second = Some(Duration::from_secs(1));
        let time = |now, last| batch_time(now, second, BatchTime(last)).0;
        assert_eq!(time(5003, 4000), 5000);
        assert_eq!(time(5400, 5000), 5400);
        assert_eq!(time(5400, 5400), 5401);
        assert_eq!(time(9999, 5401), 9000);
        assert_eq!(batch_time(5003, None, BatchTime(4000)), BatchTime(5003));
    }
}
