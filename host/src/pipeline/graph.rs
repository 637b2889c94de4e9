//! Who reads whom: resolves `input`, finds circles and what no sink reads. Pure, on names alone.

use std::collections::{HashMap, HashSet};

use toml::Spanned;

use super::spec::{InputSpec, NodeSpec, Role};
use crate::config::{Problem, Problems, Span, did_you_mean};

/// The nodes of a file as a graph; nodes are indices into [`super::spec::Spec::nodes`].
pub struct Graph {
    /// Per node, what comes in by each of its inputs; `None` if one of them has a problem.
    pub inputs: Vec<Option<Vec<Links>>>,
    /// Nodes in an order in which every input comes before its readers, without those in circles or behind them.
    pub order: Vec<usize>,
    /// Per node, whether what it makes reaches a sink.
    pub reaches_sink: Vec<bool>,
}

/// What is united to one input.
pub type Links = Vec<Link>;

/// A resolved entry of `input` or `inputs`.
pub struct Link {
    /// The node read.
    pub node: usize,
    /// Which of its ports; `None` for the first.
    pub port: Option<Spanned<String>>,
    /// Where it is written.
    pub span: Span,
}

impl Graph {
    /// Resolves what `nodes` read.
    pub fn new(nodes: &[NodeSpec], problems: &Problems) -> Self {
        let names = unique_names(nodes, problems);
        let inputs: Vec<_> = nodes
            .iter()
            .map(|node| inputs_of(node, nodes, &names, problems))
            .collect();
        let order = order(&inputs);
        circles(nodes, &inputs, &order, problems);
        let reaches_sink = reaches_sink(nodes, &inputs);
        // A misspelt input leaves the node that was meant without a reader: one report is enough.
        if inputs.iter().all(Option::is_some) {
            for (node, _) in nodes.iter().zip(&reaches_sink).filter(|(_, used)| !**used) {
                let name = node.name.get_ref();
                problems.push(
                    Problem::warning(
                        node.name.span(),
                        format!("no sink reads what `{name}` makes, so it does not run"),
                    )
                    .help("name it as the `input` of a sink or step, or take it out"),
                );
            }
        }
        Self {
            inputs,
            order,
            reaches_sink,
        }
    }
}

fn unique_names<'a>(nodes: &'a [NodeSpec], problems: &Problems) -> HashMap<&'a str, usize> {
    let mut names = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let name = node.name.get_ref().as_str();
        let first = *names.entry(name).or_insert(index);
        if first != index {
            let first = &nodes[first];
            problems.push(
                Problem::error(
                    node.name.span(),
                    format!(
                        "a {} is called `{name}` already; names are unique in a pipeline",
                        first.role.word()
                    ),
                )
                .also(first.name.span(), "here"),
            );
        }
    }
    names
}

fn inputs_of(
    node: &NodeSpec,
    nodes: &[NodeSpec],
    names: &HashMap<&str, usize>,
    problems: &Problems,
) -> Option<Vec<Links>> {
    let inputs = node.inputs.iter();
    let inputs: Vec<_> = inputs
        .map(|input| links(node, input, nodes, names, problems))
        .collect();
    let inputs = inputs.into_iter().collect::<Option<Vec<_>>>()?;
    (node.role == Role::Source || !inputs.is_empty()).then_some(inputs)
}

fn links(
    node: &NodeSpec,
    inputs: &[InputSpec],
    nodes: &[NodeSpec],
    names: &HashMap<&str, usize>,
    problems: &Problems,
) -> Option<Links> {
    let mut links = Vec::new();
    let mut seen = HashSet::new();
    for input in inputs {
        let name = input.node.get_ref().as_str();
        let span = input.node.span();
        match names.get(name) {
            None => {
                let known: Vec<_> = nodes
                    .iter()
                    .filter(|other| other.role != Role::Sink && other.name != node.name)
                    .map(|other| other.name.get_ref().as_str())
                    .collect();
                let message = format!("there is no source or step called `{name}`");
                problems.add(span, message, did_you_mean(name, known.iter().copied()));
            }
            Some(&read) if nodes[read].role == Role::Sink => {
                let message = format!("`{name}` is a sink, which gives no rows");
                let problem = Problem::error(span, message);
                problems.push(problem.also(nodes[read].name.span(), "the sink"));
            }
            Some(_) if !seen.insert((name, input.port.as_ref().map(Spanned::get_ref))) => {
                let message = format!("`{name}` is named twice; its rows would come twice");
                problems.add(span, message, None);
            }
            Some(&read) => links.push(Link {
                node: read,
                port: input.port.clone(),
                span,
            }),
        }
    }
    (links.len() == inputs.len()).then_some(links)
}

fn reads(inputs: &[Option<Vec<Links>>], node: usize) -> impl Iterator<Item = usize> {
    all_links(inputs, node).map(|link| link.node)
}

/// The links of all inputs of a node.
fn all_links(inputs: &[Option<Vec<Links>>], node: usize) -> impl Iterator<Item = &Link> {
    inputs[node].iter().flatten().flatten()
}

/// Takes nodes whose inputs are all taken, in the file's order, until none is left or all that are left wait for each other.
fn order(inputs: &[Option<Vec<Links>>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut taken = vec![false; inputs.len()];
    while let Some(next) = (0..inputs.len())
        .find(|&node| !taken[node] && reads(inputs, node).all(|input| taken[input]))
    {
        taken[next] = true;
        order.push(next);
    }
    order
}

fn circles(
    nodes: &[NodeSpec],
    inputs: &[Option<Vec<Links>>],
    order: &[usize],
    problems: &Problems,
) {
    let mut done: HashSet<usize> = order.iter().copied().collect();
    for start in 0..nodes.len() {
        // Every node left over has an input left over; following them ends in a circle, reported once.
        let mut path = Vec::new();
        let mut next = (!done.contains(&start)).then_some(start);
        while let Some(node) = next {
            path.push(node);
            done.insert(node);
            let left = |input: &usize| path.contains(input) || !done.contains(input);
            let onward = reads(inputs, node).find(left);
            if let Some(at) = path.iter().position(|seen| Some(*seen) == onward) {
                report_circle(nodes, inputs, &path[at..], problems);
                break;
            }
            next = onward;
        }
    }
}

fn report_circle(
    nodes: &[NodeSpec],
    inputs: &[Option<Vec<Links>>],
    circle: &[usize],
    problems: &Problems,
) {
    let first = circle[0];
    let names: Vec<_> = circle
        .iter()
        .chain([&first])
        .map(|node| format!("`{}`", nodes[*node].name.get_ref()))
        .collect();
    let message = match circle {
        [_] => format!("{} reads itself", names[0]),
        _ => format!(
            "steps read each other in a circle: {}",
            names
                .join(", which reads ")
                .replacen(", which reads", " reads", 1)
        ),
    };
    let in_circle = |link: &&Link| circle.contains(&link.node);
    let span = |node: usize| {
        let link = all_links(inputs, node).find(in_circle);
        link.map_or(nodes[node].name.span(), |link| link.span.clone())
    };
    let mut problem = Problem::error(span(first), message);
    for node in &circle[1..] {
        problem = problem.also(span(*node), "and here");
    }
    problems.push(problem);
}

fn reaches_sink(nodes: &[NodeSpec], inputs: &[Option<Vec<Links>>]) -> Vec<bool> {
    let mut reaches = vec![false; nodes.len()];
    let mut open: Vec<usize> = (0..nodes.len())
        .filter(|&node| nodes[node].role == Role::Sink)
        .collect();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut reaches[node], true) {
            open.extend(reads(inputs, node));
        }
    }
    reaches
}
