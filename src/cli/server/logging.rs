//! Log lines, on stderr. A user's id is a secret: whatever says it whole is cut to 8 digits here,
//! whichever part of the program, or of a library, says it.
//!
//! No line is waited for: see [`LogQueue`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use log::kv::{Key, Value, VisitSource};
use log::{Metadata, Record};

use super::log_flags::LogFormat;
use super::log_queue::LogQueue;
use crate::http::ACCESS;
use crate::model::{UserId, limits};

/// The filter unless `RUST_LOG` says otherwise.
const DEFAULT: &str = "info,actix_http=warn";

/// The part of a path before a user's id, be it of the box or of a request.
const BEFORE_A_USER: [&str; 4] = ["users/", "tmp/", "trash/", "0.1/"];

/// The length of an id.
const ID: usize = 36;

/// The log of this process.
#[derive(Clone)]
pub struct ProcessLog(LogQueue);

impl ProcessLog {
    /// Starts the log. A panic is told there too: the system's own words on stderr could wait for ever.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(format: LogFormat) -> io::Result<Self> {
        type Lines = (fn(&mut String, &Record<'_>), fn(u64) -> String);
        let (write, dropped): Lines = match format {
            LogFormat::Text => (write_text, dropped_text),
            LogFormat::Json => (write_json, dropped_json),
        };
        let queue = LogQueue::start(io::stderr(), dropped)?;
        let said = std::env::var("RUST_LOG").ok();
        let said = said.filter(|said| !said.is_empty());
        let mut filter = env_logger::Builder::new();
        let filter = filter
            .parse_filters(said.as_deref().unwrap_or(DEFAULT))
            .build();
        log::set_max_level(filter.filter());
        let lines = LineFormat {
            filter,
            queue: queue.clone(),
            write,
        };
        log::set_boxed_logger(Box::new(lines)).map_err(io::Error::other)?;
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
        Ok(Self(queue))
    }

    /// The number of lines that nobody read in time, since the start.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.0.dropped()
    }

    /// Waits a moment for the last lines to be read: to be called before the process ends.
    pub fn flush(&self) {
        self.0.flush(limits::LOG_FLUSH);
    }
}

/// Makes lines of what is logged, and queues them. The access log is the most of them by far: a line costs no
/// allocation and one short lock.
struct LineFormat {
    filter: env_logger::Logger,
    queue: LogQueue,
    write: fn(&mut String, &Record<'_>),
}

thread_local! {
    /// The line that a thread is at, kept for its room.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl log::Log for LineFormat {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => {
                (self.write)(&mut line, record);
                self.queue.push(line.as_bytes());
                line.clear();
            }
            // What is logged has logged something itself, while it was written.
            Err(_) => {
                let mut line = String::new();
                (self.write)(&mut line, record);
                self.queue.push(line.as_bytes());
            }
        });
    }

    fn flush(&self) {}
}

/// A line for people.
fn write_text(line: &mut String, record: &Record<'_>) {
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    let (level, target, words) = (record.level(), record.target(), record.args());
    // A string takes all that is written to it.
    let _ = if target == ACCESS {
        // It says no more of an id than it may.
        writeln!(line, "{time} {level:<5} {target} {words}")
    } else {
        let words = words.to_string();
        let words = without_users(&words);
        writeln!(line, "{time} {level:<5} {target} {words}")
    };
}

/// A line for programs: `time`, `level` and `target`, and either the facts of an answered request, or `message`.
fn write_json(line: &mut String, record: &Record<'_>) {
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    let (level, target) = (record.level(), record.target());
    let _ = write!(
        line,
        r#"{{"time":"{time}","level":"{level}","target":{}"#,
        quoted(target)
    );
    if target == ACCESS {
        // Writing to a string does not fail.
        let _ = record.key_values().visit(&mut JsonFields(line));
    } else {
        let words = record.args().to_string();
        let _ = write!(line, r#","message":{}"#, quoted(&without_users(&words)));
    }
    line.push_str("}\n");
}

/// The text as a string of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Facts, as fields of an object that has some already.
struct JsonFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for JsonFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let _ = write!(self.0, ",{}:", quoted(key.as_str()));
        let _ = match (value.to_u64(), value.to_f64(), value.to_bool()) {
            (Some(number), ..) => write!(self.0, "{number}"),
            (_, Some(number), _) => write!(self.0, "{number}"),
            (_, _, Some(is)) => write!(self.0, "{is}"),
            _ => write!(self.0, "{}", quoted(&value.to_string())),
        };
        Ok(())
    }
}

/// The line that says how many were dropped, for people.
fn dropped_text(dropped: u64) -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    format!("{now} WARN  log {dropped} {DROPPED}\n")
}

/// The line that says how many were dropped, for programs.
fn dropped_json(dropped: u64) -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    format!(
        r#"{{"time":"{now}","level":"WARN","target":"log","message":"{dropped} {DROPPED}","dropped":{dropped}}}"#
    ) + "\n"
}

/// The words for lines that nobody read.
const DROPPED: &str = "lines were dropped: they were not read as fast as they came";

/// The text with every user's id cut to its first 8 digits.
fn without_users(text: &str) -> Cow<'_, str> {
    let mut kept: Option<String> = None;
    let mut rest = text;
    while let Some((before, id, after)) = next_user(rest) {
        let kept = kept.get_or_insert_default();
        kept.push_str(before);
        let _ = write!(kept, "{}…", id.short());
        rest = after;
    }
    match kept {
        Some(kept) => Cow::Owned(kept + rest),
        None => Cow::Borrowed(text),
    }
}

fn next_user(text: &str) -> Option<(&str, UserId, &str)> {
    let mut starts: Vec<usize> = BEFORE_A_USER
        .iter()
        .flat_map(|mark| text.match_indices(mark))
        .map(|(at, mark)| at + mark.len())
        .collect();
    starts.sort_unstable();
    starts.into_iter().find_map(|start| {
        let id = text.get(start..start + ID)?.parse().ok()?;
        Some((&text[..start], id, &text[start + ID..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_programs_is_one_object_whatever_is_said() {
        let user = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        for words in [
            "plain".to_owned(),
            "a \"quote\", a \\, a\nline\r\t and \u{0}\u{1b}[31m\u{2028}é".to_owned(),
            format!("cannot open users/{user}/HEAD"),
        ] {
            let mut line = String::new();
            let args = format_args!("{words}");
            write_json(
                &mut line,
                &Record::builder().target("a\"b").args(args).build(),
            );
            assert_eq!(line.lines().count(), 1, "{line}");
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(object["message"], without_users(&words).as_ref());
            assert_eq!(object["target"], "a\"b");
            assert!(!line.contains("10b1"), "{line}");
        }
        let dropped: serde_json::Value = serde_json::from_str(&dropped_json(7)).unwrap();
        assert_eq!(dropped["dropped"], 7);
        assert!(dropped_text(7).contains(" WARN  log 7 lines were dropped"));
    }

    #[test]
    fn a_user_is_not_named_whole_in_a_log_line() {
        let user = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let other = "11111111-2222-3333-4444-555555555555";
        for (line, shown) in [
            (
                format!("cannot open users/{user}/HEAD"),
                "cannot open users/67e55044…/HEAD",
            ),
            (
                format!("tmp/{user}.77 to users/{other}"),
                "tmp/67e55044….77 to users/11111111…",
            ),
            (format!("trash/{user}.1"), "trash/67e55044….1"),
            (format!("GET /0.1/{user}/head"), "GET /0.1/67e55044…/head"),
            ("users/é".to_owned(), "users/é"),
            ("nothing".to_owned(), "nothing"),
        ] {
            assert_eq!(without_users(&line), shown);
        }
        let transaction = format!("transactions/67/{user}.json");
        assert_eq!(without_users(&transaction), transaction);
    }
}
