//! A component as registries hold it: the layout that `wkg` writes and reads. A config that says what it is, one layer of `application/wasm`,
//! and its signature, if it has one, as an annotation: readers of the layout want one layer and no more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde::Serialize;

use crate::error::Failure;
use crate::ids::Digest;
use crate::plugin::component::{self, Interfaces};

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
/// The file that `minisign -Sm` writes, as it is.
const SIGNATURE: &str = "vnd.wasmill.minisig";
/// The annotation by which other tools name the file when they pull.
const TITLE: &str = "org.opencontainers.image.title";
/// As much as a server takes.
const COMPONENT_BYTES: i64 = 64 << 20;

/// What is in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The component.
    pub component: Vec<u8>,
    /// Its signature, in minisign's format.
    pub signature: Option<String>,
}

/// What is sent to a registry: the layer is the component itself.
#[derive(Debug)]
pub struct Sent {
    /// Says what the component is.
    pub config: Vec<u8>,
    /// Names both by their digests.
    pub manifest: OciImageManifest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    created: Timestamp,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    component: About,
}

#[derive(Serialize)]
struct About {
    #[serde(flatten)]
    interfaces: Interfaces,
    /// The world that it was made for, which a component does not say.
    target: Option<String>,
}

/// Lays out a component that was made then, under the name of a file.
///
/// # Errors
/// When it is no plugin.
pub fn lay_out(artefact: &Artefact, name: &str, created: Timestamp) -> Result<Sent, Failure> {
    let parsed = component::parse(&artefact.component)?;
    if parsed.about.was_module {
        return Err(
            Failure::user("the file is a core module, and registries hold components").help(
                "`wasmill plugin build` makes a component; so does `wasm-tools component new`",
            ),
        );
    }
    let layer = descriptor(LAYER, &artefact.component);
    let config = Config {
        created,
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [layer.digest.clone()],
        component: About {
            interfaces: component::interfaces(&artefact.component)?,
            target: None,
        },
    };
    let config = serde_json::to_vec(&config)
        .map_err(|error| Failure::internal(format!("a config is not JSON: {error}")))?;
    let title = BTreeMap::from([(TITLE.to_owned(), format!("{name}.wasm"))]);
    let signature = artefact.signature.iter();
    let annotations: BTreeMap<_, _> = signature
        .map(|signature| (SIGNATURE.to_owned(), signature.clone()))
        .collect();
    let manifest = OciImageManifest {
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        config: descriptor(CONFIG, &config),
        layers: vec![OciDescriptor {
            annotations: Some(title),
            ..layer
        }],
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..OciImageManifest::default()
    };
    Ok(Sent { config, manifest })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes).to_string(),
        // Nothing here is larger than a machine's memory.
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

/// The layer of a manifest that is the component.
///
/// # Errors
/// When the manifest is of anything else, or of a larger one than any server takes.
pub fn layer(manifest: &OciImageManifest) -> Result<&OciDescriptor, Failure> {
    let kind = &manifest.config.media_type;
    if kind != CONFIG {
        return Err(
            Failure::user(format!("it is no WebAssembly, but a config of type {kind}"))
                .help(format!("components are pushed with a config of type {CONFIG}, as `wasmill plugin push --to` and `wkg` do")),
        );
    }
    let [layer] = manifest.layers.as_slice() else {
        let layers = manifest.layers.len();
        let message = format!("it has {layers} layers, and a component is one");
        return Err(Failure::user(message));
    };
    if layer.media_type != LAYER {
        let message = format!(
            "its layer is no component, but of type {}",
            layer.media_type
        );
        return Err(Failure::user(message));
    }
    if !(0..=COMPONENT_BYTES).contains(&layer.size) {
        let most = COMPONENT_BYTES >> 20;
        let message = format!(
            "its component has {} bytes, and at most {most} MiB are taken",
            layer.size
        );
        return Err(Failure::user(message));
    }
    Ok(layer)
}

/// What came for a manifest and its [`layer`].
///
/// # Errors
/// When it is not what the manifest promises, or no plugin.
pub fn received(
    manifest: &OciImageManifest,
    layer: &OciDescriptor,
    component: Vec<u8>,
) -> Result<Artefact, Failure> {
    if Digest::of(&component).to_string() != layer.digest {
        return Err(not_as_promised(&layer.digest));
    }
    component::parse(&component)?;
    let annotations = manifest.annotations.as_ref();
    Ok(Artefact {
        component,
        signature: annotations.and_then(|all| all.get(SIGNATURE)).cloned(),
    })
}

/// Something else came than what a digest names.
pub fn not_as_promised(digest: &str) -> Failure {
    Failure::external(format!("what came is not {digest}, as was promised"))
        .help("the registry is broken, or somebody has changed what it holds: do not use it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::Guest;

    fn artefact() -> Artefact {
        let module = Guest::default().module();
        Artefact {
            component: component::parse(&module).unwrap().bytes,
            signature: Some("untrusted comment: x\nabc\n".into()),
        }
    }

    #[test]
    fn what_is_laid_out_is_what_wkg_writes_and_is_read_again() {
        let artefact = artefact();
        let created = "2026-11-22T01:02:03Z".parse().unwrap();
        let Sent { config, manifest } = lay_out(&artefact, "words", created).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let digest = Digest::of(&artefact.component).to_string();
        assert_eq!(
            config,
            serde_json::json!({
                "created": "2026-11-22T01:02:03Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [digest],
                "component": {
                    "exports": ["wasmill:plugin/transform@0.1.0"],
                    "imports": ["wasmill:plugin/types@0.1.0"],
                    "target": null,
                },
            })
        );
        let found = layer(&manifest).unwrap();
        let again = received(&manifest, found, artefact.component.clone()).unwrap();
        assert_eq!(again, artefact);
        let mut damaged = artefact.component.clone();
        damaged[20] ^= 1;
        let failure = received(&manifest, found, damaged).unwrap_err();
        assert!(failure.message.contains("as was promised"), "{failure}");
    }

    #[test]
    fn what_is_no_component_is_refused_by_what_it_is() {
        let created = Timestamp::UNIX_EPOCH;
        let Sent { manifest, .. } = lay_out(&artefact(), "words", created).unwrap();
        let refused = |change: &dyn Fn(&mut OciImageManifest)| {
            let mut manifest = manifest.clone();
            change(&mut manifest);
            layer(&manifest).unwrap_err().message
        };
        let docker = "application/vnd.docker.container.image.v1+json";
        assert!(refused(&|it| it.config.media_type = docker.into()).contains(docker));
        assert!(refused(&|it| it.layers.clear()).contains("0 layers"));
        assert!(
            refused(&|it| it.layers[0].media_type = "application/gzip".into()).contains("gzip")
        );
        assert!(refused(&|it| it.layers[0].size = COMPONENT_BYTES + 1).contains("64 MiB"));
        assert!(refused(&|it| it.layers[0].size = -1).contains("-1 bytes"));
        let module = Artefact {
            component: Guest::default().module(),
            signature: None,
        };
        let failure = lay_out(&module, "words", created).unwrap_err();
        assert!(failure.message.contains("core module"), "{failure}");
    }
}
