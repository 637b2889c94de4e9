//! Wrong tokens, counted by the address that they come from.
//!
//! Nobody guesses 256 bits; what is kept off is the noise, of which every attempt costs a look into the catalog and a line in a log. A right
//! token is let in whatever its neighbours at the address do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are kept in mind; those that have been quiet for longest go first.
const ADDRESSES: usize = 1024;

/// The attempts of the last minute.
#[derive(Debug)]
pub struct Attempts {
    most: u32,
    by_address: Mutex<HashMap<IpAddr, Recent>>,
}

#[derive(Debug)]
struct Recent {
    since: Instant,
    wrong: u32,
}

impl Attempts {
    /// That lets each address be wrong so often in a minute.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            by_address: Mutex::default(),
        }
    }

    /// Counts a wrong token; whether that was one too many.
    pub fn is_too_many(&self, address: IpAddr, now: Instant) -> bool {
        let mut known = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&address) && known.len() >= ADDRESSES {
            let oldest = known.iter().min_by_key(|(_, recent)| recent.since);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                known.remove(&oldest);
            }
        }
        let recent = known.entry(address).or_insert(Recent {
            since: now,
            wrong: 0,
        });
        if now.duration_since(recent.since) >= WINDOW {
            *recent = Recent {
                since: now,
                wrong: 0,
            };
        }
        recent.wrong = recent.wrong.saturating_add(1);
        recent.wrong > self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + last))
    }

    #[test]
    fn an_address_is_heard_again_after_a_minute_and_others_all_along() {
        let attempts = Attempts::new(2);
        let start = Instant::now();
        let one = |now| attempts.is_too_many(address(1), now);
        assert!(!one(start) && !one(start) && one(start));
        assert!(!attempts.is_too_many(address(2), start));
        assert!(one(start + WINDOW / 2));
        assert!(!one(start + WINDOW));
    }

    #[test]
    fn many_addresses_take_no_more_memory_than_some() {
        let attempts = Attempts::new(1);
        let start = Instant::now();
        for number in 0..3 * ADDRESSES as u32 {
            attempts.is_too_many(
                address(number),
                start + Duration::from_millis(number.into()),
            );
        }
        assert_eq!(attempts.by_address.lock().unwrap().len(), ADDRESSES);
    }
}
