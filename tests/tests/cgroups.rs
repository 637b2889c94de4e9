//! A server with a control group of version 2 to divide: the kernel's own, where it lets this test make one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use wasmill_tests::jobs::runner_of;
use wasmill_tests::server::{Server, apply, push};
use wasmill_tests::wait_until;

const PIPELINE: &str = r#"name = "words"

[sources.rows]
type = "generate"
rows_per_second = 100
words = 8

[steps.words]
input = "rows"
plugin = "split-words"
config = { column = "text" }

[sinks.out]
input = "words"
type = "print"
"#;

/// A group of this test's own, and what is below it.
struct Group(PathBuf);

impl Group {
    fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let point = mounts.lines().find_map(|line| {
            let (fields, kind) = line.split_once(" - ")?;
            kind.starts_with("cgroup2 ")
                .then(|| fields.split(' ').nth(4))?
        })?;
        let folder = Path::new(point).join(format!("wasmill-test-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        Some(Self(folder))
    }

    fn has(&self, part: &str, process: u32) -> bool {
        let processes = fs::read_to_string(self.0.join(part).join("cgroup.procs"));
        let id = process.to_string();
        processes.is_ok_and(|all| all.lines().any(|line| line == id))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in fs::read_dir(&self.0).expect("it is there").flatten() {
            // Its files are the kernel's, and go with it.
            fs::remove_dir(part.path()).ok();
        }
        fs::remove_dir(&self.0).expect("nobody is left in it");
    }
}

#[test]
fn each_tenant_has_a_control_group_of_its_own() {
    let Some(group) = Group::make() else {
        eprintln!("this system lets nobody make a control group of version 2: nothing is tested");
        return;
    };
    let folder = group.0.to_str().expect("text");
    let server = Server::start(&["--cgroup", folder]);
    let quota = json!({ "max_memory": 64 << 20 });
    for tenant in ["acme", "beta"] {
        let token = server.tenant(tenant);
        let policy = format!("/v1/tenants/{tenant}/policy");
        server.done(&server.admin, "PUT", &policy, &quota);
        push(&server, &token, tenant, "split-words", "split-words");
        let applied = apply(&server, &token, tenant, PIPELINE);
        assert_eq!(applied.status, 200, "{applied:?}");
        server.wait_for_phase(&token, tenant, "words", "running");
        let runner = runner_of(server.data().parent().expect("a home"), tenant);
        let runner = runner.expect("it runs a pipeline");
        assert!(group.has(&format!("tenant-{tenant}"), runner));
        let most = group.0.join(format!("tenant-{tenant}/memory.max"));
        if most.exists() {
            let most: u64 = fs::read_to_string(most)
                .expect("readable")
                .trim()
                .parse()
                .expect("a limit");
            assert!(most > 64 << 20, "the plugins' memory and some");
        }
    }
    assert!(group.0.join("checks").is_dir());
    server.stop().succeeded();
    wait_until("the end of the runners", || {
        ["acme", "beta"].iter().all(|tenant| {
            let processes = group.0.join(format!("tenant-{tenant}/cgroup.procs"));
            fs::read_to_string(processes).is_ok_and(|all| all.is_empty())
        })
    });
}

#[test]
fn a_folder_that_is_no_control_group_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = wasmill_tests::wasmill();
    server
        .arg("serve")
        .arg("--data")
        .arg(folder.path().join("data"));
    let ended = server
        .arg("--cgroup")
        .arg(folder.path())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success());
    assert!(
        said.contains("cannot be divided") && said.contains("Delegate=yes"),
        "{said}"
    );
}
