//! What a pipeline file says of rejected rows, and the `[rejected]` table that the server adds where it says nothing. Pure.

use std::collections::BTreeMap;
use std::path::Path;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rejecting {
    /// Whether it has a `[rejected]` of its own.
    pub has_own: bool,
    /// The nodes that reject, each with how many inputs it has, a source one as well.
    pub nodes: BTreeMap<String, usize>,
}

/// Reads it of a text; of one that is no pipeline file nothing.
pub fn rejecting(text: &str) -> Rejecting {
    let Ok(file) = text.parse::<toml::Table>() else {
        return Rejecting::default();
    };
    let sections = ["sources", "steps", "sinks"].map(|section| file.get(section)?.as_table());
    let nodes = sections.into_iter().flatten().flatten();
    let rejecting = nodes.filter_map(|(name, node)| {
        let rejects = node.get("on_error")?.as_str()? == "reject";
        let inputs = node.get("inputs").and_then(|inputs| inputs.as_array());
        rejects.then(|| (name.clone(), inputs.map_or(1, Vec::len)))
    });
    Rejecting {
        has_own: file.contains_key("rejected"),
        nodes: rejecting.collect(),
    }
}

/// What the server adds to a file: where its rejected rows go, and where those lie that come again. Nothing if it does not reject, or has its
/// own table.
pub fn appendix(text: &str, rejected: &Path, again: &Path) -> String {
    let said = rejecting(text);
    if said.has_own || said.nodes.is_empty() {
        return String::new();
    }
    let written = |path: &Path| toml::Value::String(path.to_string_lossy().into_owned());
    format!(
        "\n[rejected]\ntype = \"files\"\npath = {}\nagain = {}\n",
        written(rejected),
        written(again)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[sources]
lines = { type = "files", path = "in", on_error = "reject" }
[steps.a]
input = "lines"
on_error = "skip"
[steps.b]
inputs = ["lines", "a"]
on_error = "reject""#;

    #[test]
    fn a_file_that_rejects_and_does_not_say_where_to_gets_a_table() {
        let nodes = [("b", 2), ("lines", 1)];
        let nodes = nodes.map(|(name, inputs)| (name.to_owned(), inputs)).into();
        let expected = Rejecting {
            has_own: false,
            nodes,
        };
        assert_eq!(rejecting(TEXT), expected);
        let added = appendix(TEXT, Path::new("/a \"b\""), Path::new("/c"));
        let whole: toml::Table = format!("{TEXT}{added}").parse().unwrap();
        assert_eq!(whole["rejected"]["path"].as_str(), Some("/a \"b\""));
        assert_eq!(whole["rejected"]["again"].as_str(), Some("/c"));
        assert_eq!(whole["steps"]["b"]["on_error"].as_str(), Some("reject"));
        for other in [
            TEXT.replace("reject\"", "skip\""),
            format!("{TEXT}\n[rejected]\ntype = 'files'\npath = 'own'"),
            format!("{TEXT}\nnonsense = ["),
        ] {
            assert_eq!(appendix(&other, Path::new("/a"), Path::new("/b")), "");
        }
    }
}
