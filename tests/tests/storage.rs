//! A disk and a bucket keep records alike.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use wasmill::checkpoint::storage::{Bucket, LocalDisk, S3, Storage};
use wasmill_tests::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use wasmill_tests::serve;

fn bucket(endpoint: &str, secret: &str) -> S3 {
    let bucket = Bucket::parse("s3://bucket/a/prefix").expect("an address");
    let bucket = Bucket {
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        ..bucket
    };
    let environment = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    bucket.open(environment).expect("good settings")
}

/// Runs a test on both.
fn on_each(test: impl Fn(&dyn Storage)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    test(&LocalDisk::new(&folder.path().join("not/yet/there")));
    let server = S3Server::start();
    test(&bucket(server.endpoint(), SECRET_KEY));
}

#[test]
fn what_is_there_is_not_written_again_and_what_is_not_there_is_no_error() {
    on_each(|storage| {
        assert_eq!(storage.get("a/1").unwrap(), None);
        assert_eq!(storage.list("a").unwrap(), Vec::<String>::new());
        storage.put_new("a/1", b"one").unwrap();
        let again = storage.put_new("a/1", b"two").unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
        assert_eq!(storage.get("a/1").unwrap(), Some(b"one".to_vec()));
        storage.put("a/1", b"three").unwrap();
        storage.put_new("a/2", b"").unwrap();
        assert_eq!(storage.get("a/1").unwrap(), Some(b"three".to_vec()));
        assert_eq!(storage.get("a/2").unwrap(), Some(Vec::new()));
        assert_eq!(storage.list("a").unwrap(), ["1", "2"]);
        storage.delete("a/1").unwrap();
        storage.delete("a/1").unwrap();
        assert_eq!(storage.list("a").unwrap(), ["2"]);
        assert_eq!(storage.get("a/1").unwrap(), None);
    });
}

#[test]
fn a_folder_is_listed_one_level_deep_in_the_order_of_names() {
    on_each(|storage| {
        for name in ["top", "s/b/0/x", "s/a-1/0/y", "s/a-1/0/x", "s/c", "st/d"] {
            storage.put(name, name.as_bytes()).unwrap();
        }
        assert_eq!(storage.list("s").unwrap(), ["a-1", "b", "c"]);
        assert_eq!(storage.list("s/a-1").unwrap(), ["0"]);
        assert_eq!(storage.list("s/a-1/0").unwrap(), ["x", "y"]);
        storage.delete("s/a-1/0/x").unwrap();
        storage.delete("s/a-1/0/y").unwrap();
        assert_eq!(storage.list("s/a-1/0").unwrap(), Vec::<String>::new());
    });
}

#[test]
fn large_records_come_back_as_they_were() {
    on_each(|storage| {
        let bytes: Vec<u8> = (0..5_000_000_u32)
            .map(|number| (number.wrapping_mul(number) >> 7) as u8)
            .collect();
        storage.put("large", &bytes).unwrap();
        assert!(storage.get("large").unwrap().as_deref() == Some(&bytes));
    });
}

#[test]
fn of_several_who_write_a_new_object_at_once_one_succeeds() {
    let server = S3Server::start();
    let storage = bucket(server.endpoint(), SECRET_KEY);
    for round in 0..20 {
        let name = format!("claims/{round}");
        let won = std::thread::scope(|scope| {
            let write = |who: u8| storage.put_new(&name, &[who]).is_ok();
            let threads: Vec<_> = (0..4).map(|who| scope.spawn(move || write(who))).collect();
            let won = threads.into_iter().map(|thread| thread.join().unwrap());
            won.filter(|won| *won).count()
        });
        assert_eq!(won, 1, "round {round}");
    }
}

#[test]
fn more_objects_than_one_answer_holds_are_listed() {
    let server = S3Server::start();
    let storage = bucket(server.endpoint(), SECRET_KEY);
    let folder = server.file("a/prefix/many");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..1_100 {
        std::fs::write(folder.join(format!("{number:05}")), b"").unwrap();
    }
    let listed = storage.list("many").unwrap();
    assert_eq!(listed.len(), 1_100);
    assert!(listed.is_sorted());
}

#[test]
fn a_write_whose_answer_was_lost_is_known_again() {
    let server = S3Server::start();
    let storage = bucket(server.endpoint(), SECRET_KEY);
    storage.put_new("plan", b"mine").unwrap();
    storage.put_new("plan", b"mine").unwrap();
}

#[test]
fn wrong_credentials_and_servers_that_are_not_there_are_told_apart() {
    let server = S3Server::start();
    let refused = bucket(server.endpoint(), "another secret")
        .put("a", b"a")
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    let nobody = wasmill_tests::free_addresses(1).remove(0);
    let (silent, thread) = serve(|peer| {
        std::thread::sleep(Duration::from_secs(12));
        drop(peer);
    });
    for address in [nobody, silent] {
        let began = Instant::now();
        let storage = bucket(&format!("http://{address}"), SECRET_KEY);
        let missing = storage.get("a").unwrap_err();
        assert!(missing.to_string().contains(&address), "{missing}");
        assert!(
            began.elapsed() < Duration::from_secs(13),
            "{:?}",
            began.elapsed()
        );
    }
    thread.join().unwrap();
}
