//! Which columns of which output port does anyone read? Pure: [`super::check`] asks before it builds the plan.
//!
//! Sinks read every column of their input, aggregates their keys and measured columns, transforms what their plugin
//! asked for and whatever they carry to a column that is read itself. Ports that meet in a union keep the same
//! columns. Sources and aggregates give all they have.

use super::plan::PortRef;

/// What pruning needs to know of a node; ports and inputs have their columns in the order of their full schemas.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it reads; several are a union, with the same number of columns.
    pub inputs: Vec<PortRef>,
    /// Columns of its input that it reads whatever is read of its outputs.
    pub reads: Vec<usize>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// An output.
#[derive(Clone, Debug)]
pub struct Port {
    /// How many columns it has.
    pub columns: usize,
    /// Whether columns can be left out of it.
    pub prunable: bool,
    /// The first of its columns are these of the input, carried.
    pub carried: Vec<usize>,
}

/// For each node and port, whether each column is kept. A port that is read keeps at least one, so that no batch loses
/// its row count; a prunable port that is not read keeps none.
pub fn prune(nodes: &[Node]) -> Vec<Vec<Vec<bool>>> {
    let mut kept: Kept = nodes
        .iter()
        .map(|node| {
            let ports = node.ports.iter();
            ports
                .map(|port| vec![!port.prunable; port.columns])
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
            let carried = node
                .ports
                .iter()
                .zip(&kept[index])
                .flat_map(|(port, kept)| {
                    let pairs = port.carried.iter().zip(kept);
                    pairs.filter(|(_, kept)| **kept).map(|(column, _)| *column)
                });
            let united = node.inputs.iter().flat_map(|input| {
                let kept = kept[input.node][input.port].iter().enumerate();
                kept.filter(|(_, kept)| **kept).map(|(column, _)| column)
            });
            let mut needed: Vec<usize> = carried.chain(node.reads.iter().copied()).collect();
            if node.inputs.len() > 1 {
                needed.extend(united);
            }
            for input in &node.inputs {
                for &column in &needed {
                    let kept = &mut kept[input.node][input.port][column];
                    changed |= !std::mem::replace(kept, true);
                }
            }
        }
    }
}

fn read_but_empty(nodes: &[Node], kept: &Kept) -> Option<PortRef> {
    let read = nodes.iter().flat_map(|node| node.inputs.iter().copied());
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
        if !nodes[node].ports[port].prunable || extra.contains(&column) {
            return true;
        }
        let here = PortRef { node, port };
        (0..nodes.len())
            .filter(|&reader| nodes[reader].inputs.contains(&here))
            .any(|reader| {
                let by_itself = nodes[reader].reads.contains(&index);
                let carried = (0..nodes[reader].ports.len()).any(|port| {
                    let places = nodes[reader].ports[port].carried.iter().enumerate();
                    places
                        .filter(|(_, from)| **from == index)
                        .any(|(to, _)| is_read(nodes, (reader, port, to), extra, seen))
                });
                let united = nodes[reader]
                    .inputs
                    .iter()
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
            let empty = nodes.iter().flat_map(|node| &node.inputs).find(|port| {
                let columns = &kept[port.node][port.port];
                !columns.is_empty() && columns.iter().all(|kept| !kept)
            });
            match empty {
                Some(port) => extra.push((port.node, port.port, 0)),
                None => return kept,
            }
        }
    }

    /// Builds a graph from any numbers: each node reads one earlier port, or all earlier ports of as many columns.
    fn graph(seeds: &[(u8, u8, u8, u16, bool)]) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        for (index, &(pick, made, ports, mask, union)) in seeds.iter().enumerate() {
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
            let inputs: Vec<PortRef> = match first.filter(|_| !is_source) {
                None => Vec::new(),
                Some(first) if union => earlier
                    .iter()
                    .filter(|other| columns_of(other) == columns_of(&first))
                    .copied()
                    .collect(),
                Some(first) => vec![first],
            };
            let width = inputs.first().map_or(0, columns_of);
            let chosen = |shift: u8| -> Vec<usize> {
                (0..width)
                    .filter(|column| mask.rotate_left(shift.into()) >> (column % 16) & 1 == 1)
                    .collect()
            };
            let port = |number: u8| {
                let carried = chosen(number * 5 + 3);
                Port {
                    columns: carried.len() + usize::from(made % 3) + usize::from(is_source),
                    prunable: !is_source,
                    carried,
                }
            };
            let is_sink = pick % 5 == 1 && !is_source;
            nodes.push(Node {
                reads: if is_sink {
                    (0..width).collect()
                } else {
                    chosen(0).into_iter().take(1).collect()
                },
                ports: if is_sink {
                    Vec::new()
                } else {
                    (0..1 + ports % 2).map(port).collect()
                },
                inputs,
            });
        }
        nodes
    }

    proptest! {
        #[test]
        fn what_is_kept_is_exactly_what_the_slow_search_finds_read(
            seeds in prop::collection::vec(any::<(u8, u8, u8, u16, bool)>(), 1..7)
        ) {
            let nodes = graph(&seeds);
            prop_assert_eq!(prune(&nodes), twin(&nodes), "{:#?}", nodes);
        }
    }

    #[test]
    fn a_carried_column_that_only_a_later_aggregate_reads_is_kept_all_the_way() {
        let port = |node| PortRef { node, port: 0 };
        let carry = |columns, carried| Port {
            columns,
            prunable: true,
            carried,
        };
        let source = Port {
            columns: 3,
            prunable: false,
            carried: vec![],
        };
        let nodes = [
            Node {
                inputs: vec![],
                reads: vec![],
                ports: vec![source],
            },
            // Reads column 0, carries all three, makes a fourth.
            Node {
                inputs: vec![port(0)],
                reads: vec![0],
                ports: vec![carry(4, vec![0, 1, 2])],
            },
            // Reads the fourth, carries all four.
            Node {
                inputs: vec![port(1)],
                reads: vec![3],
                ports: vec![carry(4, vec![0, 1, 2, 3])],
            },
            // An aggregate by column 2.
            Node {
                inputs: vec![port(2)],
                reads: vec![2],
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
            prunable: false,
            carried: vec![],
        };
        let split = Port {
            columns: 2,
            prunable: true,
            carried: vec![],
        };
        let nodes = [
            Node {
                inputs: vec![],
                reads: vec![],
                ports: vec![source],
            },
            Node {
                inputs: vec![PortRef { node: 0, port: 0 }],
                reads: vec![0],
                ports: vec![split],
            },
            Node {
                inputs: vec![PortRef { node: 1, port: 0 }],
                reads: vec![],
                ports: vec![],
            },
        ];
        assert_eq!(prune(&nodes)[1][0], [true, false]);
    }
}
