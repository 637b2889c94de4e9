//! Which columns of which output port does anyone read? Pure: [`super::check`] asks before it builds the plan.
//!
//! Sinks read every column of their input, aggregates their keys and measured columns, transforms what their plugin
//! asked for and whatever they carry to a column that is read itself. Ports that meet in a union keep the same
//! columns. Sources and aggregates give all they have, and windows always say which they are.

use super::plan::PortRef;

/// What pruning needs to know of a node; ports and inputs have their columns in the order of their full schemas.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it reads, each input for itself.
    pub inputs: Vec<Input>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// One of a node's separate inputs.
#[derive(Clone, Debug)]
pub struct Input {
    /// What comes in; several are a union, with the same number of columns.
    pub ports: Vec<PortRef>,
    /// Columns of it that the node reads whatever is read of its outputs.
    pub reads: Vec<usize>,
}

/// A column of one of a node's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Which input.
    pub input: usize,
    /// Which of its columns.
    pub column: usize,
}

/// An output.
#[derive(Clone, Debug)]
pub struct Port {
    /// How many columns it has.
    pub columns: usize,
    /// So many of its columns, the first, are never left out.
    pub fixed: usize,
    /// The next of its columns are these of the inputs, carried.
    pub carried: Vec<Carried>,
}

/// For each node and port, whether each column is kept. A port that is read keeps at least one, so that no batch loses
/// its row count; one that is not read keeps those that are never left out.
pub fn prune(nodes: &[Node]) -> Vec<Vec<Vec<bool>>> {
    let mut kept: Kept = nodes
        .iter()
        .map(|node| {
            let ports = node.ports.iter();
            ports
                .map(|port| (0..port.columns).map(|at| at < port.fixed).collect())
                .collect()
        })
        .collect();
    spread(nodes, &mut kept);
    while let Some(port) = read_but_empty(nodes, &kept) {
        kept[port.node][port.port][0] = true;
        spread(nodes, &mut kept);
    }
    kept
}

type Kept = Vec<Vec<Vec<bool>>>;

/// Carries needs backwards until nothing changes; needs only grow, so it ends.
fn spread(nodes: &[Node], kept: &mut Kept) {
    let mut changed = true;
    while changed {
        changed = false;
        for (index, node) in nodes.iter().enumerate().rev() {
            for (place, input) in node.inputs.iter().enumerate() {
                let needed = needed(node, place, &kept[index], kept);
                for port in &input.ports {
                    for &column in &needed {
                        let kept = &mut kept[port.node][port.port][column];
                        changed |= !std::mem::replace(kept, true);
                    }
                }
            }
        }
    }
}

/// Columns of one input of a node that are needed, as far as is known of its own ports (`made`) and of all.
fn needed(node: &Node, place: usize, made: &[Vec<bool>], kept: &Kept) -> Vec<usize> {
    let input = &node.inputs[place];
    let carried = node.ports.iter().zip(made).flat_map(|(port, kept)| {
        let pairs = port.carried.iter().zip(&kept[port.fixed..]);
        pairs
            .filter(|(carried, kept)| **kept && carried.input == place)
            .map(|(carried, _)| carried.column)
    });
    let united = input.ports.iter().flat_map(|port| {
        let kept = kept[port.node][port.port].iter().enumerate();
        kept.filter(|(_, kept)| **kept).map(|(column, _)| column)
    });
    let mut needed: Vec<usize> = carried.chain(input.reads.iter().copied()).collect();
    if input.ports.len() > 1 {
        needed.extend(united);
    }
    needed
}

/// The ports that a node reads by any of its inputs.
fn ports_read(node: &Node) -> impl Iterator<Item = PortRef> {
    node.inputs
        .iter()
        .flat_map(|input| input.ports.iter().copied())
}

fn read_but_empty(nodes: &[Node], kept: &Kept) -> Option<PortRef> {
    let read = nodes.iter().flat_map(ports_read);
    read.filter(|port| nodes[port.node].ports[port.port].columns > 0)
        .find(|port| !kept[port.node][port.port].contains(&true))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// A column of a port.
    type Column = (usize, usize, usize);

    /// The slow twin: is there a way from this column to something that reads it? Searched anew for each column.
    fn is_read(
        nodes: &[Node],
        column: Column,
        extra: &[Column],
        seen: &mut HashSet<Column>,
    ) -> bool {
        let (node, port, index) = column;
        if !seen.insert(column) {
            return false;
        }
        if index < nodes[node].ports[port].fixed || extra.contains(&column) {
            return true;
        }
        let here = PortRef { node, port };
        let inputs = |reader: usize| (0..nodes[reader].inputs.len()).map(move |at| (reader, at));
        (0..nodes.len())
            .flat_map(inputs)
            .filter(|&(reader, at)| nodes[reader].inputs[at].ports.contains(&here))
            .any(|(reader, at)| {
                let input = &nodes[reader].inputs[at];
                let by_itself = input.reads.contains(&index);
                let from_here = Carried {
                    input: at,
                    column: index,
                };
                let carried = (0..nodes[reader].ports.len()).any(|port| {
                    let Port { fixed, carried, .. } = &nodes[reader].ports[port];
                    let places = (*fixed..).zip(carried);
                    places
                        .filter(|(_, from)| **from == from_here)
                        .any(|(to, _)| is_read(nodes, (reader, port, to), extra, seen))
                });
                let mut united = input.ports.iter();
                let united = united
                    .any(|other| is_read(nodes, (other.node, other.port, index), extra, seen));
                by_itself || carried || united
            })
    }

    fn twin(nodes: &[Node]) -> Kept {
        let mut extra = Vec::new();
        loop {
            let kept: Kept = (0..nodes.len())
                .map(|node| {
                    let port = |port: usize| {
                        (0..nodes[node].ports[port].columns)
                            .map(|column| {
                                is_read(nodes, (node, port, column), &extra, &mut HashSet::new())
                            })
                            .collect()
                    };
                    (0..nodes[node].ports.len()).map(port).collect()
                })
                .collect();
            let empty = nodes.iter().flat_map(ports_read).find(|port| {
                let columns = &kept[port.node][port.port];
                !columns.is_empty() && columns.iter().all(|kept| !kept)
            });
            match empty {
                Some(port) => extra.push((port.node, port.port, 0)),
                None => return kept,
            }
        }
    }

    /// Builds a graph from any numbers: each node reads one earlier port, or all earlier ports of as many columns, as a
    /// union or as separate inputs.
    fn graph(seeds: &[(u8, u8, u8, u16, bool, bool)]) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        for (index, &(pick, made, ports, mask, several, separate)) in seeds.iter().enumerate() {
            let earlier: Vec<PortRef> = (0..index)
                .flat_map(|node| {
                    (0..nodes[node].ports.len()).map(move |port| PortRef { node, port })
                })
                .collect();
            let columns_of = |at: &PortRef| nodes[at.node].ports[at.port].columns;
            let is_source = index == 0 || pick % 7 == 0;
            let first = earlier
                .get(usize::from(pick) % earlier.len().max(1))
                .copied();
            let read: Vec<PortRef> = match first.filter(|_| !is_source) {
                None => Vec::new(),
                Some(first) if several => earlier
                    .iter()
                    .filter(|other| columns_of(other) == columns_of(&first))
                    .copied()
                    .collect(),
                Some(first) => vec![first],
            };
            let width = read.first().map_or(0, columns_of);
            let inputs: Vec<Vec<PortRef>> = match (separate, is_source) {
                (_, true) => Vec::new(),
                (true, _) => read.into_iter().map(|port| vec![port]).collect(),
                (false, _) => vec![read],
            };
            let chosen = |shift: u8| -> Vec<usize> {
                (0..width)
                    .filter(|column| mask.rotate_left(shift.into()) >> (column % 16) & 1 == 1)
                    .collect()
            };
            let port = |number: u8| {
                let carried = |input: usize| {
                    let columns = chosen(number * 5 + 3 + input as u8).into_iter();
                    columns.map(move |column| Carried { input, column })
                };
                let carried: Vec<Carried> = (0..inputs.len()).flat_map(carried).collect();
                let columns = carried.len() + usize::from(made % 3) + usize::from(is_source);
                let fixed = match is_source {
                    true => columns,
                    false => usize::from(made / 3 % 3),
                };
                Port {
                    columns: columns.max(fixed + carried.len()),
                    fixed,
                    carried,
                }
            };
            let is_sink = pick % 5 == 1 && !is_source;
            let reads: Vec<usize> = match is_sink {
                true => (0..width).collect(),
                false => chosen(0).into_iter().take(1).collect(),
            };
            let ports = match is_sink {
                true => Vec::new(),
                false => (0..1 + ports % 2).map(port).collect(),
            };
            let input = |ports| Input {
                ports,
                reads: reads.clone(),
            };
            nodes.push(Node {
                inputs: inputs.into_iter().map(input).collect(),
                ports,
            });
        }
        nodes
    }

    proptest! {
        #[test]
        fn what_is_kept_is_exactly_what_the_slow_search_finds_read(
            seeds in prop::collection::vec(any::<(u8, u8, u8, u16, bool, bool)>(), 1..7)
        ) {
            let nodes = graph(&seeds);
            prop_assert_eq!(prune(&nodes), twin(&nodes), "{:#?}", nodes);
        }
    }

    /// The first port of a node as the one input, of which these columns are read.
    fn only(node: usize, reads: &[usize]) -> Input {
        Input {
            ports: vec![PortRef { node, port: 0 }],
            reads: reads.to_vec(),
        }
    }

    #[test]
    fn a_carried_column_that_only_a_later_aggregate_reads_is_kept_all_the_way() {
        let carry = |columns, carried: &[usize]| Port {
            columns,
            fixed: 0,
            carried: carried
                .iter()
                .map(|&column| Carried { input: 0, column })
                .collect(),
        };
        let source = Port {
            columns: 3,
            fixed: 3,
            carried: vec![],
        };
        let nodes = [
            Node {
                inputs: vec![],
                ports: vec![source],
            },
            // Reads column 0, carries all three, makes a fourth.
            Node {
                inputs: vec![only(0, &[0])],
                ports: vec![carry(4, &[0, 1, 2])],
            },
            // Reads the fourth, carries all four.
            Node {
                inputs: vec![only(1, &[3])],
                ports: vec![carry(4, &[0, 1, 2, 3])],
            },
            // An aggregate by column 2.
            Node {
                inputs: vec![only(2, &[2])],
                ports: vec![],
            },
        ];
        let kept = prune(&nodes);
        assert_eq!(kept[1][0], [false, false, true, true]);
        assert_eq!(kept[2][0], [false, false, true, false]);
    }

    #[test]
    fn counting_rows_keeps_one_column_to_count_by() {
        let source = Port {
            columns: 1,
            fixed: 1,
            carried: vec![],
        };
        let split = Port {
            columns: 2,
            fixed: 0,
            carried: vec![],
        };
        let nodes = [
            Node {
                inputs: vec![],
                ports: vec![source],
            },
            Node {
                inputs: vec![only(0, &[0])],
                ports: vec![split],
            },
            Node {
                inputs: vec![only(1, &[])],
                ports: vec![],
            },
        ];
        assert_eq!(prune(&nodes)[1][0], [true, false]);
    }
}
