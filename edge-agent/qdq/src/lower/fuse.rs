//! Functions of one value become one table: of a table's output, of a value and its own table (as in `x × sigmoid(x)`),
//! of a value and a known number, of a part that is joined.

use std::collections::HashMap;

use crate::graph::{Binary, Island, Kind, Node, Op, Quant, ValueId};

type Table = Box<[u8; 256]>;

/// Puts tables into what alone reads them, until nothing is left to do.
pub(crate) fn fuse(island: &mut Island) {
    while let Some((node, change)) = find(island) {
        let Change { op, inputs, absorbed } = change;
        for table in &absorbed {
            let absorbed = island.nodes[*table].name.clone();
            if absorbed != island.nodes[node].name {
                island.nodes[node].name = format!("{} of {absorbed}", island.nodes[node].name);
            }
        }
        (island.nodes[node].op, island.nodes[node].inputs) = (op, inputs);
        let mut index = 0;
        island.nodes.retain(|_| {
            index += 1;
            !absorbed.contains(&(index - 1))
        });
    }
    compact(island);
}

/// What a node becomes, and the nodes of the tables that it takes in.
struct Change {
    op: Op,
    inputs: Vec<ValueId>,
    absorbed: Vec<usize>,
}

fn find(island: &Island) -> Option<(usize, Change)> {
    let mut reads: HashMap<ValueId, usize> = HashMap::new();
    for value in island.nodes.iter().flat_map(|node| &node.inputs).chain(&island.outputs) {
        *reads.entry(*value).or_default() += 1;
    }
    let tables: HashMap<ValueId, usize> = (0..island.nodes.len())
        .filter(|node| matches!(island.nodes[*node].op, Op::Table(_)))
        .map(|node| (island.nodes[node].output, node))
        .filter(|(value, _)| reads.get(value) == Some(&1))
        .collect();
    let find = |node: &Node| change(island, node, &tables);
    island.nodes.iter().enumerate().find_map(|(index, node)| Some((index, find(node)?)))
}

fn change(island: &Island, node: &Node, tables: &HashMap<ValueId, usize>) -> Option<Change> {
    // A value, behind the table that makes what is read if that is of no other use.
    let behind = |value: ValueId| match tables.get(&value) {
        Some(table) => match &island.nodes[*table].op {
            Op::Table(own) => (island.nodes[*table].inputs[0], own.clone(), Some(*table)),
            _ => (value, identity(), None),
        },
        None => (value, identity(), None),
    };
    match &node.op {
        Op::Table(last) => {
            let (source, first, absorbed) = behind(node.inputs[0]);
            let op = Op::Table(composed(&first, last));
            Some(Change { op, inputs: vec![source], absorbed: vec![absorbed?] })
        }
        Op::Concat { axis, tables: own } => {
            let part = node.inputs.iter().position(|value| tables.contains_key(value))?;
            let (source, first, absorbed) = behind(node.inputs[part]);
            let (mut own, mut inputs) = (own.clone(), node.inputs.clone());
            own[part] = Some(own[part].as_ref().map_or(first.clone(), |last| composed(&first, last)));
            inputs[part] = source;
            Some(Change { op: Op::Concat { axis: *axis, tables: own }, inputs, absorbed: vec![absorbed?] })
        }
        Op::Binary(binary) => {
            let [a, b] = node.inputs[..] else { return None };
            let quants = [quant(island, a)?, quant(island, b)?, quant(island, node.output)?];
            let (table, source, absorbed) = match (known(island, a), known(island, b)) {
                (None, None) => {
                    let ((of_a, a, absorbed_a), (of_b, b, absorbed_b)) = (behind(a), behind(b));
                    if of_a != of_b {
                        return None;
                    }
                    let both = table(binary, quants, |byte| (a[byte], b[byte]));
                    (both, of_a, absorbed_a.into_iter().chain(absorbed_b).collect())
                }
                (Some(a), None) => (table(binary, quants, |byte| (a, byte as u8)), b, vec![]),
                (None, Some(b)) => (table(binary, quants, |byte| (byte as u8, b)), a, vec![]),
                (Some(_), Some(_)) => return None,
            };
            Some(Change { op: Op::Table(table), inputs: vec![source], absorbed })
        }
        _ => None,
    }
}

fn table(binary: &Binary, [qa, qb, to]: [Quant; 3], bytes: impl Fn(usize) -> (u8, u8)) -> Table {
    Box::new(std::array::from_fn(|byte| {
        let (a, b) = bytes(byte);
        binary.apply((a, qa), (b, qb), to)
    }))
}

fn identity() -> Table {
    Box::new(std::array::from_fn(|byte| byte as u8))
}

fn composed(first: &Table, last: &Table) -> Table {
    Box::new(first.map(|byte| last[usize::from(byte)]))
}

/// The byte of a known number that changes no shape.
fn known(island: &Island, value: ValueId) -> Option<u8> {
    match island.values[value].constant.as_ref()? {
        (shape, bytes) if shape.len() <= 1 && bytes.len() == 1 => Some(bytes[0]),
        _ => None,
    }
}

fn quant(island: &Island, value: ValueId) -> Option<Quant> {
    if let Kind::Bytes { quant, .. } = island.values[value].kind { Some(quant) } else { None }
}

/// Leaves out values that nothing reads or makes any more.
fn compact(island: &mut Island) {
    let mut used = vec![false; island.values.len()];
    let made = island.nodes.iter().flat_map(|node| node.inputs.iter().chain([&node.output]));
    made.chain(&island.inputs).chain(&island.outputs).for_each(|value| used[*value] = true);
    let mut ids = Vec::with_capacity(used.len());
    let mut next = 0;
    for used in &used {
        ids.push(next);
        next += usize::from(*used);
    }
    let mut index = 0;
    island.values.retain(|_| {
        index += 1;
        used[index - 1]
    });
    let nodes = island.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain([&mut node.output]));
    nodes.chain(&mut island.inputs).chain(&mut island.outputs).for_each(|value| *value = ids[*value]);
}
