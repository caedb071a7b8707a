//! The table as it is printed (Markdown, for the README) and as it is kept (JSON).

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::measure::{Bar, Outcome, Row, Unit, median};

/// The rows as a table in Markdown, with the machine below.
pub fn markdown(rows: &[Row], machine: &Map<String, Value>, runs: usize) -> String {
    let mut lines = vec![["work", "ours", "peer", "ratio", "bar", ""].map(str::to_owned)];
    lines.extend(rows.iter().map(line));
    let widths: [usize; 6] =
        std::array::from_fn(|column| lines.iter().map(|line| width(&line[column])).max().unwrap_or(0));
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
    let _ = writeln!(text, "\nMedians of {runs} runs, both sides in turns.");
    for (name, fact) in machine {
        let _ = writeln!(text, "{name}: {}", fact.as_str().unwrap_or_default());
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn line(row: &Row) -> [String; 6] {
    let bar = match row.bar {
        Bar::AtLeast(bar) => format!("≥ {bar}"),
        Bar::AtMost(bar) => format!("≤ {bar}"),
        Bar::None => "–".to_owned(),
    };
    let empty = String::new;
    match &row.outcome {
        Outcome::Measured(figures) => {
            let ratio = figures.ratio();
            let verdict = match row.bar {
                Bar::None => "",
                bar if bar.is_met(ratio) => "met",
                _ => "MISSED",
            };
            [
                row.work.clone(),
                figure(median(&figures.ours), figures.unit),
                format!("{} ({})", figure(median(&figures.theirs), figures.unit), figures.peer),
                format!("{ratio:.2}"),
                bar,
                verdict.to_owned(),
            ]
        }
        Outcome::Skipped(why) => [
            row.work.clone(),
            empty(),
            empty(),
            empty(),
            bar,
            format!("not run: {why}"),
        ],
        Outcome::Failed(why) => [
            row.work.clone(),
            empty(),
            empty(),
            empty(),
            bar,
            format!("FAILED: {}", why.replace(['\n', '|'], " ")),
        ],
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
