//! Tables of text: columns line up, and a cell is one clean line.

use super::text::{Clean, display_width};

/// Rows under headers, columns separated by three blanks, as kubectl prints them.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows under these headers.
    pub fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: vec![],
        }
    }

    /// Adds a row. Cells are cleaned; an empty one is shown as `-` so that columns can be split at
    /// blanks.
    pub fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| Some(Clean::from(cell).into_string()).filter(|c| !c.is_empty());
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| shown(cell).unwrap_or_else(|| "-".into()))
                .collect(),
        );
    }

    /// Puts a column with the same cell in every row before the others.
    #[must_use]
    pub fn with_first_column(mut self, head: &'static str, cell: &str) -> Self {
        self.head.insert(0, head);
        let cell = Clean::from_untrusted(cell).into_string();
        for row in &mut self.rows {
            row.insert(0, cell.clone());
        }
        self
    }

    /// Adds the rows of another table with the same columns.
    pub fn append(&mut self, more: Self) {
        if self.head.is_empty() {
            self.head = more.head;
        }
        self.rows.extend(more.rows);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The whole table, one line each for the headers and every row.
    pub fn render(&self) -> String {
        self.lines().map(|line| line + "\n").collect()
    }

    /// The headers, then each row, as lines.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let head: Vec<String> = self.head.iter().map(ToString::to_string).collect();
        let widths: Vec<usize> = (0..self.head.len())
            .map(|i| {
                std::iter::once(&head)
                    .chain(&self.rows)
                    .filter_map(|row| row.get(i))
                    .map(|cell| display_width(cell))
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let to_line = move |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                let gap = width - display_width(cell) + 3;
                format!("{cell}{}", " ".repeat(gap))
            });
            cells.collect::<String>().trim_end().to_owned()
        };
        let lines: Vec<String> = std::iter::once(&head)
            .chain(&self.rows)
            .map(to_line)
            .collect();
        lines.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_under_wide_characters() {
        let mut table = Table::new(&["NAME", "WHY"]);
        table.add_row(["灰度".into(), String::new()]);
        table.add_row(["a".into(), "b c".into()]);
        assert_eq!(table.render(), "NAME   WHY\n灰度   -\na      b c\n");
    }

    #[test]
    fn a_cell_is_one_line_whatever_an_object_says() {
        let mut table = Table::new(&["MESSAGE", "BY"]);
        table.add_row([
            "\u{1b}]52;c;aGFja2Vk\u{7}yes\u{202e}\nno".into(),
            "a".into(),
        ]);
        assert_eq!(table.render(), "MESSAGE   BY\nyes⏎no    a\n");
    }
}
