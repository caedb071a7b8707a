//! A to-do list that works offline and is the same on all devices: an application of `mentat_sync::client`, whole.
//!
//! ```sh
//! mentat-sync init list --server https://sync.example.org     # or, with an invite: mentat-sync clone list
//! cargo run --example todo -- list add milk
//! cargo run --example todo -- list sync
//! ```
//!
//! `add TEXT`, `edit N TEXT`, `done N`, `remove N` and `list` need no network; `sync` does, once; `watch` does until it is
//! ended.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mentat_sync::client::{App, Entry, Rebase, Replica};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An entry of the journal, as JSON.
#[derive(Serialize, Deserialize, Clone)]
enum Op {
    Add { id: String, text: String },
    Edit { id: String, text: String },
    Done { id: String },
    Remove { id: String },
}

/// An entry of the chain: one of the list, or one of the program itself, which every application leaves alone. A `rekey` hands
/// on the old keys by one.
#[derive(Deserialize)]
#[serde(untagged)]
enum TodoEntry {
    List(Op),
    Program {
        #[serde(rename = "app")]
        _app: String,
    },
}

/// The list after some entry.
#[derive(Default, Clone, Serialize, Deserialize)]
struct State {
    /// The transaction of that entry; none before the first.
    at: Option<String>,
    /// Each with its text, and whether it is done.
    todos: BTreeMap<String, (String, bool)>,
}

impl State {
    fn step(&mut self, op: Op) {
        match op {
            Op::Add { id, text } => {
                self.todos.insert(id, (text, false));
            }
            Op::Edit { id, text } => {
                if let Some(todo) = self.todos.get_mut(&id) {
                    todo.0 = text;
                }
            }
            Op::Done { id } => {
                if let Some(todo) = self.todos.get_mut(&id) {
                    todo.1 = true;
                }
            }
            Op::Remove { id } => {
                self.todos.remove(&id);
            }
        }
    }
}

/// The application: what the server confirmed, and on top of it what it has not.
struct TodoList {
    confirmed: State,
    shown: State,
    file: PathBuf,
}

impl App for TodoList {
    type Error = serde_json::Error;

    fn position(&self) -> mentat_sync::model::TransactionId {
        let at = self.confirmed.at.as_ref().and_then(|at| at.parse().ok());
        at.unwrap_or(mentat_sync::model::TransactionId::ROOT)
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Self::Error> {
        if let TodoEntry::List(op) = serde_json::from_slice(&entry.body)? {
            self.shown.step(op.clone());
            if !entry.pending {
                self.confirmed.step(op);
            }
        }
        if !entry.pending {
            self.confirmed.at = Some(entry.id.to_string());
        }
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Self::Error> {
        self.shown = self.confirmed.clone();
        Ok(())
    }

    /// Others were quicker, and what they said is in `shown` now. The conflicts that this application knows are about a thing
    /// that they removed.
    fn rebase(&mut self, ours: &Entry) -> Result<Rebase, Self::Error> {
        let is_there = |id: &str| self.shown.todos.contains_key(id);
        let TodoEntry::List(ours) = serde_json::from_slice(&ours.body)? else {
            return Ok(Rebase::Keep);
        };
        Ok(match ours {
            // We ticked it off, or removed it as well: nothing is left to say.
            Op::Done { id } | Op::Remove { id } if !is_there(&id) => Rebase::Drop,
            // We wrote it anew: that is worth more than its removal, so it comes back.
            Op::Edit { id, text } if !is_there(&id) => {
                Rebase::Replace(serde_json::to_vec(&Op::Add { id, text })?, Vec::new())
            }
            _ => Rebase::Keep,
        })
    }
}

impl TodoList {
    /// The list as it was saved, and what was said since then; asks nobody.
    fn load(replica: &Replica, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let file = directory.join("todo.json");
        let confirmed: State = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error.into()),
        };
        let shown = confirmed.clone();
        let mut todo = Self {
            confirmed,
            shown,
            file,
        };
        for entry in replica.entries(todo.position()) {
            todo.apply(&entry?)?;
        }
        Ok(todo)
    }

    /// Saves what is confirmed together with its position: one write, which is there as a whole or not at all.
    fn save(&self) -> Result<(), Box<dyn Error>> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(&serde_json::to_vec(&self.confirmed)?)?;
        new.as_file().sync_all()?;
        new.persist(&self.file)?;
        Ok(())
    }

    fn show(&self) {
        for (number, (text, done)) in self.shown.todos.values().enumerate() {
            println!(
                "{:>3} [{}] {text}",
                number + 1,
                if *done { 'x' } else { ' ' }
            );
        }
    }

    /// The id of what is shown under this number.
    fn id(&self, number: &str) -> Result<String, Box<dyn Error>> {
        let place = number.parse::<usize>()?.checked_sub(1);
        let id = place.and_then(|place| self.shown.todos.keys().nth(place));
        Ok(id.ok_or("no such number: `list` shows them")?.clone())
    }

    /// One sync; being offline is no failure.
    fn sync(&mut self, replica: &Replica) -> Result<(), Box<dyn Error>> {
        match replica.sync(self) {
            Ok(_) => self.save()?,
            Err(error) if error.is_transient() => eprintln!("later: {error}"),
            Err(error) => return Err(error.into()),
        }
        self.show();
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [directory, verb @ ..] = &args[..] else {
        return Err(
            "todo DIR add TEXT | edit N TEXT | done N | remove N | list | sync | watch".into(),
        );
    };
    let directory = Path::new(directory);
    let replica = Replica::open(directory)?;
    let mut todo = TodoList::load(&replica, directory)?;
    let op = match verb {
        ["add", text] => Op::Add {
            id: Uuid::new_v4().to_string(),
            text: (*text).to_owned(),
        },
        ["edit", number, text] => Op::Edit {
            id: todo.id(number)?,
            text: (*text).to_owned(),
        },
        ["done", number] => Op::Done {
            id: todo.id(number)?,
        },
        ["remove", number] => Op::Remove {
            id: todo.id(number)?,
        },
        ["list"] => {
            todo.show();
            return Ok(());
        }
        ["sync"] => return todo.sync(&replica),
        ["watch"] => loop {
            todo.sync(&replica)?;
            match replica.wait(Duration::from_secs(300)) {
                Err(error) if error.is_transient() => std::thread::sleep(Duration::from_secs(10)),
                woken => drop(woken?),
            }
        },
        _ => return Err("what is that? Without arguments, all verbs are told".into()),
    };
    // Durable when this returns, without any network.
    let entry = replica.commit(&serde_json::to_vec(&op)?, &[])?;
    todo.apply(&entry)?;
    todo.show();
    Ok(())
}
