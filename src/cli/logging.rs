//! Log lines, on stderr. A user's id is a secret: whatever says it whole is cut to 8 digits here,
//! whichever part of the program, or of a library, says it.

use std::borrow::Cow;
use std::io::Write;

use env_logger::Env;

use crate::model::UserId;

/// What is shown unless `RUST_LOG` says otherwise.
const DEFAULT: &str = "info,actix_server=warn,actix_http=warn";

/// What stands before a user's id in a path, be it of the box or of a request.
const BEFORE_A_USER: [&str; 4] = ["users/", "tmp/", "trash/", "0.1/"];

/// The length of an id.
const ID: usize = 36;

/// Starts the log of this process.
pub fn start() {
    env_logger::Builder::from_env(Env::default().default_filter_or(DEFAULT))
        .format(|line, record| {
            let words = record.args().to_string();
            writeln!(
                line,
                "{} {:<5} {} {}",
                line.timestamp_millis(),
                record.level(),
                record.target(),
                without_users(&words)
            )
        })
        .init();
}

/// The text with every user's id cut to its first 8 digits.
fn without_users(text: &str) -> Cow<'_, str> {
    let mut kept: Option<String> = None;
    let mut rest = text;
    while let Some((before, id, after)) = next_user(rest) {
        let kept = kept.get_or_insert_default();
        kept.push_str(before);
        kept.push_str(&id.short());
        kept.push('…');
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
