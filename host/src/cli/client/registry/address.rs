//! Where in a registry: `oci://HOST/REPOSITORY:TAG`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use oci_client::Reference;
use oci_client::client::ClientProtocol;

use crate::error::Failure;

const SCHEME: &str = "oci://";

/// An artefact's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Reference);

impl Address {
    /// As the registry's client has it.
    pub fn reference(&self) -> &Reference {
        &self.0
    }

    /// `HOST` or `HOST:PORT`, as it was written.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The last part of the repository's name, which most give to the plugin too.
    pub fn name(&self) -> &str {
        let repository = self.0.repository();
        repository.rsplit('/').next().unwrap_or(repository)
    }

    /// Refuses to push under a digest, which is what comes of a push.
    ///
    /// # Errors
    /// When there is one.
    pub fn to_push(&self) -> Result<&Reference, Failure> {
        match self.0.digest() {
            None => Ok(&self.0),
            Some(_) => Err(Failure::user(format!("{self} names a digest"))
                .help("push to a tag: oci://HOST/REPOSITORY:TAG")),
        }
    }

    /// How it is spoken to: in the clear only on this machine, or where somebody answers for it.
    pub fn protocol(&self, insecure: bool) -> ClientProtocol {
        let host = match self.registry().rsplit_once(':') {
            Some((host, _)) => host,
            None => self.registry(),
        };
        let is_here = host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        match insecure || is_here {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not oci://HOST/REPOSITORY:TAG");
        let rest = text.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let reference =
            Reference::from_str(rest).map_err(|error| format!("{}: {error}", wrong()))?;
        let (host, named) = rest.split_once('/').ok_or_else(wrong)?;
        // Where no host is named, another registry than the reader thinks would be meant; without a tag, another artefact next week.
        if reference.registry() != host || !named.contains([':', '@']) {
            return Err(wrong());
        }
        Ok(Self(reference))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

/// What a command line names: an artefact of a registry, or anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Either<T> {
    /// `oci://...`
    Registry(Address),
    /// Without that.
    Other(T),
}

/// Of a file.
pub fn or_file(text: &str) -> Result<Either<PathBuf>, String> {
    either(text, |text| text.into())
}

/// Of a plugin on a server.
pub fn or_name(text: &str) -> Result<Either<String>, String> {
    either(text, |text| text.into())
}

fn either<T>(text: &str, other: impl Fn(&str) -> T) -> Result<Either<T>, String> {
    match text.starts_with(SCHEME) {
        true => text.parse().map(Either::Registry),
        false => Ok(Either::Other(other(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        text.parse()
    }

    #[test]
    fn an_address_names_a_host_a_repository_and_a_tag_or_digest() {
        let address = parse("oci://ghcr.io/acme/words/split-words:1.2").unwrap();
        assert_eq!(
            (
                address.registry(),
                address.name(),
                address.reference().tag()
            ),
            ("ghcr.io", "split-words", Some("1.2"))
        );
        assert_eq!(
            address.to_string(),
            "oci://ghcr.io/acme/words/split-words:1.2"
        );
        let digest = format!("oci://localhost:5000/words@sha256:{}", "0".repeat(64));
        let address = parse(&digest).unwrap();
        assert_eq!(address.to_string(), digest);
        assert!(address.to_push().is_err());
    }

    #[test]
    fn what_could_be_meant_otherwise_is_no_address() {
        for text in [
            "ghcr.io/acme/words:1",
            "oci://words:1",
            "oci://acme/words:1",
            "oci://ghcr.io/acme/words",
            "oci://localhost:5000/words",
            "oci://ghcr.io/Words:1",
            "oci://user@ghcr.io/words:1",
            "oci://ghcr.io/words:1?x",
            "oci://",
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains("is not oci://HOST"), "{text}: {said}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        let protocol = |text: &str, insecure| parse(text).unwrap().protocol(insecure);
        for here in ["localhost:5000", "127.0.0.1:5000", "127.9.9.9"] {
            let text = format!("oci://{here}/words:1");
            assert_eq!(protocol(&text, false), ClientProtocol::Http, "{here}");
        }
        for there in [
            "localhost.evil.example",
            "10.0.0.1:5000",
            "127.0.0.1.example",
        ] {
            let text = format!("oci://{there}/words:1");
            assert_eq!(protocol(&text, false), ClientProtocol::Https, "{there}");
            assert_eq!(protocol(&text, true), ClientProtocol::Http, "{there}");
        }
    }
}
