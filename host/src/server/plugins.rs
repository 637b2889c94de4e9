//! Pushing, pulling and removing plugins.

use std::fs::{self, File};

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::plugin::{self, Component, Pick, PluginVersion, Reference};
use super::catalog::tenant;
use super::catalog::token::Caller;
use super::folder::Components;
use super::refusal::Refusal;
use super::signature;
use crate::config::format_size;
use crate::ids::{Digest, PluginName, TenantId};
use crate::plugin::component::About;
use crate::plugin::{capabilities, compile, forget};

impl Service {
    /// Gives a component the next version of a name. The same component again is the version that it was.
    ///
    /// # Errors
    /// When it is no plugin, or not signed as it has to be.
    pub fn push(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PluginName,
        bytes: &[u8],
        signature: Option<&str>,
    ) -> Result<PluginVersion, Refusal> {
        let digest = Digest::of(bytes);
        let (policy, others) = self.catalog.read(|db| {
            let policy = tenant::get(db, tenant)?.policy;
            Ok((policy, plugin::bytes(db, tenant, Some(digest))?))
        })?;
        allow_bytes(others + bytes.len() as u64, policy.max_plugin_bytes)?;
        let signed = signature::check(&policy, bytes, signature)?;
        let about = self.compile(name, bytes)?;
        let component = Component {
            digest,
            world: about.world.interface().into(),
            contract: about.version,
            size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            capabilities: capabilities(&about.imports),
            signed,
        };
        let mut components = self.folder.components();
        if let Some(backup) = &self.backup
            && !self.folder.component(digest).exists()
        {
            backup.keep(digest, bytes)?;
        }
        components.keep(digest, bytes)?;
        self.catalog.change(|db| {
            // It may have gone while this was compiled.
            tenant::get(db, tenant)?;
            let (version, is_new) = plugin::push(db, tenant, name, &component, &caller.who)?;
            // Another may have come while this one was compiled.
            allow_bytes(plugin::bytes(db, tenant, None)?, policy.max_plugin_bytes)?;
            if is_new {
                let mut after = version.digest.to_string();
                if let Some(key) = &version.signed_by {
                    after.push_str(&format!(" signed by {key}"));
                }
                let subject = format!("{name}@{}", version.version);
                let change = Change {
                    after: Some(&after),
                    ..Change::of(caller, tenant, "plugin push", &subject)
                };
                audit::write(db, &change)?;
            }
            Ok(version)
        })
    }

    /// Removes components that no version names, and code: of a push that a crash has cut short, or whose change was not kept.
    pub(super) fn sweep(&self) -> Result<(), Refusal> {
        let is_unused = |digest| {
            let is_used = self.catalog.read(|db| plugin::is_used(db, digest));
            is_used.is_ok_and(|is_used| !is_used)
        };
        forget(&self.folder.cache(), is_unused)?;
        let mut components = self.folder.components();
        for digest in components.all()? {
            if !self.catalog.read(|db| plugin::is_used(db, digest))? {
                self.drop_component(&mut components, digest)?;
                tracing::info!(%digest, "a component that nobody names was removed");
            }
        }
        Ok(())
    }

    /// Removes a component that no version names.
    pub(super) fn drop_component(
        &self,
        components: &mut Components,
        digest: Digest,
    ) -> Result<(), Refusal> {
        components.remove(digest)?;
        match &self.backup {
            Some(backup) => Ok(backup.remove(digest)?),
            None => Ok(()),
        }
    }

    /// Has it compiled in a process of its own: there is code of whatever has a version, and what cannot be compiled never gets one.
    fn compile(&self, name: &PluginName, bytes: &[u8]) -> Result<About, Refusal> {
        let staging = self.folder.stage()?;
        let file = staging.path().join(format!("{name}.wasm"));
        fs::write(&file, bytes)?;
        Ok(compile(&self.program, &file, &self.folder.cache())?)
    }

    /// The component of a version, and how long it is. It can be read to its end whoever removes it meanwhile.
    ///
    /// # Errors
    /// When there is none.
    pub fn pull(
        &self,
        tenant: &TenantId,
        name: &PluginName,
        number: u32,
    ) -> Result<(File, u64), Refusal> {
        let reference = Reference {
            name: name.clone(),
            pick: Pick::Version(number),
        };
        // Nobody removes it meanwhile.
        let _components = self.folder.components();
        let version = self
            .catalog
            .read(|db| plugin::find(db, tenant, &reference))?;
        let component = File::open(self.folder.component(version.digest))?;
        let length = component.metadata()?.len();
        Ok((component, length))
    }

    /// Removes a version that no pipeline could go back to.
    ///
    /// # Errors
    /// When there is none, or a pipeline is made of it.
    pub fn remove_plugin(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PluginName,
        number: u32,
    ) -> Result<(), Refusal> {
        let mut components = self.folder.components();
        let (digest, is_used) = self.catalog.change(|db| {
            let version = plugin::remove(db, tenant, name, number)?;
            let subject = format!("{name}@{number}");
            let change = Change {
                before: Some(&version.digest.to_string()),
                ..Change::of(caller, tenant, "plugin rm", &subject)
            };
            audit::write(db, &change)?;
            Ok((version.digest, plugin::is_used(db, version.digest)?))
        })?;
        if !is_used {
            self.drop_component(&mut components, digest)?;
            forget(&self.folder.cache(), |other| other == digest)?;
        }
        Ok(())
    }
}

/// Before anything is made of a component, so that one that is too much leaves nothing behind.
fn allow_bytes(all: u64, most: u64) -> Result<(), Refusal> {
    if all <= most {
        return Ok(());
    }
    let most = format_size(most);
    let message = format!("with it the tenant's plugins would take more than {most}");
    Err(Refusal::conflict(message).help(
        "remove versions that no pipeline uses with `wasmill plugin rm`, or ask who runs the server for a larger `max_plugin_bytes`",
    ))
}
