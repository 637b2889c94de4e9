//! How much of what is dear goes on at once: over all tenants, and of each so few that it leaves room for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::TenantId;
use crate::server::refusal::{Code, Refusal};

/// So many requests of a tenant wait for a place; more are told to come again.
const WAITING: usize = 16;

/// Places for one kind of work.
#[derive(Debug)]
pub struct Turns {
    of_all: Arc<Semaphore>,
    places_of_a_tenant: usize,
    of_tenants: Mutex<HashMap<TenantId, Own>>,
}

/// What a tenant has.
#[derive(Clone, Debug)]
struct Own {
    places: Arc<Semaphore>,
    /// To wait in.
    queue: Arc<Semaphore>,
}

/// A place, until the last of its clones is dropped.
#[derive(Clone, Debug)]
pub struct Turn {
    _of_tenant: Arc<OwnedSemaphorePermit>,
    _of_all: Arc<OwnedSemaphorePermit>,
}

impl Turns {
    /// So many places, and so many of them for one tenant.
    pub fn new(places: usize, places_of_a_tenant: usize) -> Self {
        Self {
            of_all: Arc::new(Semaphore::new(places)),
            places_of_a_tenant,
            of_tenants: Mutex::default(),
        }
    }

    /// Waits for a place; a tenant waits for its own work before it waits for that of others.
    ///
    /// # Errors
    /// When there is none within `patience`, or too many of the tenant's wait already.
    pub async fn turn(&self, tenant: &TenantId, patience: Duration) -> Result<Turn, Refusal> {
        let own = self.of_tenant(tenant);
        let _queued = own.queue.try_acquire_owned().map_err(|_| busy())?;
        let places = async {
            let of_tenant = own.places.acquire_owned().await;
            let of_tenant = of_tenant.map_err(Refusal::internal)?;
            let of_all = self.of_all.clone().acquire_owned().await;
            Ok(Turn {
                _of_tenant: Arc::new(of_tenant),
                _of_all: Arc::new(of_all.map_err(Refusal::internal)?),
            })
        };
        tokio::time::timeout(patience, places)
            .await
            .unwrap_or_else(|_| Err(busy()))
    }

    fn of_tenant(&self, tenant: &TenantId) -> Own {
        let tenants = self.of_tenants.lock();
        let mut tenants = tenants.unwrap_or_else(PoisonError::into_inner);
        let own = tenants.entry(tenant.clone()).or_insert_with(|| Own {
            places: Arc::new(Semaphore::new(self.places_of_a_tenant)),
            queue: Arc::new(Semaphore::new(WAITING)),
        });
        own.clone()
    }
}

fn busy() -> Refusal {
    Refusal::new(Code::Busy, "too much of this is being done at once").help("try again in a minute")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    fn tenant(n: usize) -> TenantId {
        TenantId::parse(&format!("t{n}")).unwrap()
    }

    #[tokio::test]
    async fn a_tenant_takes_no_more_than_its_places_and_all_no_more_than_there_are() {
        let turns = Turns::new(8, 2);
        let mut taken = Vec::new();
        for n in 0..4 {
            for _ in 0..2 {
                taken.push(turns.turn(&tenant(n), NOW).await.unwrap());
            }
            let refused = turns.turn(&tenant(n), NOW).await.unwrap_err();
            assert_eq!(refused.code, Code::Busy);
        }
        assert!(turns.turn(&tenant(99), NOW).await.is_err());
        taken.remove(0);
        // The place is anyone's.
        turns.turn(&tenant(99), NOW).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_too_many_waiting_is_told_so_at_once_and_others_are_not() {
        let turns = Arc::new(Turns::new(2, 1));
        let taken = turns.turn(&tenant(0), LONG).await.unwrap();
        let wait = || {
            let turns = turns.clone();
            tokio::spawn(async move { turns.turn(&tenant(0), LONG).await.map(drop) })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| wait()).collect();
        while turns.of_tenant(&tenant(0)).queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = turns.turn(&tenant(0), LONG).await.unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        turns.turn(&tenant(1), LONG).await.unwrap();
        drop(taken);
        for one in waiting {
            one.await.unwrap().unwrap();
        }
    }
}
