//! What goes to stdout: tables for people, one JSON object a line for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::Failure;

/// Writes to stdout through a buffer. Whoever reads may stop reading (`| head`): that is no failure.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// One JSON object on a line of its own.
pub fn json_line(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// So many of something, in words.
pub fn counted((number, what): (u64, &str)) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Columns as wide as what is in them: text to the left, then numbers to the right.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    text_columns: usize,
}

impl<const N: usize> Table<N> {
    /// A table with these headings, whose first columns are text.
    pub fn new(headings: [&str; N], text_columns: usize) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned)],
            text_columns,
        }
    }

    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Writes it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths: [usize; N] = std::array::from_fn(|column| {
            let widths = self.rows.iter().map(|row| row[column].len());
            widths.max().unwrap_or(0)
        });
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let width = widths[column];
                line += &if column < self.text_columns {
                    format!("{gap}{cell:<width$}")
                } else {
                    format!("{gap}{cell:>width$}")
                };
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
