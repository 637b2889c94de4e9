//! Puts another plugin into a pipeline file, and leaves the rest of it as its author wrote it.

use toml::de::{DeTable, DeValue};

use super::catalog::plugin::PluginVersion;
use super::refusal::Refusal;
use crate::config::{Span, did_you_mean};

/// The file with `plugin` in the place of the one that `node` has now, a step or a sink.
///
/// # Errors
/// When the file has no such node, or the node no plugin.
pub fn exchange(text: &str, node: &str, plugin: &PluginVersion) -> Result<String, Refusal> {
    let unreadable = |error| Refusal::internal(format!("a pipeline's file is no TOML: {error}"));
    let file = DeTable::parse(text).map_err(unreadable)?;
    let plugins = plugins(file.get_ref());
    let found = plugins.iter().find(|(name, _)| name == node);
    let (_, span) = found.ok_or_else(|| {
        let names = plugins.iter().map(|(name, _)| name.as_str());
        let help = did_you_mean(node, names)
            .unwrap_or_else(|| "none of its steps and sinks has a plugin".into());
        Refusal::invalid(format!("the pipeline has no plugin called `{node}`")).help(help)
    })?;
    let (before, after) = (&text[..span.start], &text[span.end..]);
    Ok(format!(
        "{before}\"{}@{}\"{after}",
        plugin.name, plugin.version
    ))
}

/// Every step and sink that has a plugin, and where the file says which.
fn plugins(file: &DeTable<'_>) -> Vec<(String, Span)> {
    let sections = file.iter().filter(|(name, _)| {
        let name = name.get_ref();
        name == "steps" || name == "sinks"
    });
    let nodes = sections.filter_map(|(_, section)| section.get_ref().as_table());
    let plugins = nodes.flatten().filter_map(|(name, node)| {
        let mut settings = node.get_ref().as_table()?.iter();
        let (_, plugin) = settings.find(|(key, _)| key.get_ref() == "plugin")?;
        let is_text = matches!(plugin.get_ref(), DeValue::String(_));
        is_text.then(|| (name.get_ref().to_string(), plugin.span()))
    });
    plugins.collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::ids::{Digest, PluginName};

    const FILE: &str = r#"# Ours.
name = "p" # not a "plugin"
[sources.plugin]
type = "generate"
[steps]
words = { input = "plugin", plugin = 'split' }
[steps.all]
input = "words"
plugin = "count@1"   # for now
[sinks.out]
input = "all"
type = "print"
"#;

    fn second(name: &str) -> PluginVersion {
        PluginVersion {
            name: PluginName::parse(name).unwrap(),
            version: 2,
            digest: Digest::of(b"2"),
            world: "transform".into(),
            contract: "0.1.0".into(),
            size: 1,
            signed_by: None,
            capabilities: Vec::new(),
            pushed_by: String::new(),
            pushed: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn nothing_of_a_file_changes_but_the_plugin() {
        let all = exchange(FILE, "all", &second("count")).unwrap();
        assert_eq!(all, FILE.replace("\"count@1\"", "\"count@2\""));
        let words = exchange(FILE, "words", &second("cut")).unwrap();
        assert_eq!(words, FILE.replace("'split'", "\"cut@2\""));
    }

    #[test]
    fn a_node_without_a_plugin_is_refused_with_the_names_of_those_that_have_one() {
        let refused = |node| exchange(FILE, node, &second("cut")).unwrap_err();
        assert_eq!(refused("word").help.unwrap(), "did you mean `words`?");
        for node in ["out", "plugin", "type"] {
            let help = refused(node).help.unwrap();
            assert_eq!(help, "known here: `words`, `all`", "{node}");
        }
    }
}
