//! What a pipeline file says of its graph: who reads whom, and what each is. For who draws it; nothing is checked, and no plugin is opened.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::spec::{self, NodeSpec, Settings};
use crate::config::{self, Problems};

/// A source, step or sink as it is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutlineNode {
    /// Its name.
    pub name: String,
    /// `source`, `step` or `sink`.
    pub role: String,
    /// What it is: `files`, `aggregate`, `plugin`.
    pub kind: String,
    /// The plugin as the file calls it, if it is one.
    pub plugin: Option<String>,
    /// What it reads, `NODE` or `NODE.PORT`.
    pub inputs: Vec<String>,
}

/// The nodes of a file: sources, then steps, then sinks, each in the file's order. Of a text that is no pipeline file, those that can be read.
pub fn outline(text: &str) -> Vec<OutlineNode> {
    let table = config::parse(text, Path::new(""), &Problems::default());
    let nodes = table.map_or_else(Vec::new, |table| spec::read(table).nodes);
    nodes.iter().map(node).collect()
}

fn node(spec: &NodeSpec) -> OutlineNode {
    let inputs = spec.inputs.iter().flatten();
    let inputs = inputs.map(|input| match &input.port {
        Some(port) => format!("{}.{}", input.node.get_ref(), port.get_ref()),
        None => input.node.get_ref().clone(),
    });
    let (kind, plugin) = kind(spec);
    OutlineNode {
        name: spec.name.get_ref().clone(),
        role: spec.role.word().to_owned(),
        kind: kind.to_owned(),
        plugin,
        inputs: inputs.collect(),
    }
}

fn kind(spec: &NodeSpec) -> (&'static str, Option<String>) {
    let kind = match &spec.settings {
        None => spec.role.word(),
        Some(Settings::Source(source)) => source.kind(),
        Some(Settings::Table(_)) => "table",
        Some(Settings::Plugin { plugin, .. } | Settings::SinkPlugin { plugin, .. }) => {
            return ("plugin", Some(plugin.plugin.get_ref().clone()));
        }
        Some(Settings::Filter(_)) => "filter",
        Some(Settings::Select(_)) => "select",
        Some(Settings::Aggregate(_)) => "aggregate",
        Some(Settings::Join(_)) => "join",
        Some(Settings::Repartition(_)) => "repartition",
        Some(Settings::Sink(sink)) => sink.kind(),
    };
    (kind, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_read_of_the_text_alone() {
        let text = r#"
name = "counts"
[sources.lines]
type = "files"
path = "in"
[steps.words]
input = ["lines"]
plugin = "split-words@2"
[steps.long]
input = "words"
filter = "length(word) > 3"
[sinks.out]
input = ["long", "words.rest"]
type = "print"
"#;
        let nodes = outline(text);
        let said = |node: &OutlineNode| {
            let plugin = node.plugin.as_deref().unwrap_or("-");
            let inputs = node.inputs.join(" ");
            format!(
                "{} {} {} {plugin} <{inputs}>",
                node.role, node.name, node.kind
            )
        };
        let said: Vec<String> = nodes.iter().map(said).collect();
        assert_eq!(
            said,
            [
                "source lines files - <>",
                "step words plugin split-words@2 <lines>",
                "step long filter - <words>",
                "sink out print - <long words.rest>",
            ]
        );
        assert_eq!(outline("nonsense = ["), []);
    }
}
