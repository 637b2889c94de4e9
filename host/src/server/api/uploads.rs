//! How many components come in at once. Each is held in memory, as large as it may be, so who comes while others send waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::TenantId;
use crate::server::refusal::{Code, Refusal};

/// Half a gigabyte of the largest.
const AT_ONCE: usize = 8;
/// Few enough that one tenant leaves room for others.
const AT_ONCE_OF_A_TENANT: usize = 2;

/// The places that there are.
#[derive(Debug)]
pub struct Uploads {
    all: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// A place, until the last of its clones is dropped.
#[derive(Clone, Debug)]
pub struct Turn {
    _of_tenant: Arc<OwnedSemaphorePermit>,
    _of_all: Arc<OwnedSemaphorePermit>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            of_tenants: Mutex::default(),
        }
    }
}

impl Uploads {
    /// Waits for a place; a tenant waits for its own uploads before it waits for those of others.
    ///
    /// # Errors
    /// When there is none within `patience`.
    pub async fn turn(&self, tenant: &TenantId, patience: Duration) -> Result<Turn, Refusal> {
        let own = self.of_tenant(tenant);
        let places = async {
            let of_tenant = own.acquire_owned().await.map_err(Refusal::internal)?;
            let of_all = self.all.clone().acquire_owned().await;
            Ok(Turn {
                _of_tenant: Arc::new(of_tenant),
                _of_all: Arc::new(of_all.map_err(Refusal::internal)?),
            })
        };
        tokio::time::timeout(patience, places)
            .await
            .unwrap_or_else(|_| Err(busy()))
    }

    fn of_tenant(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self
            .of_tenants
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let own = tenants
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_OF_A_TENANT)));
        own.clone()
    }
}

fn busy() -> Refusal {
    Refusal::new(Code::Busy, "too many components are being pushed at once")
        .help("try again in a minute")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_tenant_takes_no_more_than_its_places_and_all_no_more_than_there_are() {
        let uploads = Uploads::default();
        let tenant = |n: usize| TenantId::parse(&format!("t{n}")).unwrap();
        let mut turns = Vec::new();
        for n in 0..AT_ONCE / AT_ONCE_OF_A_TENANT {
            for _ in 0..AT_ONCE_OF_A_TENANT {
                turns.push(uploads.turn(&tenant(n), NOW).await.unwrap());
            }
            let refused = uploads.turn(&tenant(n), NOW).await.unwrap_err();
            assert_eq!(refused.code, Code::Busy);
        }
        assert!(uploads.turn(&tenant(99), NOW).await.is_err());
        turns.remove(0);
        // The place is anyone's.
        uploads.turn(&tenant(99), NOW).await.unwrap();
    }
}
