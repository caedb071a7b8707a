//! Garbage collection inside a server: from time to time, and silent unless something went.

use std::time::{Duration, SystemTime};

use super::clock::last_run;
use super::event::{CollectOptions, Ended, Event};
use super::run::run;
use crate::model::{ShortUserId, limits};
use crate::store::{Item, Store};

/// Collects at once if the last run, by whichever process, is as long ago as `period` or never was,
/// and then every `period`, on a thread of its own that ends with the process: a collection that is
/// cut off leaves a sound store.
pub fn every(store: Store, period: Duration, options: CollectOptions) -> std::io::Result<()> {
    let work = move || {
        let mut tried = None;
        loop {
            std::thread::sleep(wait(&store, period, tried));
            if is_due(&store, period, tried) {
                tried = Some(store.now());
                tell(&store, &options);
            }
        }
    };
    let thread = std::thread::Builder::new().name("gc".to_owned());
    thread.spawn(work).map(drop)
}

/// The time of the next run: not sooner after a try that failed than after one that did not.
fn due(store: &Store, period: Duration, tried: Option<SystemTime>) -> Option<SystemTime> {
    let ran = last_run(store).unwrap_or_else(|error| {
        log::warn!("gc: {error}");
        None
    });
    // A run that is yet to come tells of a clock that was put back.
    let ran = ran.filter(|ran| *ran <= store.now());
    ran.max(tried)?.checked_add(period)
}

fn is_due(store: &Store, period: Duration, tried: Option<SystemTime>) -> bool {
    due(store, period, tried).is_none_or(|due| due <= store.now())
}

/// The time to sleep until the next look. Not the whole time at once: another process may collect meanwhile, and
/// the clock may be set.
fn wait(store: &Store, period: Duration, tried: Option<SystemTime>) -> Duration {
    let due = due(store, period, tried).unwrap_or(SystemTime::UNIX_EPOCH);
    let left = due.duration_since(store.now()).unwrap_or(Duration::ZERO);
    left.min(limits::GC_LOOK)
}

/// Files that went, in numbers.
#[derive(Default)]
struct Gone {
    files: u64,
    bytes: u64,
}

fn tell(store: &Store, options: &CollectOptions) {
    let mut gone = Gone::default();
    let told = |user: Option<ShortUserId>, gone: &mut Gone| {
        let Gone { files, bytes } = std::mem::take(gone);
        if files > 0 {
            let whose = user.map_or(String::new(), |user| format!("user {user}: "));
            log::info!("gc: {whose}removed {files} files, {bytes} bytes");
        }
    };
    let mut whose: Option<ShortUserId> = None;
    let ran = run(store, None, options, &mut |event| match event {
        Event::Garbage { user, garbage } => {
            let short = user.short();
            if whose != Some(short) {
                told(whose, &mut gone);
                whose = Some(short);
            }
            gone.files += 1;
            gone.bytes += garbage.bytes;
            if let Item::Transaction(id) = garbage.item {
                log::debug!("gc: removed pending transaction {id}");
            }
        }
        Event::LeftBehind(place) => log::info!("gc: removed {}", place.as_str()),
        Event::Frozen(user) => log::debug!("gc: user {}: frozen", user.short()),
        Event::Overtaken(user) => log::debug!("gc: user {}: another is at it", user.short()),
        Event::Redated { user, files } => log::warn!(
            "gc: user {}: {files} files had dates that cannot be right, and are kept as if they had come now",
            user.short()
        ),
        Event::PutBack { user, files } => log::warn!(
            "gc: user {}: {files} committed files were lost and had come again: they are back in their places",
            user.short()
        ),
        Event::Unsure { user, error } => log::warn!(
            "gc: user {}: what the chain or the checkpoint may name stays in incoming/: {error}",
            user.short()
        ),
        Event::Failed { user, error } => {
            store.note_denied(&error);
            let whose = user.map_or("what is at the top".to_owned(), |user| {
                user.short().to_string()
            });
            log::warn!("gc: {whose} stays as it is: {error}");
        }
    });
    told(whose, &mut gone);
    match ran {
        Ok(Ended::Done) => {}
        Ok(Ended::ClockLeapt { .. }) => log::warn!(
            "gc: the clock is further from the last run than the grace period, so nothing is collected: \
             if it is right, run `mentat-sync gc --force` once"
        ),
        Ok(Ended::ClockUnset { .. }) => {
            log::warn!("gc: the clock has not been set, so nothing is collected until it is");
        }
        Err(error) => log::warn!("gc: {error}"),
    }
}
