//! Connections, of which one address may hold only so many, and all together no more than the server can serve.
//!
//! Each costs a descriptor and some memory before anyone has said who is calling. One too many is closed at once, which a client takes for a
//! server that is busy; whoever waits without asking anything is hung up on by the time-out of requests.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tower::Layer as _;

/// Those that are open.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_of_one: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    refused: u64,
}

/// That of one connection, as long as anything of it is left.
#[derive(Clone, Debug)]
pub struct Place {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    /// At most so many, and so many of them from one address.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            most_of_one,
            open: Mutex::default(),
        }))
    }

    /// How many are open, and how many were refused since the start.
    pub fn counts(&self) -> (usize, u64) {
        let open = self.open();
        (open.all, open.refused)
    }

    /// The place of a new one, if there is any.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut open = self.open();
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if open.all >= self.0.most || of_address >= self.0.most_of_one {
            open.refused += 1;
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, of_address + 1);
        let connections = self.clone();
        let held = Held {
            connections,
            address,
        };
        Some(Place {
            _held: Arc::new(held),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while holding the lock.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

impl<S> Accept<TcpStream, S> for Connections {
    type Stream = TcpStream;
    /// What answers on the connection keeps its place.
    type Service = AddExtension<S, Place>;
    type Future = Ready<io::Result<(TcpStream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = stream.peer_addr().and_then(|peer| {
            // One address, whichever way it is written.
            let address = peer.ip().to_canonical();
            let place = self.place(address);
            place.ok_or_else(|| io::Error::other("there are too many connections"))
        });
        ready(place.map(|place| (stream, Extension(place).layer(service))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + last))
    }

    #[test]
    fn an_address_has_its_places_and_all_have_no_more_than_there_are() {
        let connections = Connections::new(5, 2);
        let of = |last: u32| connections.place(address(last));
        let first = [of(1).unwrap(), of(1).unwrap()];
        assert!(of(1).is_none());
        let second = [of(2).unwrap(), of(2).unwrap()];
        let third = of(3).unwrap();
        assert!(of(4).is_none());
        assert_eq!(connections.counts(), (5, 2));
        let clone = first[0].clone();
        drop(first);
        // What is left of a connection holds its place.
        assert!(of(1).is_some() && connections.counts() == (4, 2));
        drop((clone, second, third));
        assert_eq!(connections.counts(), (0, 2));
        assert!(connections.open().by_address.is_empty());
    }
}
