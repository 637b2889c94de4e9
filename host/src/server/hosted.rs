//! From a tenant's pipeline file to a folder that a runner can run: checked as `wasmill check` does, within what the tenant may have.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

use super::Service;
use super::catalog::pipeline::PluginUse;
use super::catalog::plugin::{self, Pick, PluginVersion, Reference};
use super::catalog::tenant::Tenant;
use super::folder;
use super::refusal::{Code, Diagnostic, Refusal};
use crate::checkpoint;
use crate::config::{self, Confines};
use crate::error::Failure;
use crate::ids::{PipelineName, TenantId};
use crate::pipeline::confined::{ConfinedFile, Passed, Verdict, plugins_named};

/// A pipeline that has passed its check, in a folder that goes unless it is placed.
pub struct Staged {
    /// `pipeline.toml`, and its plugins as it calls them. Most are only looked at, so nothing has been synced.
    pub folder: TempDir,
    /// What would run, node by node, as people read it.
    pub shown: String,
    /// What its checkpoint has to know of it.
    pub definition: checkpoint::Definition,
    /// The plugins that it is made of.
    pub plugins: Vec<PluginUse>,
    /// What is probably not as it is meant.
    pub warnings: Vec<Diagnostic>,
}

impl Staged {
    /// Makes what is in its folder durable, before it is placed; plugins are links to what is.
    pub(super) fn sync(&self) -> io::Result<()> {
        let folder = self.folder.path();
        for part in [folder.join(FILE), folder.join(PLUGINS), folder.into()] {
            folder::sync(&part)?;
        }
        Ok(())
    }
}

/// How problems call the file: where it lies on the server is nobody's business.
const FILE: &str = "pipeline.toml";
const PLUGINS: &str = "plugins";

impl Service {
    /// Checks a pipeline file of a tenant. `pinned` are the plugins of a version that was applied before, which its file means for good.
    ///
    /// # Errors
    /// When it cannot run, or asks for what the tenant may not have.
    pub(super) fn stage(
        &self,
        tenant: &Tenant,
        name: &PipelineName,
        text: &str,
        pinned: &[PluginUse],
    ) -> Result<Staged, Refusal> {
        let staging = self.folder.stage()?;
        let finder = Finder {
            service: self,
            tenant: &tenant.name,
            pinned,
            plugins: staging.path().join(PLUGINS),
            found: RefCell::default(),
        };
        fs::create_dir(&finder.plugins)?;
        let file = self.folder.files(&tenant.name)?.join(FILE);
        let confines = Confines {
            addresses: tenant.policy.allow_addresses.clone(),
            http: tenant.policy.allow_http.clone(),
        };
        let named = plugins_named(text).into_iter();
        let question = ConfinedFile {
            path: file,
            text: text.to_owned(),
            appendix: self.rejected_table(&tenant.name, name, text),
            confines,
            secrets: self.secret_names(&tenant.name)?,
            plugins: named
                .map(|written| (written.clone(), finder.find(&written)))
                .collect(),
        };
        let verdict = self.vet(&question)?;
        let problems = verdict.problems;
        let diagnostics = problems.iter().map(|one| Diagnostic::of(text, one));
        let diagnostics = diagnostics.collect();
        let Some(passed) = verdict.passed else {
            return Err(Refusal {
                diagnostics,
                drawn: Some(config::render(&problems, FILE, text, false)),
                ..Refusal::new(Code::Invalid, "the pipeline cannot run as it is written")
            });
        };
        if passed.definition.record.name != *name {
            let message = format!(
                "the file calls its pipeline `{}`, and not `{name}`",
                passed.definition.record.name
            );
            return Err(Refusal::invalid(message));
        }
        fs::write(staging.path().join(FILE), &verdict.whole)?;
        Ok(Staged {
            plugins: uses(&passed, &finder.found.into_inner()),
            folder: staging,
            shown: passed.shown,
            definition: passed.definition,
            warnings: diagnostics,
        })
    }

    /// Has it checked in a process of its own, since checking lets plugins describe themselves.
    fn vet(&self, file: &ConfinedFile) -> Result<Verdict, Refusal> {
        let cache = self.folder.cache();
        let arguments = ["vet".as_ref(), "--cache".as_ref(), cache.as_os_str()];
        Ok(self.program.ask("check", &arguments, file)?)
    }
}

/// Finds plugins in the tenant's catalog and nowhere else, and puts them beside the file under the names that it has for them.
struct Finder<'a> {
    service: &'a Service,
    tenant: &'a TenantId,
    pinned: &'a [PluginUse],
    plugins: PathBuf,
    /// By reference.
    found: RefCell<BTreeMap<String, PluginVersion>>,
}

impl Finder<'_> {
    fn find(&self, written: &str) -> Result<PathBuf, Failure> {
        let mut reference = Reference::parse(written)?;
        let link = self.plugins.join(format!("{written}.wasm"));
        if self.found.borrow().contains_key(written) {
            return Ok(link);
        }
        if let Some(pinned) = self.pinned.iter().find(|one| one.reference == written) {
            reference.pick = Pick::Version(pinned.version);
        }
        // Nobody removes it before it is linked.
        let _components = self.service.folder.components();
        let catalog = &self.service.catalog;
        let version = catalog
            .read(|db| plugin::find(db, self.tenant, &reference))
            .map_err(|refusal| Failure {
                help: refusal.help,
                ..Failure::user(refusal.message)
            })?;
        fs::hard_link(self.service.folder.component(version.digest), &link).map_err(|error| {
            tracing::error!(digest = %version.digest, "a component cannot be linked: {error}");
            Failure::external(format!(
                "the server has lost the component of plugin `{written}`"
            ))
        })?;
        self.found.borrow_mut().insert(written.to_owned(), version);
        Ok(link)
    }
}

/// Which plugin each node is.
fn uses(passed: &Passed, found: &BTreeMap<String, PluginVersion>) -> Vec<PluginUse> {
    let reference = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let components = &passed.definition.code.components;
    let uses = components.iter().filter_map(|(node, component)| {
        let reference = reference(&component.path)?;
        let version = found.get(&reference)?;
        Some(PluginUse {
            node: node.to_string(),
            reference,
            plugin: version.name.clone(),
            version: version.version,
            digest: version.digest.to_string(),
            capabilities: version.capabilities.clone(),
        })
    });
    uses.collect()
}
