//! Every folder under `golden/` gives what it should, on one worker, on several, and over processes.

use wasmill_tests::golden::{WAYS, cases, expected, run, update};

#[test]
fn golden_cases_give_the_same_on_one_worker_three_workers_and_two_processes() {
    let cases = cases();
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case
            .file_name()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        if std::env::var_os("UPDATE").is_some() {
            update(&case, &run(&case, 1, 1));
        }
        let expected = expected(&case);
        assert!(!expected.is_empty(), "{name} expects nothing");
        for (processes, workers) in WAYS {
            let given = run(&case, processes, workers);
            if given != expected {
                wrong.push(format!(
                    "{name} on {processes} x {workers} gave {given:#?}\ninstead of {expected:#?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
