//! Removing tenants.

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::token::Caller;
use super::catalog::{pipeline, plugin, tenant};
use super::refusal::Refusal;
use crate::ids::TenantId;
use crate::plugin::forget;

impl Service {
    /// Removes a tenant that has no pipelines, with all it has: tokens, plugins, secrets, local files, the account of what it used. What was
    /// changed stays in the audit log.
    ///
    /// # Errors
    /// When there is none, or it has pipelines.
    pub fn remove_tenant(&self, caller: &Caller, name: &TenantId) -> Result<(), Refusal> {
        // Nothing is to be written of what a tenant has used that is no longer there.
        self.keep_usage();
        let telling = self.telling.of(name);
        let mut components = self.folder.components();
        let (gone, unused) = self.catalog.change(|db| {
            tenant::get(db, name)?;
            let pipelines = pipeline::list(db, name)?;
            if !pipelines.is_empty() {
                let names = pipelines.iter().map(|pipeline| pipeline.name.as_str());
                let names: Vec<_> = names.collect();
                let message = format!("tenant `{name}` has pipelines: {}", names.join(", "));
                return Err(Refusal::conflict(message).help(
                    "remove them first: `wasmill pipeline stop`, then `wasmill pipeline rm`",
                ));
            }
            let digests = plugin::digests(db, name)?;
            tenant::remove(db, name)?;
            let line = Change::of(caller, name, "tenant rm", name.as_str());
            audit::write(db, &line)?;
            let mut unused = Vec::new();
            for digest in digests {
                if !plugin::is_used(db, digest)? {
                    unused.push(digest);
                }
            }
            // In the same transaction, so that no new tenant of the name finds files.
            Ok((self.folder.take_tenant(name)?, unused))
        })?;
        for digest in &unused {
            self.drop_component(&mut components, *digest)?;
        }
        forget(&self.folder.cache(), |digest| unused.contains(&digest))?;
        self.jobs.forget(name);
        drop((telling, components));
        // Deleting them can take long, and nobody waits for that.
        Ok(gone.close()?)
    }
}
