//! What a report says, apart from how it looks: the same sections become Markdown and HTML.

/// A part of a report under a heading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// Its heading.
    pub title: String,
    /// What stands there.
    pub blocks: Vec<Block>,
    /// Whether a page shows it only when asked to.
    pub folded: bool,
}

/// A piece of a section.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    /// A paragraph.
    Text(String),
    /// Points.
    List(Vec<String>),
    /// A table.
    Table(Grid),
    /// A plot: a file beside a Markdown text, in line on a page.
    Figure {
        /// Name of the file.
        file: &'static str,
        /// What it shows.
        caption: String,
        /// The plot.
        svg: String,
    },
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    /// Heads of the columns.
    pub header: Vec<String>,
    /// Cells by row.
    pub rows: Vec<Vec<String>>,
    /// How many columns from the left hold words, not numbers.
    pub words: usize,
}

impl Section {
    /// An empty section.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// With a paragraph more.
    #[must_use]
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    /// With a list more.
    #[must_use]
    pub(crate) fn list(mut self, points: Vec<String>) -> Self {
        self.blocks.push(Block::List(points));
        self
    }

    /// With a table more.
    #[must_use]
    pub(crate) fn table(mut self, table: Grid) -> Self {
        self.blocks.push(Block::Table(table));
        self
    }

    /// Shown only when asked for.
    #[must_use]
    pub(crate) fn folded(self) -> Self {
        Self { folded: true, ..self }
    }
}

impl Grid {
    /// A table without rows, its first `words` columns of words.
    pub(crate) fn new(header: &[&str], words: usize) -> Self {
        Self { header: header.iter().map(ToString::to_string).collect(), rows: Vec::new(), words }
    }
}
