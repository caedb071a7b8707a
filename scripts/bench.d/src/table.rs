//! The table as it is printed (Markdown, for `src/docs/performance.md`) and as it is kept (JSON).

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::measure::{Bar, Outcome, Row, Unit, median};

/// The rows as a table in Markdown, with the machine below.
///
/// A quick run has no figures worth printing: it says which rows ran.
pub fn markdown(rows: &[Row], machine: &Map<String, Value>, runs: usize, quick: bool) -> String {
    let mut lines = vec![["work", "ours", "peer", "ratio", "bar", ""].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| line(row, quick)));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        lines
            .iter()
            .map(|line| width(&line[column]))
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            let padding = " ".repeat(width - self::width(cell));
            let _ = write!(text, "| {cell}{padding} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    for row in rows {
        match &row.outcome {
            Outcome::Measured(_) => {}
            Outcome::Skipped(why) => {
                let _ = writeln!(text, "\nskipped: {}: {why}", row.work);
            }
            Outcome::Failed(why) => {
                let _ = writeln!(text, "\nFailed: {}: {why}", row.work);
            }
        }
    }
    let _ = writeln!(text, "\nMedians of {runs} runs, both sides in turns.");
    for (name, fact) in machine {
        let _ = writeln!(text, "{name}: {}", fact.as_str().unwrap_or_default());
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn line(row: &Row, quick: bool) -> [String; 6] {
    let bar = match row.bar {
        Bar::AtLeast(bar) => format!("≥ {bar}"),
        Bar::AtMost(bar) => format!("≤ {bar}"),
        Bar::None => "–".to_owned(),
    };
    let work = row.work.replace('|', "\\|");
    let without = |verdict: &str| {
        let empty = String::new;
        let work = work.clone();
        [
            work,
            empty(),
            empty(),
            empty(),
            bar.clone(),
            verdict.to_owned(),
        ]
    };
    match &row.outcome {
        Outcome::Measured(_) if quick => without("it runs"),
        Outcome::Measured(figures) => {
            let (ratio, unit) = (figures.ratio(), figures.unit);
            let verdict = match row.bar {
                Bar::None => "",
                bar if bar.is_met(ratio) => "met",
                _ => "MISSED",
            };
            [
                work,
                figure(median(&figures.ours), unit),
                format!(
                    "{} ({})",
                    figure(median(&figures.theirs), unit),
                    figures.peer
                ),
                format!("{ratio:.2}"),
                bar,
                verdict.to_owned(),
            ]
        }
        Outcome::Skipped(_) => without("not run, see below"),
        Outcome::Failed(_) => without("FAILED, see below"),
    }
}

/// A figure with about three digits that matter.
fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text + "/s"
        }
        Unit::Seconds if value < 0.001 => format!("{:.0} µs", value * 1e6),
        Unit::Seconds if value < 0.1 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Kibibytes => format!("{:.0} MiB", value / 1024.0),
    }
}
