//! Components in OCI registries. It is the command line that speaks to them and never a server: which of the hosts that a server can reach a
//! tenant may have it ask, and with whose password, are questions that do not arise.

pub mod address;
mod artefact;
mod credentials;

use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use oci_client::client::{Client, ClientConfig};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};
use tokio::runtime::Runtime;

use crate::error::Failure;
use crate::ids::Digest;

pub use address::{Address, Either};
pub use artefact::Artefact;

/// A registry that says nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Long enough for any way through a network.
const CONNECT: Duration = Duration::from_secs(20);

/// The registry of an address, and who one is there.
pub struct Registry<'a> {
    address: &'a Address,
    client: Client,
    auth: RegistryAuth,
    runtime: Runtime,
}

impl<'a> Registry<'a> {
    /// Does not speak to it yet. What is `insecure` may be spoken to in the clear wherever it is.
    ///
    /// # Errors
    /// When it is not known who one is there.
    pub fn of(address: &'a Address, insecure: bool) -> anyhow::Result<Self> {
        let config = ClientConfig {
            protocol: address.protocol(insecure),
            // Of an index of images none is a component.
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("wasmill/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Ok(Self {
            address,
            client: Client::try_from(config).context("no client can be made")?,
            auth: credentials::of(address.registry())?,
            runtime: runtime.enable_all().build()?,
        })
    }

    /// Sends a component that was made then, and gives the digest of its manifest.
    ///
    /// # Errors
    /// When it is no plugin, or the registry refuses.
    pub fn push(&self, artefact: &Artefact, created: Timestamp) -> Result<Digest, Failure> {
        let reference = self.address.to_push()?;
        let sent = artefact::lay_out(artefact, self.address.name(), created)?;
        let manifest = serde_json::to_vec(&sent.manifest)
            .map_err(|error| Failure::internal(format!("a manifest is not JSON: {error}")))?;
        let digest = Digest::of(&manifest);
        let (config, component) = (sent.config, artefact.component.clone());
        let push = async {
            let client = &self.client;
            client
                .auth(reference, &self.auth, RegistryOperation::Push)
                .await?;
            for (bytes, descriptor) in [
                (component, &sent.manifest.layers[0]),
                (config, &sent.manifest.config),
            ] {
                client
                    .push_blob(reference, bytes, &descriptor.digest)
                    .await?;
            }
            let kind = http::HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
            client.push_manifest_raw(reference, manifest, kind).await
        };
        let pushed = self.runtime.block_on(push);
        pushed.map_err(|error| self.failure(error))?;
        Ok(digest)
    }

    /// Fetches what is at the address, and gives the digest of its manifest with it.
    ///
    /// # Errors
    /// When it is not there, is no plugin, or not what its digest says.
    pub fn pull(&self) -> Result<(Artefact, Digest), Failure> {
        let reference = self.address.reference();
        self.runtime.block_on(async {
            let client = &self.client;
            let operation = RegistryOperation::Pull;
            let authed = client.auth(reference, &self.auth, operation).await;
            authed.map_err(|error| self.failure(error))?;
            let pulled = client.pull_manifest(reference, &self.auth).await;
            let (manifest, digest) = pulled.map_err(|error| self.failure(error))?;
            let manifest = match manifest {
                OciManifest::Image(manifest) => manifest,
                OciManifest::ImageIndex(_) => {
                    let index = Failure::user("it is an index of images, and no component");
                    return Err(
                        self.told(index.help("name the component by its own tag or digest"))
                    );
                }
            };
            let layer = artefact::layer(&manifest).map_err(|failure| self.told(failure))?;
            let component = self.blob(reference, layer).await?;
            let artefact = artefact::received(&manifest, layer, component);
            let artefact = artefact.map_err(|failure| self.told(failure))?;
            let digest = Digest::try_from(digest).map_err(|_| {
                self.told(Failure::user(
                    "its manifest is named by another digest than SHA-256",
                ))
            })?;
            Ok((artefact, digest))
        })
    }

    /// The bytes of a layer, no more of them than it has.
    async fn blob(&self, reference: &Reference, layer: &OciDescriptor) -> Result<Vec<u8>, Failure> {
        // Addresses in a manifest are not followed: whoever wrote it would have this machine ask them.
        let layer = OciDescriptor {
            urls: None,
            ..layer.clone()
        };
        let stream = self.client.pull_blob_stream(reference, &layer).await;
        let mut stream = stream.map_err(|error| self.failure(error))?;
        let size = usize::try_from(layer.size).unwrap_or_default();
        let mut bytes = Vec::with_capacity(size);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| {
                let is_wrong = error
                    .get_ref()
                    .is_some_and(|cause| cause.is::<DigestError>());
                self.told(match is_wrong {
                    true => artefact::not_as_promised(&layer.digest),
                    false => Failure::external(format!("its component broke off: {error}")),
                })
            })?;
            if piece.len() > size - bytes.len() {
                return Err(self.told(artefact::not_as_promised(&layer.digest)));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// What is wrong with what is at the address.
    fn told(&self, failure: Failure) -> Failure {
        Failure {
            message: format!("{}: {}", self.address, failure.message),
            ..failure
        }
    }

    /// Why the registry did not do it.
    fn failure(&self, error: OciDistributionError) -> Failure {
        use OciDistributionError as E;
        let refused = || {
            Failure::user("the registry does not let in who asks").help(
                "log in with `docker login`, or set WASMILL_REGISTRY_USER and WASMILL_REGISTRY_PASSWORD",
            )
        };
        let nothing = || Failure::user("there is nothing at this address");
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::user(format!("its manifest is none of a component: {what}"))
        };
        self.told(match &error {
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => refused(),
            E::ServerError {
                code: 401 | 403, ..
            } => refused(),
            E::ServerError { code: 404, .. } => nothing(),
            E::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| {
                    envelope
                        .errors
                        .iter()
                        .any(|error| codes.contains(&error.code))
                };
                use OciErrorCode as C;
                if has(&[C::Unauthorized, C::Denied]) {
                    refused()
                } else if has(&[
                    C::ManifestUnknown,
                    C::NameUnknown,
                    C::NotFound,
                    C::BlobUnknown,
                ]) {
                    nothing()
                } else {
                    Failure::external(format!("the registry refuses: {envelope}"))
                }
            }
            E::DigestError(error) => Failure::external(format!(
                "what came is not as promised: {error}"
            ))
            .help("the registry is broken, or somebody has changed what it holds: do not use it"),
            E::ManifestParsingError(what)
            | E::VersionedParsingError(what)
            | E::UnsupportedMediaTypeError(what) => wrong(what),
            E::UnsupportedSchemaVersionError(version) => {
                wrong(&format!("its schema version is {version}"))
            }
            E::RequestError(_) => {
                let causes = format!("{:#}", anyhow::Error::new(error));
                Failure::external(format!(
                    "the registry does not answer as it has to: {causes}"
                ))
                .help("look whether it is there; one that has no TLS takes --insecure")
            }
            other => Failure::external(format!("the registry does not do it: {other}")),
        })
    }
}
