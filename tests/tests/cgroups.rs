//! A server with a control group of version 2 to divide: the kernel's own, where it lets this test make one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use wasmill::cgroup;
use wasmill_tests::jobs::runner_of;
use wasmill_tests::server::{Server, apply};
use wasmill_tests::{binary, wait_until};

const PIPELINE: &str = "name = \"p\"\n[sources.a]\ntype = \"generate\"\nrows_per_second = 100\n[sinks.c]\ninput = \"a\"\ntype = \"print\"\n";

/// A group of this test's own, and what is below it.
struct Group(PathBuf);

impl Group {
    /// Nothing where this process may not make one in the group that it is in itself.
    fn make(name: &str) -> Option<Self> {
        let name = format!("wasmill-{name}-{}", std::process::id());
        let folder = cgroup::own()?.join(name);
        if let Err(error) = fs::create_dir(&folder) {
            eprintln!("nothing is tested, for there can be no control group here: {error}");
            return None;
        }
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

/// Runs a pipeline for each of two tenants, finds their runners where they belong, and ends the server.
fn tenants_are_apart(server: Server, group: &Group) {
    let quota = json!({ "max_memory": 64 << 20 });
    for tenant in ["acme", "beta"] {
        let token = server.tenant(tenant);
        let policy = format!("/v1/tenants/{tenant}/policy");
        server.done(&server.admin, "PUT", &policy, &quota);
        let applied = apply(&server, &token, tenant, PIPELINE);
        assert_eq!(applied.status, 200, "{applied:?}");
        server.wait_for_phase(&token, tenant, "p", "running");
        let runner = runner_of(server.data().parent().expect("a home"), tenant);
        let runner = runner.expect("it runs a pipeline");
        assert!(group.has(&format!("tenant-{tenant}"), runner));
        let most = group.0.join(format!("tenant-{tenant}/memory.max"));
        if most.exists() {
            let most = fs::read_to_string(most).expect("readable");
            let most: u64 = most.trim().parse().expect("a limit");
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
fn each_tenant_has_a_control_group_of_its_own() {
    let Some(group) = Group::make("named") else {
        return;
    };
    let folder = group.0.to_str().expect("text");
    tenants_are_apart(Server::start(&["--cgroup", folder]), &group);
}

/// systemd's mark, set by hand.
#[test]
fn a_server_finds_the_group_that_is_delegated_to_it_and_leaves_the_whole_for_a_part() {
    let Some(group) = Group::make("delegated") else {
        return;
    };
    let mark = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&group.0, "user.delegate", b"1", mark).expect("it is this test's own");
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""])
        .arg(&group.0)
        .arg(binary());
    let server = Server::of(command, &[]);
    assert!(group.has("server", server.id()));
    tenants_are_apart(server, &group);
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
