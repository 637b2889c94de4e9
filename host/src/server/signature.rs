//! Signatures of components, in minisign's format: of a key that the tenant trusts, or the push is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{PublicKey, Signature};

use super::catalog::plugin::Signed;
use super::catalog::tenant::Policy;
use super::refusal::Refusal;

/// Of a public key, and of a signature: the algorithm, before the id of the key.
const ALGORITHM_BYTES: usize = 2;
const KEY_ID_BYTES: usize = 8;

/// Refuses keys that are none, and a policy that would let nothing be pushed.
///
/// # Errors
/// When one is none, or signatures are required and no key could have made one.
pub fn check_policy(policy: &Policy) -> Result<(), Refusal> {
    for key in &policy.trusted_keys {
        if PublicKey::from_base64(key).is_err() || key_id(key).is_none() {
            let message = format!("`{key}` in `trusted_keys` is not a minisign public key");
            return Err(Refusal::invalid(message).help("it is the second line of minisign.pub"));
        }
    }
    if policy.require_signature && policy.trusted_keys.is_empty() {
        let message = "`require_signature` without `trusted_keys` lets nothing be pushed";
        return Err(Refusal::invalid(message).help("name the keys whose signatures count"));
    }
    Ok(())
}

/// What is to be kept of the signature that came with a component.
///
/// # Errors
/// When it is not one of a trusted key over these bytes, or is missing where it must not be.
pub fn check(
    policy: &Policy,
    component: &[u8],
    signature: Option<&str>,
) -> Result<Option<Signed>, Refusal> {
    let Some(text) = signature else {
        return match policy.require_signature {
            false => Ok(None),
            true => Err(Refusal::invalid(
                "the component is not signed, and this tenant's have to be",
            )
            .help("sign it with `minisign -Sm FILE`, and push it with `--signature FILE.minisig`")),
        };
    };
    let wrong = || {
        Refusal::invalid("what came as signature is not one in minisign's format")
            .help("it is the file that `minisign -Sm FILE` writes, FILE.minisig")
    };
    let signature = Signature::decode(text).map_err(|_| wrong())?;
    let id = text.lines().nth(1).and_then(key_id).ok_or_else(wrong)?;
    let mut trusted = policy.trusted_keys.iter();
    let Some(key) = trusted.find(|key| key_id(key).as_ref() == Some(&id)) else {
        let message =
            format!("the component is signed with key {id}, which this tenant does not trust");
        return Err(Refusal::invalid(message)
            .help("`trusted_keys` of the tenant's policy says which keys count"));
    };
    let key = PublicKey::from_base64(key).map_err(Refusal::internal)?;
    // Old signatures are of the whole file instead of its hash; they prove the same.
    key.verify(component, &signature, true).map_err(|_| {
        Refusal::invalid(format!(
            "the signature of key {id} is not one of this component"
        ))
        .help("the component or the signature has changed since it was signed: sign it again")
    })?;
    Ok(Some(Signed {
        key: id,
        signature: text.to_owned(),
    }))
}

/// The id of a key, as minisign shows it, in the line of a public key or of a signature.
fn key_id(line: &str) -> Option<String> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let id = bytes.get(ALGORITHM_BYTES..ALGORITHM_BYTES + KEY_ID_BYTES)?;
    let id = u64::from_le_bytes(id.try_into().ok()?);
    Some(format!("{id:X}"))
}
