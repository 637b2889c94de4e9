//! Where a registry sends who has no token: a small one of ours, as there is none to install. Whether its tokens are good is the registry's to say.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::http::{Raw, read_raw};
use crate::registry::{PASSWORD, USER};

/// Who makes the tokens, and for which registry, in their words.
pub const NAME: &str = "tests";

/// A file of the certificate that all servers of the tests have.
pub fn tls(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tls", name].iter().collect()
}

/// Starts it, on a thread that ends with the test, and gives its URL. It knows [`USER`].
pub fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let Some(request) = read_raw(&stream) else {
                continue;
            };
            let (status, body) = match answer(&request) {
                Some(token) => (200, json!({ "token": token, "expires_in": 60 })),
                None => (401, json!({ "errors": [{ "code": "UNAUTHORIZED" }] })),
            };
            let body = body.to_string();
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close");
            write!(stream, "{head}\r\n\r\n{body}").ok();
        }
    });
    format!("http://{address}/token")
}

/// The token for a request, if it comes from who may have one.
fn answer(request: &Raw) -> Option<String> {
    let login = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let said = request.headers.get("authorization")?;
    if *said != format!("Basic {login}") {
        return None;
    }
    let (_, query) = request.path.split_once('?')?;
    let scope = query
        .split('&')
        .find_map(|part| part.strip_prefix("scope="))?;
    let scope = scope
        .replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%2C", ",");
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let actions: Vec<_> = actions.split(',').collect();
    Some(sign(
        &json!([{ "type": kind, "name": name, "actions": actions }]),
    ))
}

/// A token that lets do this for a minute.
fn sign(access: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs();
    let certificate = BASE64_STANDARD.encode(read("cert.pem"));
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] });
    let claims = json!({
        "iss": NAME, "aud": NAME, "sub": USER, "jti": "1",
        "iat": now, "nbf": now - 60, "exp": now + 60, "access": access,
    });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let (key, random) = (read("key.pem"), SystemRandom::new());
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random);
    let signature = key.expect("a key").sign(&random, signed.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.expect("signed"));
    format!("{signed}.{signature}")
}

/// What is in a PEM file.
fn read(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(tls(name)).expect("it is there");
    let lines = text.lines().filter(|line| !line.starts_with('-'));
    BASE64_STANDARD
        .decode(lines.collect::<String>())
        .expect("PEM is base64")
}
