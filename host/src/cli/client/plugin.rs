//! `wasmill plugin push` and its kin: plugins on a server, and in OCI registries.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::connection::segment;
use super::registry::{Address, Artefact, Either, Registry, address};
use super::{Connection, Form, Listing, Remote, listing};
use crate::cli::exit::WrongUsage;
use crate::cli::output;
use crate::error::Failure;
use crate::ids::Digest;
use crate::server::catalog::plugin::{Pick, PluginVersion, Reference};

/// Push a component to a server, as the next version of a plugin, or to an OCI registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin push split-words.wasm
  wasmill plugin push split-words.wasm --to oci://ghcr.io/acme/split-words:1.0
  wasmill plugin push oci://ghcr.io/acme/split-words:1.0")]
pub struct Push {
    /// The component's file, or where a registry has it: oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "FILE", value_parser = address::or_file)]
    component: Either<PathBuf>,

    /// The registry to push it to, instead of a server: oci://HOST/REPOSITORY:TAG
    #[arg(long, value_name = "ADDRESS", conflicts_with = "name")]
    to: Option<Address>,

    /// The plugin's name [default: the file's, or the last part of the repository's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What `minisign -Sm` has written to sign it, FILE.minisig [default: what a registry has with the component]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    /// Leave the signature behind that a registry has with the component
    #[arg(long, conflicts_with = "signature")]
    no_signature: bool,

    /// Speak to the registry without TLS, wherever it is; on this machine that is so anyway
    #[arg(long)]
    insecure: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Push {
    /// Pushes.
    ///
    /// # Errors
    /// When the server or the registry refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let signature = self.signature.as_deref().map(read).transpose()?;
        let (component, kept, name) = match (&self.component, &self.to) {
            (Either::Other(file), Some(to)) => return self.publish(file, to, signature),
            (Either::Registry(_), Some(_)) => {
                let failure =
                    Failure::user("`--to` takes a file, and not from registry to registry");
                return Err(WrongUsage(failure.help("`skopeo copy` does that")).into());
            }
            (Either::Other(file), None) => {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                (read(file)?, None, stem.into_owned())
            }
            (Either::Registry(address), None) => {
                let (artefact, _) = Registry::of(address, self.insecure)?.pull()?;
                let signature = artefact.signature.filter(|_| !self.no_signature);
                (artefact.component, signature, address.name().to_owned())
            }
        };
        let signature = signature.or(kept.map(String::into_bytes));
        let name = self.name.unwrap_or(name);
        let connection = Connection::open(&self.remote)?;
        let path = connection.of_tenant(&format!("/plugins/{}", segment(&name)))?;
        let pushed: PluginVersion = connection.put_component(&path, component, signature)?;
        show(&[pushed], self.remote.output)
    }

    /// Pushes a file to a registry. The artefact is as old as the file, so that the same file makes the same artefact.
    fn publish(&self, file: &Path, to: &Address, signature: Option<Vec<u8>>) -> anyhow::Result<()> {
        let written = std::fs::metadata(file).and_then(|file| file.modified());
        let written = written.with_context(|| format!("{} has no date", file.display()))?;
        let signature = signature.map(String::from_utf8).transpose();
        let artefact = Artefact {
            component: read(file)?,
            signature: signature.context("the signature is not text, as minisign writes it")?,
        };
        let registry = Registry::of(to, self.insecure)?;
        let digest = registry.push(&artefact, written.try_into()?)?;
        show_held(to, digest, &artefact, self.remote.output)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, WrongUsage> {
    std::fs::read(file).map_err(|error| {
        let file = file.display();
        WrongUsage(Failure::user(format!("{file} cannot be read: {error}")))
    })
}

/// List the plugins on a server
#[derive(Debug, clap::Args)]
pub struct Ls {
    #[command(flatten)]
    remote: Remote,
}

impl Ls {
    /// Lists.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let list: Vec<PluginVersion> = connection.get(&connection.of_tenant("/plugins")?)?;
        show(&list, self.remote.output)
    }
}

/// A plugin on a server.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// The plugin, or one version of it: NAME, NAME@VERSION
    plugin: String,

    #[command(flatten)]
    remote: Remote,
}

impl Named {
    /// Shows one version, the newest if none is named.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn show(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let (version, _) = find(&connection, &self.plugin)?;
        if self.remote.output == Form::Json {
            return listing::show_json(&version);
        }
        let text = format!(
            "plugin        {}@{}\ndigest        {}\nworld         {}-plugin {}\nsize          {} bytes\nasks for      {}\nsigned by     {}\npushed        {} by {}\n",
            version.name,
            version.version,
            version.digest,
            version.world,
            version.contract,
            version.size,
            asks(&version),
            version.signed_by.as_deref().unwrap_or("nobody"),
            version.pushed,
            version.pushed_by,
        );
        output::write(text.as_bytes())
    }

    /// Lists all versions.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn versions(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let name = segment(&Reference::parse(&self.plugin)?.name.to_string());
        let path = connection.of_tenant(&format!("/plugins/{name}"))?;
        show(
            &connection.get::<Vec<PluginVersion>>(&path)?,
            self.remote.output,
        )
    }

    /// Removes a version.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn rm(self) -> anyhow::Result<()> {
        let Reference {
            name,
            pick: Pick::Version(number),
        } = Reference::parse(&self.plugin)?
        else {
            let failure = Failure::user("only one version is removed at a time");
            return Err(WrongUsage(failure.help("name it: NAME@VERSION")).into());
        };
        let connection = Connection::open(&self.remote)?;
        let path = format!("/plugins/{}/versions/{number}", segment(name.as_str()));
        connection.delete(&connection.of_tenant(&path)?)?;
        output::write(format!("removed {name}@{number}\n").as_bytes())
    }
}

/// Get a component back from a server, or from an OCI registry
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// The plugin, one version of it, or where a registry has it: NAME, NAME@VERSION, oci://HOST/REPOSITORY:TAG
    #[arg(value_parser = address::or_name)]
    plugin: Either<String>,

    /// The file to write [default: NAME.wasm]
    #[arg(long, short, visible_short_alias = 'o', value_name = "FILE")]
    file: Option<PathBuf>,

    /// Where to write its signature as well, for `minisign -V`
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    /// Write over files that are there and hold something else
    #[arg(long)]
    overwrite: bool,

    /// Speak to the registry without TLS, wherever it is; on this machine that is so anyway
    #[arg(long)]
    insecure: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Pull {
    /// Pulls.
    ///
    /// # Errors
    /// When the server or the registry refuses, or the file cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        let name = match &self.plugin {
            Either::Registry(address) => return self.fetch(address),
            Either::Other(name) => name,
        };
        let connection = Connection::open(&self.remote)?;
        let (version, path) = find(&connection, name)?;
        let component = connection.get_bytes(&format!("{path}/component"))?;
        if Digest::of(&component) != version.digest {
            let message = format!("what came is not {}", version.digest);
            let help =
                "something between here and the server, or its disk, has changed it: do not use it";
            return Err(Failure::external(message).help(help).into());
        }
        let signature = match &self.signature {
            Some(_) => Some(connection.get_bytes(&format!("{path}/signature"))?),
            None => None,
        };
        self.keep(version.name.as_str(), &component, signature.as_deref())?;
        show(&[version], self.remote.output)
    }

    fn fetch(&self, address: &Address) -> anyhow::Result<()> {
        let (artefact, digest) = Registry::of(address, self.insecure)?.pull()?;
        let signature = artefact.signature.as_ref().map(String::as_bytes);
        if self.signature.is_some() && signature.is_none() {
            return Err(Failure::user(format!("{address} has no signature")).into());
        }
        self.keep(address.name(), &artefact.component, signature)?;
        show_held(address, digest, &artefact, self.remote.output)
    }

    /// Writes what was pulled to where it is wanted.
    fn keep(&self, name: &str, component: &[u8], signature: Option<&[u8]>) -> anyhow::Result<()> {
        let default = || PathBuf::from(format!("{name}.wasm"));
        let mut files = vec![(self.file.clone().unwrap_or_else(default), component)];
        if let (Some(file), Some(signature)) = (&self.signature, signature) {
            files.push((file.clone(), signature));
        }
        let another = files.iter().find(|(file, bytes)| {
            std::fs::read(file).map_or(file.exists(), |there| there != *bytes)
        });
        if let Some((file, _)) = another.filter(|_| !self.overwrite) {
            let message = format!("{} is there already, and is another", file.display());
            let failure = Failure::user(message).help("name another file, or say --overwrite");
            return Err(WrongUsage(failure).into());
        }
        for (file, bytes) in files {
            std::fs::write(&file, bytes)
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        Ok(())
    }
}

/// The version that is meant, and its address.
fn find(connection: &Connection, written: &str) -> anyhow::Result<(PluginVersion, String)> {
    let reference = Reference::parse(written)?;
    let path = format!("/plugins/{}", segment(reference.name.as_str()));
    let path = connection.of_tenant(&path)?;
    let versions: Vec<PluginVersion> = connection.get(&path)?;
    let found = versions.into_iter().find(|version| match reference.pick {
        Pick::Newest => true,
        Pick::Version(number) => version.version == number,
        Pick::Digest(digest) => version.digest == digest,
    });
    let found = found.ok_or_else(|| {
        Failure::user(format!("there is no plugin `{written}`")).help(format!(
            "`wasmill plugin versions {}` lists what there is",
            reference.name
        ))
    })?;
    let path = format!("{path}/versions/{}", found.version);
    Ok((found, path))
}

fn asks(version: &PluginVersion) -> String {
    match version.capabilities.is_empty() {
        true => "nothing".into(),
        false => version.capabilities.join(", "),
    }
}

/// What a registry holds.
#[derive(Serialize)]
struct Held {
    artefact: String,
    /// Of the manifest, by which the artefact can be named as well.
    digest: Digest,
    component: Digest,
    size: usize,
    is_signed: bool,
}

fn show_held(
    address: &Address,
    digest: Digest,
    artefact: &Artefact,
    form: Form,
) -> anyhow::Result<()> {
    let held = Held {
        artefact: address.to_string(),
        digest,
        component: Digest::of(&artefact.component),
        size: artefact.component.len(),
        is_signed: artefact.signature.is_some(),
    };
    let listing = Listing::of(&["ARTEFACT", "BYTES", "SIGNED", "DIGEST"]).row([
        held.artefact.clone(),
        held.size.to_string(),
        if held.is_signed { "yes" } else { "no" }.to_owned(),
        held.digest.to_string(),
    ]);
    listing.show(form, &held)
}

fn show(versions: &[PluginVersion], form: Form) -> anyhow::Result<()> {
    let listing = Listing::of(&[
        "PLUGIN",
        "WORLD",
        "DIGEST",
        "BYTES",
        "ASKS FOR",
        "PUSHED BY",
        "PUSHED",
    ]);
    let listing = listing.rows(versions, |version| {
        let mut digest = version.digest.to_string();
        digest.truncate("sha256:".len() + 12);
        vec![
            format!("{}@{}", version.name, version.version),
            version.world.clone(),
            digest,
            version.size.to_string(),
            asks(version),
            version.pushed_by.clone(),
            format!("{:.0}", version.pushed),
        ]
    });
    listing.show(form, &versions)
}
