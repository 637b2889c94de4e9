//! Rejected rows come again: each node that rejects has one more source for each input, the files of a folder of its own, whose rows it takes
//! beside that input.
//!
//! So what comes again is planned, recorded and delivered as all input is, exactly once. A source's own records come again as it reads them,
//! the rows of a step or sink as JSON objects with the columns of its input.

use std::path::Path;

use super::plan::{Input, Node, NodeKind, OnError, PortRef};
use crate::format::RecordFormat;
use crate::receive::{FilesSource, SourceConfig};

/// The nodes with such sources before them, which read `FOLDER/NODE/`, or for a plugin with several inputs one for each, `FOLDER/NODE/INPUT/`.
pub fn with_rows_again(mut nodes: Vec<Node>, folder: &Path) -> Vec<Node> {
    let is_endless =
        |node: &Node| matches!(&node.kind, NodeKind::Source(source) if source.is_endless());
    // They do not keep a pipeline running whose input ends.
    let watch = nodes.iter().any(is_endless);
    let sources = nodes.iter().enumerate().flat_map(|(index, node)| {
        let sources = sources(node, folder, watch).into_iter().enumerate();
        sources.map(move |(input, source)| ((index, input), source))
    });
    let (readers, mut all): (Vec<(usize, usize)>, Vec<Node>) = sources.unzip();
    for port in nodes.iter_mut().flat_map(ports_read) {
        port.node += readers.len();
    }
    for (place, (reader, input)) in readers.iter().enumerate() {
        let again = PortRef {
            node: place,
            port: 0,
        };
        match nodes[*reader].kind {
            NodeKind::Source(_) => read_beside(&mut nodes, reader + readers.len(), again),
            _ => nodes[*reader].inputs[*input].ports.push(again),
        }
    }
    all.extend(nodes);
    all
}

/// The sources of what a node is to take again, if it rejects: one for each input.
fn sources(node: &Node, folder: &Path, watch: bool) -> Vec<Node> {
    if node.on_error != OnError::Reject {
        return Vec::new();
    }
    let folder = folder.join(node.name.as_str());
    let source = |input: Option<usize>, format, schema| {
        let folder = input.map_or(folder.clone(), |input| folder.join(input.to_string()));
        let files = FilesSource::of_folder(folder, format, watch);
        Node {
            name: node.name.again(input),
            inputs: Vec::new(),
            ports: vec![schema],
            on_error: OnError::Reject,
            kind: NodeKind::Source(SourceConfig::Files(files)),
        }
    };
    let rows = |(index, input): (Option<usize>, &Input)| {
        let format = RecordFormat::rows(input.schema.clone());
        source(index, format, input.schema.clone())
    };
    match (&node.kind, node.inputs.as_slice()) {
        (NodeKind::Source(config), _) => {
            let records = config.format().cloned();
            let records = records.map(|format| source(None, format, node.ports[0].clone()));
            records.into_iter().collect()
        }
        (_, [input]) => vec![rows((None, input))],
        (NodeKind::Keyed(_), inputs) => (0..).map(Some).zip(inputs).map(rows).collect(),
        _ => Vec::new(),
    }
}

/// Has all that read a source read what comes again of it too.
fn read_beside(nodes: &mut [Node], source: usize, again: PortRef) {
    for input in nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        if input.ports.iter().any(|port| port.node == source) {
            input.ports.push(again);
        }
    }
}

fn ports_read(node: &mut Node) -> impl Iterator<Item = &mut PortRef> {
    node.inputs.iter_mut().flat_map(|input| &mut input.ports)
}
