use super::document::{Block, Grid, Section};

/// GitHub-flavoured Markdown.
pub(super) fn markdown(title: &str, sections: &[Section]) -> String {
    format!("# {}\n{}", escape(title), markdown_sections(sections))
}

/// As a part of a text.
pub(crate) fn markdown_sections(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        if !section.title.is_empty() {
            text += &format!("\n## {}\n", escape(&section.title));
        }
        for block in &section.blocks {
            text += "\n";
            text += &match block {
                Block::Text(words) => escape(words) + "\n",
                Block::List(points) => {
                    points.iter().map(|point| format!("- {}\n", escape(point))).collect::<String>()
                }
                Block::Table(grid) => table(grid),
                Block::Figure { file, caption, .. } => format!("![{}]({file})\n", escape(caption)),
            };
        }
    }
    text
}

fn table(grid: &Grid) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let all = |cells: &Vec<String>| line(cells.iter().map(|cell| escape(cell)).collect());
    let rule = |i: usize| if i < grid.words { "---" } else { "---:" }.to_owned();
    let mut text = all(&grid.header) + &line((0..grid.header.len()).map(rule).collect());
    text.extend(grid.rows.iter().map(all));
    text
}

/// Words as they are: nothing in them is markup.
fn escape(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '\\' | '|' | '*' | '`' | '[' | ']' | '(' | ')' | '_' | '~' | '#' => text.extend(['\\', c]),
            '<' => text += "&lt;",
            '&' => text += "&amp;",
            '\n' => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_neither_links_nor_pictures_nor_entities() {
        let text = markdown("", &[Section::new("").text("![x](y.png) `a_b_c` ~~d~~ # &copy; \\")]);
        let expected = "!\\[x\\]\\(y.png\\) \\`a\\_b\\_c\\` \\~\\~d\\~\\~ \\# &amp;copy; \\\\";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn blocks_become_markdown_and_words_are_no_markup() {
        let mut table = Grid::new(&["arm", "IoU"], 1);
        table.rows.push(vec!["a|b".into(), "0.5".into()]);
        let section = Section::new("Figures").text("1 < 2 *").list(vec!["x".into()]).table(table);
        let text = markdown("Study", &[section]);
        let expected = "# Study\n\n## Figures\n\n1 &lt; 2 \\*\n\n- x\n\n| arm | IoU |\n| --- | ---: |\n| a\\|b | 0.5 |\n";
        assert_eq!(text, expected);
    }
}
