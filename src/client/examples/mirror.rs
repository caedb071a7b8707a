//! Mirrors one user from one server to another: all that the first has and the second has not, and never anything else.
//!
//! ```sh
//! cargo run --example mirror -- https://old.example.org https://new.example.org <user-id
//! ```
//!
//! No key is needed: what is carried is sealed, and each chunk has the digest of its bytes for a name, which the second server
//! checks. Broken off, it goes on where it was. Where the second server has something that the first has not, it is left alone.

use std::error::Error;
use std::io::{Read, Seek};

use mentat_sync::client::{
    HttpOptions, HttpRemote, Parcel, PushAnswer, Remote, Result as ClientResult, Url, WithChunks,
};
use mentat_sync::model::{Head, UserId};

/// Transactions that are carried at a time.
const TOGETHER: u64 = 1000;

/// A part of the chain on its way: in a file, since it may be large.
struct Carried(std::fs::File, u64);

impl Carried {
    fn from(mut answer: impl Read) -> std::io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let bytes = std::io::copy(&mut answer, &mut file)?;
        Ok(Self(file, bytes))
    }
}

impl Parcel for Carried {
    fn bytes(&self) -> u64 {
        self.1
    }

    fn open(&self) -> ClientResult<Box<dyn Read + Send + '_>> {
        let mut file = self.0.try_clone()?;
        file.rewind()?;
        Ok(Box::new(file))
    }
}

/// Carries the chain; returns where both are then.
fn carry(from: &dyn Remote, to: &dyn Remote) -> Result<Head, Box<dyn Error>> {
    loop {
        let (theirs, ours) = (from.head()?, to.head()?);
        if theirs == ours {
            return Ok(ours);
        }
        let bundle = from.bundle(ours.id, TOGETHER, WithChunks::All)?;
        let bundle = bundle.ok_or_else(|| {
            format!(
                "the second server is at {}, which the first does not know: nothing was changed",
                ours.id
            )
        })?;
        if theirs.seq <= ours.seq {
            return Err(format!(
                "the first server is behind the second, at {}: nothing was changed",
                theirs.seq
            )
            .into());
        }
        match to.push_bundle(&Carried::from(bundle)?)? {
            PushAnswer::Taken(head) => eprintln!("{} of {} transactions", head.seq, theirs.seq),
            // Somebody else wrote there: the next look tells what.
            PushAnswer::Lost(_) => {}
            other => return Err(format!("the second server does not take it: {other:?}").into()),
        }
    }
}

/// Carries the checkpoint, whose chunks need not be on the chain.
fn carry_checkpoint(from: &dyn Remote, to: &dyn Remote) -> Result<(), Box<dyn Error>> {
    let Some(checkpoint) = from.checkpoint()? else {
        return Ok(());
    };
    let missing = to.missing(&checkpoint.chunks)?;
    if !missing.is_empty() {
        to.push_bundle(&Carried::from(from.chunks(&missing)?)?)?;
    }
    let put = to.put_checkpoint(checkpoint.transaction, &checkpoint.chunks)?;
    eprintln!("checkpoint at {}: {put:?}", checkpoint.seq);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &args[..] else {
        return Err("mirror FROM-URL TO-URL, with the user's id on standard input".into());
    };
    // Whoever knows the id has access: it stands in no argument.
    let mut user = String::new();
    std::io::stdin().read_line(&mut user)?;
    let user: UserId = user.trim().parse()?;
    let remote = |url: &str| -> Result<HttpRemote, Box<dyn Error>> {
        let url: Url = url.parse()?;
        Ok(HttpRemote::new(&url, user, HttpOptions::of_environment())?)
    };
    let (from, to) = (remote(from)?, remote(to)?);
    let head = carry(&from, &to)?;
    carry_checkpoint(&from, &to)?;
    println!("{} transactions; HEAD {}", head.seq, head.id);
    Ok(())
}
