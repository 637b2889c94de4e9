//! `wasmill plugin push` and its kin: plugins on a server.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::connection::segment;
use super::{Connection, Form, Listing, Remote, listing};
use crate::cli::exit::WrongUsage;
use crate::cli::output;
use crate::error::Failure;
use crate::server::catalog::plugin::{Pick, PluginVersion, Reference};

/// Push a component to a server, as the next version of a plugin
#[derive(Debug, clap::Args)]
pub struct Push {
    /// The component's file
    file: PathBuf,

    /// The plugin's name [default: the file's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What `minisign -Sm` has written to sign it, FILE.minisig
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,
}

impl Push {
    /// Pushes.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let bytes = read(&self.file)?;
        let signature = self.signature.as_deref().map(read).transpose()?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let name = self.name.unwrap_or_else(|| stem.into_owned());
        let connection = Connection::open(&self.remote)?;
        let path = connection.of_tenant(&format!("/plugins/{}", segment(&name)))?;
        let pushed: PluginVersion = connection.put_component(&path, bytes, signature)?;
        show(&[pushed], self.remote.output)
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

/// Get a component back from a server
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// The plugin, or one version of it: NAME, NAME@VERSION
    plugin: String,

    /// The file to write [default: NAME.wasm]
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Where to write its signature as well, for `minisign -V`
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,
}

impl Pull {
    /// Pulls.
    ///
    /// # Errors
    /// When the server refuses, or the file cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        let connection = Connection::open(&self.remote)?;
        let (version, path) = find(&connection, &self.plugin)?;
        let bytes = connection.get_bytes(&format!("{path}/component"))?;
        let file = self
            .file
            .unwrap_or_else(|| PathBuf::from(format!("{}.wasm", version.name)));
        let write = |file: &Path, bytes: Vec<u8>| {
            let failed = || format!("{} cannot be written", file.display());
            std::fs::write(file, bytes).with_context(failed)
        };
        if let Some(file) = &self.signature {
            write(file, connection.get_bytes(&format!("{path}/signature"))?)?;
        }
        write(&file, bytes)?;
        show(&[version], self.remote.output)
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
