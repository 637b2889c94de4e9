//! What an apply would change, and what it asks for that the version before did not.

use similar::TextDiff;

use super::catalog::pipeline::{PipelineVersion, PluginUse};

/// A line for each change of a definition; none if nothing changes.
pub fn changes(before: Option<&PipelineVersion>, after: &PipelineVersion) -> Vec<String> {
    let Some(before) = before else {
        let plugins = after
            .plugins
            .iter()
            .map(|used| format!("{} is {}", used.node, called(used)));
        return std::iter::once("a new pipeline".to_owned())
            .chain(plugins)
            .collect();
    };
    let mut changes = Vec::new();
    if before.text != after.text {
        changes.push("the file".to_owned());
    }
    if before.workers != after.workers {
        changes.push(format!("workers: {} -> {}", before.workers, after.workers));
    }
    for used in &after.plugins {
        match before.plugins.iter().find(|one| one.node == used.node) {
            None => changes.push(format!("{}: {}", used.node, called(used))),
            Some(one) if one.digest != used.digest => {
                changes.push(format!(
                    "{}: {} -> {}",
                    used.node,
                    called(one),
                    called(used)
                ));
            }
            Some(_) => (),
        }
    }
    for used in &before.plugins {
        if !after.plugins.iter().any(|one| one.node == used.node) {
            changes.push(format!(
                "{}: no plugin any more, was {}",
                used.node,
                called(used)
            ));
        }
    }
    changes
}

/// A line for each capability that a step or sink asks for and its plugin before did not. A pipeline that is new has been looked at as a whole.
pub fn more_capabilities(before: Option<&PipelineVersion>, after: &PipelineVersion) -> Vec<String> {
    let Some(before) = before else {
        return Vec::new();
    };
    let had = |used: &PluginUse, capability: &String| {
        let mut before = before.plugins.iter().filter(|one| one.node == used.node);
        before.any(|one| one.capabilities.contains(capability))
    };
    let more = after.plugins.iter().flat_map(|used| {
        let capabilities = used.capabilities.iter();
        let more = capabilities.filter(|capability| !had(used, capability));
        more.map(|capability| format!("{}: {} asks for {capability}", used.node, called(used)))
    });
    more.collect()
}

/// The difference of the files as people read it; empty if there is none.
pub fn of_texts(before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    TextDiff::from_lines(before, after)
        .unified_diff()
        .to_string()
}

fn called(used: &PluginUse) -> String {
    format!("{}@{}", used.plugin, used.version)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::ids::PluginName;

    fn version(text: &str, plugins: &[(&str, u32, &[&str])]) -> PipelineVersion {
        let plugins = plugins
            .iter()
            .map(|(node, version, capabilities)| PluginUse {
                node: (*node).to_owned(),
                reference: "words".into(),
                plugin: PluginName::parse("words").unwrap(),
                version: *version,
                digest: version.to_string(),
                capabilities: capabilities.iter().map(ToString::to_string).collect(),
            });
        PipelineVersion {
            version: 1,
            workers: 1,
            applied_by: String::new(),
            applied: Timestamp::from_second(1).unwrap(),
            plugins: plugins.collect(),
            text: text.into(),
        }
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let one = version("a\n", &[("split", 1, &[])]);
        assert!(changes(Some(&one), &one.clone()).is_empty());
        assert_eq!(of_texts("a\n", "a\n"), "");
    }

    #[test]
    fn every_change_is_a_line() {
        let before = version("a\n", &[("split", 1, &[]), ("old", 1, &[])]);
        let mut after = version("b\n", &[("split", 2, &[]), ("new", 3, &[])]);
        after.workers = 2;
        assert_eq!(
            changes(Some(&before), &after),
            [
                "the file",
                "workers: 1 -> 2",
                "split: words@1 -> words@2",
                "new: words@3",
                "old: no plugin any more, was words@1",
            ]
        );
        assert_eq!(changes(None, &before)[0], "a new pipeline");
        assert!(of_texts("a\n", "b\n").contains("\n-a\n+b\n"));
    }

    #[test]
    fn only_what_the_version_before_did_not_ask_for_is_more() {
        let before = version("", &[("split", 1, &[]), ("post", 1, &["http"])]);
        let after = version("", &[("split", 2, &["http"]), ("post", 2, &["http"])]);
        assert_eq!(
            more_capabilities(Some(&before), &after),
            ["split: words@2 asks for http"]
        );
        assert!(more_capabilities(None, &after).is_empty());
    }
}
