//! Rejected rows come again: each node that rejects has one more source, the files of a folder of its own, whose rows it takes beside its input.
//!
//! So what comes again is planned, recorded and delivered as all input is, exactly once. A source's own records come again as it reads them,
//! the rows of a step or sink as JSON objects with the columns of its input.

use std::path::Path;

use super::plan::{Node, NodeKind, OnError, PortRef};
use crate::format::RecordFormat;
use crate::receive::{FilesSource, SourceConfig};

/// The nodes with such sources before them, which read `FOLDER/NODE/`. A step with several inputs has none: a row does not say which it is of.
pub fn with_rows_again(mut nodes: Vec<Node>, folder: &Path) -> Vec<Node> {
    let is_endless =
        |node: &Node| matches!(&node.kind, NodeKind::Source(source) if source.is_endless());
    // They do not keep a pipeline running whose input ends.
    let watch = nodes.iter().any(is_endless);
    let sources = nodes.iter().enumerate();
    let sources = sources.filter_map(|(index, node)| Some((index, source(node, folder, watch)?)));
    let (readers, mut all): (Vec<usize>, Vec<Node>) = sources.unzip();
    for port in nodes.iter_mut().flat_map(ports_read) {
        port.node += readers.len();
    }
    for (place, reader) in readers.iter().enumerate() {
        let again = PortRef {
            node: place,
            port: 0,
        };
        match nodes[*reader].kind {
            NodeKind::Source(_) => read_beside(&mut nodes, reader + readers.len(), again),
            _ => nodes[*reader].inputs[0].ports.push(again),
        }
    }
    all.extend(nodes);
    all
}

/// The source of what a node is to take again, if it rejects.
fn source(node: &Node, folder: &Path, watch: bool) -> Option<Node> {
    if node.on_error != OnError::Reject {
        return None;
    }
    let (format, schema) = match (&node.kind, node.inputs.as_slice()) {
        (NodeKind::Source(source), _) => (source.format()?.clone(), node.ports[0].clone()),
        (_, [input]) => (
            RecordFormat::rows(input.schema.clone()),
            input.schema.clone(),
        ),
        _ => return None,
    };
    let files = FilesSource::of_folder(folder.join(node.name.as_str()), format, watch);
    Some(Node {
        name: node.name.again(),
        inputs: Vec::new(),
        ports: vec![schema],
        on_error: OnError::Reject,
        kind: NodeKind::Source(SourceConfig::Files(files)),
    })
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
