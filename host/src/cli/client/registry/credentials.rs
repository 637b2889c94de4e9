//! Who one is to a registry: by the environment, else by what `docker login` and its kin have kept, or a credential helper for them.

use std::io;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;

use crate::error::Failure;

/// Set together, they are for whatever registry the command names.
const USER: &str = "WASMILL_REGISTRY_USER";
/// Its password or token.
const PASSWORD: &str = "WASMILL_REGISTRY_PASSWORD";

/// How helpers begin who have nothing: there is no code for it.
const NOT_FOUND: &str = "credentials not found";

/// For a registry; anonymous where nothing is known.
///
/// # Errors
/// When what is there cannot be used.
pub fn of(registry: &str) -> Result<RegistryAuth, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable(USER), variable(PASSWORD)) {
        (Some(user), Some(password)) => Ok(RegistryAuth::Basic(user, password)),
        (None, None) => match config_file() {
            Some(file) => of_file(&file, registry),
            None => Ok(RegistryAuth::Anonymous),
        },
        _ => {
            let message = format!("of {USER} and {PASSWORD} only one is set");
            Err(Failure::user(message).help("set both, or none"))
        }
    }
}

/// Where Docker, podman and skopeo, if told so, keep logins.
fn config_file() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let docker = folder("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| Some(PathBuf::from(folder("HOME")?).join(".docker")));
    docker.map(|folder| folder.join("config.json"))
}

fn of_file(file: &Path, registry: &str) -> Result<RegistryAuth, Failure> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(RegistryAuth::Anonymous);
        }
        Err(error) => {
            let file = file.display();
            return Err(Failure::external(format!("{file} cannot be read: {error}")));
        }
    };
    let found = get_credential_from_reader(text.as_slice(), name(registry));
    usable(found).map_err(|wrong| {
        let message = format!("{} has no login that can be used: {wrong}", file.display());
        Failure::user(message).help(format!("log in again, or set {USER} and {PASSWORD}"))
    })
}

/// Under which name a login is kept: Docker Hub's is that of its first interface.
fn name(registry: &str) -> &str {
    match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

/// What was found, or why it is of no use, which does not repeat it.
fn usable(
    found: Result<DockerCredential, CredentialRetrievalError>,
) -> Result<RegistryAuth, String> {
    use CredentialRetrievalError as E;

    match found {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(RegistryAuth::Basic(user, password))
        }
        Ok(DockerCredential::IdentityToken(_)) => Err("what it has is an identity token".into()),
        Err(E::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        Err(E::HelperFailure { stdout, .. }) if stdout.starts_with(NOT_FOUND) => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(E::HelperFailure { helper, stderr, .. }) => {
            Err(format!("`{helper}` has failed: {}", stderr.trim()))
        }
        Err(E::HelperCommunicationError) => Err("its credential helper cannot be run".into()),
        Err(E::ConfigReadError) => Err("it is not as Docker writes it".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn of_text(text: &str, registry: &str) -> Result<RegistryAuth, String> {
        usable(get_credential_from_reader(text.as_bytes(), name(registry)))
    }

    #[test]
    fn a_login_is_for_the_registry_that_it_was_made_at() {
        let auth = BASE64_STANDARD.encode("me:a:b");
        let text = format!(
            r#"{{"auths": {{"localhost:5000": {{"auth": "{auth}"}}, "https://index.docker.io/v1/": {{"auth": "{auth}"}}}}}}"#
        );
        let basic = RegistryAuth::Basic("me".into(), "a:b".into());
        assert_eq!(of_text(&text, "localhost:5000").unwrap(), basic);
        assert_eq!(of_text(&text, "docker.io").unwrap(), basic);
        for other in ["localhost", "localhost:5001", "kept.example"] {
            let found = of_text(&text, other).unwrap();
            assert_eq!(found, RegistryAuth::Anonymous, "{other}");
        }
        assert_eq!(of_text("{}", "a.b").unwrap(), RegistryAuth::Anonymous);
    }

    #[test]
    fn what_cannot_be_used_is_said_and_not_shown() {
        for text in [
            "secret",
            r#"{"auths": {"a.b": {"auth": "s e c r e t"}}}"#,
            r#"{"auths": {"a.b": {"auth": "c2VjcmV0"}}}"#,
            r#"{"auths": {"a.b": {"identitytoken": "secret"}}}"#,
        ] {
            let said = of_text(text, "a.b").unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_helper_that_has_nothing_is_not_one_that_fails() {
        let failed = |stdout: &str| {
            usable(Err(CredentialRetrievalError::HelperFailure {
                helper: "docker-credential-pass".into(),
                stdout: stdout.into(),
                stderr: "gpg: no key\n".into(),
            }))
        };
        let found = failed("credentials not found in native keychain\n");
        assert_eq!(found.unwrap(), RegistryAuth::Anonymous);
        let said = failed("").unwrap_err();
        assert!(
            said.contains("`docker-credential-pass` has failed: gpg"),
            "{said}"
        );
    }
}
