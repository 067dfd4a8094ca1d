use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::net::{Graph, GraphError};

/// A plain table; columns from `right_from` on are aligned right.
pub(crate) fn table(header: &[&str], right_from: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(header);
    for (i, column) in table.column_iter_mut().enumerate() {
        if i >= right_from {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Layers of a network with output shapes, parameters and multiply-accumulates for an image of `size`².
pub fn graph_table(graph: &Graph, size: usize) -> Result<Table, GraphError> {
    let shapes = graph.shapes(size, size)?;
    let mut table = table(&["node", "operation", "output", "parameters", "MMAC"], 2);
    let parameters = graph.parameters();
    for (node, shape) in graph.nodes.iter().zip(&shapes) {
        let own = |p: &str| {
            p.strip_prefix(node.name.as_str())
                .is_some_and(|rest| rest.starts_with('.') && !rest[1..].contains('.'))
        };
        let count: usize =
            parameters.iter().filter(|p| own(&p.name)).map(|p| p.shape.iter().product::<usize>()).sum();
        table.add_row([
            node.name.clone(),
            node.op.to_string(),
            shape.map(|n| n.to_string()).join(" × "),
            if count == 0 { String::new() } else { count.to_string() },
            match node.op.macs(*shape) {
                0 => String::new(),
                macs => format!("{:.1}", macs as f64 / 1e6),
            },
        ]);
    }
    let total = [
        "total".to_owned(),
        String::new(),
        String::new(),
        graph.trainable_count().to_string(),
        format!("{:.1}", graph.macs(size, size)? as f64 / 1e6),
    ];
    table.add_row(total);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::GraphBuilder;

    #[test]
    fn rows_carry_parameters_and_macs() {
        let (mut g, x) = GraphBuilder::new("tiny", 1);
        let y = g.conv("head", x, 2, 1, |c| c.bias = true);
        let text = graph_table(&g.finish(&[y]), 1000).unwrap().to_string();
        let head = text.lines().find(|line| line.contains("head")).unwrap();
        assert!(head.contains("2 × 1000 × 1000") && head.contains(" 4 ") && head.contains("2.0"), "{text}");
    }
}
