//! Components in a real OCI registry: pushed and pulled by the command line, read and written by skopeo, signed by minisign.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wasmill_tests::registry::{PASSWORD, Registry, USER};
use wasmill_tests::server::{Server, component};
use wasmill_tests::signer::Signer;
use wasmill_tests::token_server::tls;
use wasmill_tests::{Ended, free_addresses, http, proxy, run, wasmill};

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM: &str = "application/wasm";

/// A command that knows no login of whoever runs the tests.
fn command(arguments: &[&str]) -> Command {
    let mut command = wasmill();
    command
        .args(arguments)
        .env("DOCKER_CONFIG", "/nonexistent")
        .env_remove("WASMILL_REGISTRY_USER")
        .env_remove("WASMILL_REGISTRY_PASSWORD");
    command
}

fn cli(arguments: &[&str]) -> Ended {
    run(&mut command(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("utf8")
}

/// Pulls into a folder that is thrown away, which must fail with this code and say so.
fn refused(address: &str, code: i32, why: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("x.wasm");
    let ended = cli(&["plugin", "pull", address, "-o", text(&file)]).failed_with(code);
    assert!(ended.err.contains(why), "{why}: {}", ended.err);
    assert!(!file.exists(), "nothing is written");
}

#[test]
fn a_component_goes_to_a_registry_and_comes_back_with_its_signature() {
    let (registry, signer) = (Registry::open(), Signer::with_keys());
    let (file, signature) = signer.sign("split-words");
    let address = registry.address("acme/split-words:1.0");
    let push = [
        "plugin",
        "push",
        &file,
        "--to",
        &address,
        "--signature",
        &signature,
        "--output",
        "json",
    ];
    let pushed = cli(&push).succeeded().out;
    let pushed: Value = serde_json::from_str(&pushed).expect("JSON");
    let again = cli(&push).succeeded().out;
    assert_eq!(
        pushed,
        serde_json::from_str::<Value>(&again).expect("JSON"),
        "the same file is the same artefact"
    );

    let manifest = registry.manifest("acme/split-words:1.0");
    assert_eq!(manifest["config"]["mediaType"], CONFIG);
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &json!(WASM)));
    assert_eq!(layers[0]["digest"], pushed["component"]);
    let fetched = registry.fetch("acme/split-words:1.0");
    let blob = |digest: &Value| {
        let hex = digest
            .as_str()
            .and_then(|digest| digest.strip_prefix("sha256:"));
        fs::read(fetched.path().join(hex.expect("a digest"))).expect("skopeo has fetched it")
    };
    let component = fs::read(&file).expect("readable");
    assert_eq!(blob(&layers[0]["digest"]), component);
    let config: Value = serde_json::from_slice(&blob(&manifest["config"]["digest"])).expect("JSON");
    assert_eq!(
        (
            &config["architecture"],
            &config["os"],
            &config["layerDigests"][0]
        ),
        (&json!("wasm"), &json!("wasip2"), &layers[0]["digest"])
    );
    let exports = &config["component"]["exports"];
    assert_eq!(exports, &json!(["wasmill:plugin/transform@0.1.0"]));

    let digest = pushed["digest"].as_str().expect("a digest");
    for name in [
        "acme/split-words:1.0",
        &format!("acme/split-words@{digest}"),
    ] {
        let (pulled, proof) = (signer.path("pulled.wasm"), signer.path("pulled.minisig"));
        let pull = [
            "plugin",
            "pull",
            &registry.address(name),
            "-o",
            &pulled,
            "--signature",
            &proof,
        ];
        let shown = cli(&pull).succeeded().out;
        assert!(shown.contains(digest), "{shown}");
        assert_eq!(fs::read(&pulled).expect("it was pulled"), component);
        signer.judges_true("pulled.wasm", "pulled.minisig");
    }
}

#[test]
fn a_server_is_given_a_plugin_out_of_a_registry() {
    let (registry, signer) = (Registry::open(), Signer::with_keys());
    let server = Server::start(&[]);
    let token = server.tenant("acme");
    let (file, signature) = signer.sign("running-count");
    let address = registry.address("acme/running-count:2");
    cli(&[
        "plugin",
        "push",
        &file,
        "--to",
        &address,
        "--signature",
        &signature,
    ])
    .succeeded();

    let push =
        |more: &[&str]| server.client(&token, &[&["plugin", "push", &address], more].concat());
    let distrusted = push(&[]).failed_with(3).err;
    assert!(distrusted.contains("does not trust"), "{distrusted}");
    let unsigned = push(&["--no-signature", "--name", "counts"])
        .succeeded()
        .out;
    assert!(unsigned.contains("counts@1"), "{unsigned}");
    let policy = json!({ "trusted_keys": [signer.key()], "require_signature": true });
    server.done(&server.admin, "PUT", "/v1/tenants/acme/policy", &policy);
    push(&[]).succeeded();
    let shown = ["plugin", "show", "running-count", "--output", "json"];
    let shown: Value =
        serde_json::from_str(&server.client(&token, &shown).succeeded().out).expect("JSON");
    assert_eq!(shown["signed_by"], json!(signer.id()));
    assert_eq!(
        shown["digest"],
        registry.manifest("acme/running-count:2")["layers"][0]["digest"]
    );
    let copied = push(&["--to", &registry.address("acme/copy:1")])
        .failed_with(2)
        .err;
    assert!(copied.contains("skopeo copy"), "{copied}");
}

#[test]
fn a_registry_with_logins_is_told_who_asks() {
    let registry = Registry::with_login();
    let wasm = component("split-words");
    let address = registry.address("acme/split-words:1");
    let push = ["plugin", "push", text(&wasm), "--to", &address];
    let stranger = "does not let in who asks";
    let ended = cli(&push).failed_with(3);
    assert!(ended.err.contains(stranger), "{}", ended.err);
    let login = |password: &str| {
        let mut push = command(&push);
        push.env("WASMILL_REGISTRY_USER", USER);
        run(push.env("WASMILL_REGISTRY_PASSWORD", password))
    };
    let wrong = login("wrong").failed_with(3);
    assert!(wrong.err.contains(stranger), "{}", wrong.err);
    login(PASSWORD).succeeded();
    refused(&address, 3, stranger);

    // What `docker login` has written.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = json!({ "auths": { registry.host(): { "auth": "YWNtZTphIHNlY3JldA==" } } });
    fs::write(folder.path().join("config.json"), config.to_string()).expect("writable");
    let pulled = folder.path().join("pulled.wasm");
    let mut pull = command(&["plugin", "pull", &address, "-o", text(&pulled)]);
    run(pull.env("DOCKER_CONFIG", folder.path())).succeeded();
    assert_eq!(
        fs::read(pulled).expect("pulled"),
        fs::read(wasm).expect("built")
    );
}

#[test]
fn a_registry_with_tls_and_tokens_is_reached_through_a_proxy_with_the_login_of_a_credential_helper()
{
    let registry = Registry::with_tokens();
    let proxy = proxy::to(registry.host().parse().expect("an address"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    // What Docker's helpers do: they read who asks, and answer with what they keep.
    let helper = format!(
        "#!/bin/sh\n[ \"$1 $(cat)\" = \"get registry.test\" ] || {{ echo credentials not found; exit 1; }}\n\
         echo '{{\"ServerURL\": \"registry.test\", \"Username\": \"{USER}\", \"Secret\": \"'\"$SECRET\"'\"}}'\n"
    );
    fs::write(path("docker-credential-tests"), helper).expect("writable");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path("docker-credential-tests"), executable).expect("it is ours");
    let config = json!({ "credsStore": "tests" }).to_string();
    fs::write(path("config.json"), config).expect("writable");
    let search = std::env::var("PATH").expect("there is one");
    let search = format!("{}:{search}", folder.path().display());

    let wasm = component("split-words");
    let address = "oci://registry.test/acme/split-words:1";
    let cli = |arguments: &[&str], secret: &str, trusted: &str| {
        let mut command = command(arguments);
        command.env("HTTPS_PROXY", &proxy).env("PATH", &search);
        command.env("DOCKER_CONFIG", folder.path());
        run(command.env("SECRET", secret).env("SSL_CERT_FILE", trusted))
    };
    let certificate = tls("cert.pem");
    let ours = text(&certificate);
    let push = ["plugin", "push", text(&wasm), "--to", address];
    let distrusted = cli(&push, PASSWORD, "/etc/hostname").failed_with(4);
    assert!(distrusted.err.contains("certificate"), "{}", distrusted.err);
    let wrong = cli(&push, "wrong", ours).failed_with(3);
    assert!(
        wrong.err.contains("does not let in who asks"),
        "{}",
        wrong.err
    );
    cli(&push, PASSWORD, ours).succeeded();
    let pulled = path("pulled.wasm");
    let pull = ["plugin", "pull", address, "-o", text(&pulled)];
    cli(&pull, PASSWORD, ours).succeeded();
    assert_eq!(
        fs::read(pulled).expect("pulled"),
        fs::read(wasm).expect("built")
    );
}

#[test]
fn what_is_no_component_of_ours_is_refused_by_what_it_is() {
    let registry = Registry::open();
    let address = |name: &str| registry.address(&format!("acme/{name}:1"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("words.wasm");
    for (bytes, why) in [
        (&b"#!/bin/sh\n"[..], "not WebAssembly"),
        (b"\0asm\x01\0\0\0", "a core module"),
        (b"\0asm\x0d\0\x01\0", "exports none of"),
    ] {
        fs::write(&file, bytes).expect("writable");
        let to = address("refused");
        let ended = cli(&["plugin", "push", text(&file), "--to", &to]).failed_with(3);
        assert!(ended.err.contains(why), "{why}: {}", ended.err);
    }
    refused(&address("refused"), 3, "there is nothing at this address");

    let wasm = fs::read(component("split-words")).expect("built");
    let image = "application/vnd.oci.image.config.v1+json";
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let config = (CONFIG, &b"{}"[..]);
    registry.fill(
        "acme/image:1",
        (image, b"{\"architecture\":\"amd64\",\"os\":\"linux\"}"),
        &[(tar, b"x")],
    );
    refused(
        &address("image"),
        3,
        &format!("no WebAssembly, but a config of type {image}"),
    );
    registry.fill("acme/tar:1", config, &[(tar, b"x")]);
    refused(
        &address("tar"),
        3,
        &format!("its layer is no component, but of type {tar}"),
    );
    registry.fill("acme/two:1", config, &[(WASM, &wasm), (WASM, b"x")]);
    refused(&address("two"), 3, "it has 2 layers");
    registry.fill("acme/script:1", config, &[(WASM, b"#!/bin/sh\n")]);
    refused(&address("script"), 3, "not WebAssembly");
    registry.fill("acme/other:1", config, &[(WASM, b"\0asm\x0d\0\x01\0")]);
    refused(&address("other"), 3, "exports none of");

    registry.fill("acme/changed:1", config, &[(WASM, &wasm)]);
    let manifest = registry.manifest("acme/changed:1");
    let digest = manifest["layers"][0]["digest"].as_str().expect("a digest");
    let mut changed = wasm.clone();
    changed[100] ^= 1;
    fs::write(registry.blob(digest), changed).expect("writable");
    refused(
        &address("changed"),
        4,
        &format!("what came is not {digest}, as was promised"),
    );
}

/// What answers as a registry, and gives this manifest.
fn lying(manifest: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let Some(request) = http::read_raw(&stream) else {
                continue;
            };
            let body = match request.path.contains("/manifests/") {
                true => manifest,
                false => "{}",
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // The client may have seen enough.
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    format!("oci://{host}/acme/words")
}

#[test]
fn a_registry_that_lies_or_is_not_there_is_not_believed() {
    let index = r#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}"#;
    let huge = r#"{"schemaVersion": 2, "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": "sha256:aa", "size": 1},
        "layers": [{"mediaType": "application/wasm", "digest": "sha256:aa", "size": 99999999999}]}"#;
    let cases: BTreeMap<&str, &str> = [
        ("{]", "its manifest is none of a component"),
        (r#"{"schemaVersion": 1}"#, "its schema version is 1"),
        (index, "it is an index of images"),
        (huge, "at most 64 MiB are taken"),
    ]
    .into();
    for (manifest, why) in cases {
        refused(&format!("{}:1", lying(manifest)), 3, why);
    }
    let other = format!("{}@sha256:{}", lying(huge), "0".repeat(64));
    refused(&other, 4, "what came is not as promised");
    let nobody = free_addresses(1).remove(0);
    refused(&format!("oci://{nobody}/words:1"), 4, "does not answer");
    refused("oci://words:1", 2, "is not oci://HOST/REPOSITORY:TAG");
}
