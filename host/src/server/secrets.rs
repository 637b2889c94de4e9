//! Secrets of tenants: encrypted in the catalog with a key that is not in it, and in the clear for the tenant's runner alone.

use std::collections::BTreeSet;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::secret::{self, Sealed, SecretView};
use super::catalog::tenant;
use super::catalog::token::Caller;
use super::refusal::Refusal;
use crate::error::Failure;
use crate::ids::{SecretName, TenantId};
use crate::key_file;
use crate::secret::{SecretText, Secrets};

/// Shorter ones are guessed, and could not be told from other text where they are to be hidden.
const LEAST: usize = 8;
/// A chain of certificates with its key fits.
const MOST: usize = 16 << 10;
/// That a tenant may have: all of them together go to its runner in one line, which is shorter than the longest that it reads.
const COUNT: usize = 100;

/// What secrets are encrypted with.
pub struct Vault(LessSafeKey);

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// With the key in a file, made at the first start.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            let path = path.display();
            Failure::external(format!("the key of secrets, {path}, cannot be used: {error}"))
                .help("with another key than theirs, secrets that are there are lost: put the file back as it was")
        };
        let key = key_file::open(path).map_err(|error| failed(&error))?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|error| failed(&error))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    fn seal(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        text: &SecretText,
    ) -> Result<Sealed, Refusal> {
        // Random: of so few there are never two alike.
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(Refusal::internal)?;
        let mut bytes = text.reveal().as_bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(unique, place(tenant, name), &mut bytes)
            .map_err(Refusal::internal)?;
        Ok(Sealed([&nonce[..], &bytes].concat()))
    }

    /// Nothing if it was not sealed with this key, or for another place.
    fn unseal(&self, tenant: &TenantId, name: &SecretName, sealed: Sealed) -> Option<SecretText> {
        let (nonce, bytes) = sealed.0.split_at_checked(NONCE_LEN)?;
        let (nonce, mut bytes) = (
            Nonce::try_assume_unique_for_key(nonce).ok()?,
            bytes.to_vec(),
        );
        let text = self.0.open_in_place(nonce, place(tenant, name), &mut bytes);
        let text = String::from_utf8(text.ok()?.to_vec()).ok()?;
        Some(SecretText::new(text))
    }
}

/// What a secret is bound to: put into another's row, it cannot be read.
fn place(tenant: &TenantId, name: &SecretName) -> Aad<Vec<u8>> {
    // No name has a slash in it.
    Aad::from(format!("{tenant}/{name}").into_bytes())
}

impl Service {
    /// A tenant's secrets, without what they say.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn secret_views(&self, tenant: &TenantId) -> Result<Vec<SecretView>, Refusal> {
        self.catalog.read(|db| secret::list(db, tenant))
    }

    /// The names of a tenant's secrets.
    pub(super) fn secret_names(&self, tenant: &TenantId) -> Result<BTreeSet<SecretName>, Refusal> {
        let views = self.secret_views(tenant)?.into_iter();
        Ok(views.map(|view| view.name).collect())
    }

    /// Sets one. It counts for every run that starts from then on.
    ///
    /// # Errors
    /// When it is too short or too long, or there are too many.
    pub fn set_secret(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &SecretName,
        text: &SecretText,
    ) -> Result<(), Refusal> {
        if !(LEAST..=MOST).contains(&text.reveal().len()) {
            let message = format!("a secret has {LEAST} to {MOST} bytes");
            return Err(Refusal::invalid(message));
        }
        let sealed = self.vault.seal(tenant, name, text)?;
        self.catalog.change(|db| {
            tenant::get(db, tenant)?;
            let known = secret::list(db, tenant)?;
            if known.len() >= COUNT && known.iter().all(|known| known.name != *name) {
                let message = format!("the tenant has {COUNT} secrets, and may have no more");
                return Err(Refusal::conflict(message).help("remove one that no pipeline needs"));
            }
            secret::set(db, tenant, name, &sealed, &caller.who)?;
            audit::write(db, &Change::of(caller, tenant, "secret set", name.as_str()))
        })?;
        self.tell_terms(tenant).map(drop)
    }

    /// Removes one. Runs that have it keep it to their end.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_secret(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &SecretName,
    ) -> Result<(), Refusal> {
        self.catalog.change(|db| {
            secret::remove(db, tenant, name)?;
            audit::write(db, &Change::of(caller, tenant, "secret rm", name.as_str()))
        })?;
        self.tell_terms(tenant).map(drop)
    }

    /// All of a tenant's, in the clear. One that cannot be read is left out, and the log says so.
    pub(super) fn secrets(&self, tenant: &TenantId) -> Result<Secrets, Refusal> {
        let sealed = self.catalog.read(|db| secret::sealed(db, tenant))?;
        let opened = sealed.into_iter().filter_map(|(name, sealed)| {
            let text = self.vault.unseal(tenant, &name, sealed);
            if text.is_none() {
                tracing::error!(%tenant, secret = %name, "a secret cannot be read with this server's key: set it again");
            }
            Some((name, text?))
        });
        Ok(opened.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_with_its_key_and_in_its_place_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [key, other] = ["a", "b"].map(|name| folder.path().join(name));
        let tenants = ["acme", "other"].map(|name| TenantId::parse(name).unwrap());
        let names = ["token", "password"].map(|name| SecretName::parse(name).unwrap());
        let text = SecretText::new("correct horse".to_owned());
        let vault = Vault::open(&key).unwrap();
        let sealed = vault.seal(&tenants[0], &names[0], &text).unwrap();
        let shown = String::from_utf8_lossy(&sealed.0).into_owned();
        assert!(!shown.contains("horse"));
        let again = vault.seal(&tenants[0], &names[0], &text).unwrap();
        assert_ne!(sealed.0, again.0, "nobody sees that two are the same");

        let open = |vault: &Vault, tenant: usize, name: usize| {
            vault.unseal(&tenants[tenant], &names[name], Sealed(sealed.0.clone()))
        };
        let restarted = Vault::open(&key).unwrap();
        assert_eq!(open(&restarted, 0, 0), Some(text));
        assert_eq!(open(&vault, 1, 0), None);
        assert_eq!(open(&vault, 0, 1), None);
        assert_eq!(open(&Vault::open(&other).unwrap(), 0, 0), None);
        for at in 0..sealed.0.len() {
            let mut flipped = sealed.0.clone();
            flipped[at] ^= 1;
            assert_eq!(vault.unseal(&tenants[0], &names[0], Sealed(flipped)), None);
        }
    }
}
