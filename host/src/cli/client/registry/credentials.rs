//! Who one is to a registry: by the environment, else by what `docker login` and its kin have kept.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::error::Failure;

/// Set together, they are for whatever registry the command names.
const USER: &str = "WASMILL_REGISTRY_USER";
/// Its password or token.
const PASSWORD: &str = "WASMILL_REGISTRY_PASSWORD";

/// Of `config.json`, the part that is read.
#[derive(Debug, Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    /// `user:password` in base64; not there where a program keeps it.
    auth: Option<String>,
}

/// For a registry; anonymous where nothing is known.
///
/// # Errors
/// When what is there cannot be used.
pub fn of(registry: &str) -> Result<RegistryAuth, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable(USER), variable(PASSWORD)) {
        (Some(user), Some(password)) => return Ok(RegistryAuth::Basic(user, password)),
        (None, None) => (),
        _ => {
            let message = format!("of {USER} and {PASSWORD} only one is set");
            return Err(Failure::user(message).help("set both, or none"));
        }
    }
    let Some(file) = config_file() else {
        return Ok(RegistryAuth::Anonymous);
    };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(RegistryAuth::Anonymous);
        }
        Err(error) => {
            let file = file.display();
            return Err(Failure::external(format!("{file} cannot be read: {error}")));
        }
    };
    kept(&text, registry).map_err(|wrong| {
        let message = format!("{} has no login that can be read: {wrong}", file.display());
        Failure::user(message).help(format!("log in again, or set {USER} and {PASSWORD}"))
    })
}

/// Where Docker, podman and skopeo, if told so, keep logins.
fn config_file() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let docker = folder("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| Some(PathBuf::from(folder("HOME")?).join(".docker")));
    docker.map(|folder| folder.join("config.json"))
}

/// What the text of such a file says of a registry. The errors do not repeat it.
fn kept(text: &str, registry: &str) -> Result<RegistryAuth, &'static str> {
    let config: DockerConfig =
        serde_json::from_str(text).map_err(|_| "it is not as Docker writes it")?;
    let hub = "https://index.docker.io/v1/";
    let names = [registry, &format!("https://{registry}"), hub];
    // The last one is Docker Hub's, and nobody else's.
    let names = &names[..if registry == "docker.io" { 3 } else { 2 }];
    let found = names.iter().find_map(|name| config.auths.get(*name));
    let Some(auth) = found.and_then(|entry| entry.auth.as_deref()) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let bytes = STANDARD.decode(auth).map_err(|_| "`auth` is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "`auth` is not text")?;
    let (user, password) = text.split_once(':').ok_or("`auth` has no `:`")?;
    Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_the_registry_that_it_was_made_at() {
        let auth = STANDARD.encode("me:a:b");
        let text = format!(
            r#"{{"auths": {{"localhost:5000": {{"auth": "{auth}"}}, "https://index.docker.io/v1/": {{"auth": "{auth}"}},
                "kept.example": {{}}}}, "credsStore": "pass"}}"#
        );
        let basic = RegistryAuth::Basic("me".into(), "a:b".into());
        assert_eq!(kept(&text, "localhost:5000"), Ok(basic.clone()));
        assert_eq!(kept(&text, "docker.io"), Ok(basic));
        for other in ["localhost", "localhost:5001", "kept.example"] {
            assert_eq!(kept(&text, other), Ok(RegistryAuth::Anonymous), "{other}");
        }
        assert_eq!(kept("{}", "localhost:5000"), Ok(RegistryAuth::Anonymous));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_not_shown() {
        for text in [
            "secret",
            r#"{"auths": {"a.b": {"auth": "s e c r e t"}}}"#,
            r#"{"auths": {"a.b": {"auth": "c2VjcmV0"}}}"#,
        ] {
            let said = kept(text, "a.b").unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
