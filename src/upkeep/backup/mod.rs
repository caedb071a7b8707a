//! A copy of a store that may be served meanwhile, on another disk or machine, so that the copy is a consistent store.
//!
//! CHECKPOINT is read first, then HEAD, then what they reach is copied by rsync, then HEAD and CHECKPOINT are installed. All is laid aside in `tmp/backup` of DEST first.
//! There the chain is walked from the new HEAD to the old one, and only where nothing is missing is it put beside what DEST has; HEAD
//! comes last. So once the first copy has come to its end, DEST is a consistent store at every moment, also after a kill or a power
//! cut; `FORMAT` comes at that end, and not before. No user that DEST has is ever deleted there.
//!
//! Users may come, go and change names meanwhile: DATA is read through directories that are held open (`folders`), and whom a folder
//! belongs to is decided by its [`DirectoryIdentity`](crate::disk::DirectoryIdentity), not by its name. No user stops another: who is damaged, cannot be
//! read or is no folder is named at the end, and DEST has of them what the last good copy had.

mod destination;
mod folders;
mod mark;
mod outcome;
mod rsync;

pub use destination::Destination;
pub(super) use destination::{SSH, Session, ShellGroup};
pub use mark::mark;
pub use outcome::{BackedUp, Error};

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use self::folders::{Became, Folders, HeldFolder};
pub(super) use self::rsync::{Ran, carry_out};
use crate::disk::{Disk, Grouping, Real};
use crate::model::{UserId, limits};
use crate::store::{Frozen, layout};

/// Copies the store at `source` to `to`, but for what is there already. Calls `copied` with the length of each file. `farm` is an
/// empty directory, in which the folders that are copied get names for the time.
///
/// The copy holds every advance that was acknowledged before this was called. Costs a look at every committed file on both
/// sides, and the bytes of those that are new. What it makes on this machine belongs to the owner of DATA. Takes one lock, of DEST.
///
/// # Errors
/// There is no new copy, and of those who are not in [`BackedUp`] nothing is known; what DEST had is sound.
pub fn backup(
    source: Arc<Real>,
    to: &Destination,
    farm: &Path,
    copied: &dyn Fn(u64),
) -> Result<BackedUp, Error> {
    let folders = Folders::of(source.clone())?;
    if let Destination::Here(path) = to {
        apart(&source, path)?;
    }
    let (session, there, known) = Session::open(to, source.gives_to())?;
    let copy = Copying {
        folders,
        to,
        there,
        session,
        farm,
        copied,
        tries: HashMap::new(),
        done: BackedUp::default(),
    };
    let mut done = copy.all()?;
    let known: BTreeSet<UserId> = known
        .iter()
        .filter_map(|name| layout::parse_user(name))
        .collect();
    done.went.retain(|user| !done.users.contains(user));
    let is_there = |user: &&UserId| done.users.contains(user) || done.left.contains_key(user);
    done.kept = known.iter().filter(|user| !is_there(user)).count() as u64;
    Ok(done)
}

/// Sees that neither directory is in the other, by whatever path.
pub(super) fn apart(source: &Real, to: &Path) -> Result<(), Error> {
    let number = |path: &Path| {
        let meta = path.metadata().ok()?;
        Some((meta.dev(), meta.ino()))
    };
    let top = source.meta(&layout::top())?;
    let data = source.path(&layout::top());
    let nearest = to.ancestors().find_map(|above| above.canonicalize().ok());
    if let Some(nearest) = nearest
        && nearest
            .ancestors()
            .any(|above| number(above) == Some((top.device, top.inode)))
    {
        return Err(Error::Inside(to.to_owned()));
    }
    let around = number(to);
    if around.is_some()
        && data.is_some_and(|data| data.ancestors().any(|above| number(above) == around))
    {
        return Err(Error::Around(to.to_owned()));
    }
    Ok(())
}

struct Copying<'a> {
    folders: Folders,
    to: &'a Destination,
    /// The whole path of DEST, where it is.
    there: OsString,
    session: Session,
    /// The folders that are copied, by their names.
    farm: &'a Path,
    copied: &'a dyn Fn(u64),
    /// How often a user was lacking files.
    tries: HashMap<UserId, u32>,
    done: BackedUp,
}

impl Copying<'_> {
    fn all(mut self) -> Result<BackedUp, Error> {
        for _ in 0..limits::BACKUP_ROUNDS {
            let (open, slipped) = self.folders.next()?;
            if !open.is_empty() {
                self.round(open)?;
            } else if slipped {
                std::thread::sleep(limits::BACKUP_PAUSE);
            } else {
                self.session.ask("finish\n")?;
                // Who could be opened after all was copied.
                let shut = std::mem::take(&mut self.folders.shut).into_iter();
                let shut = shut.filter(|(user, _)| !self.done.users.contains(user));
                self.done.left.extend(shut);
                return Ok(self.done);
            }
        }
        Err(Error::Unsettled)
    }

    /// Copies these, and installs what is complete.
    fn round(&mut self, mut open: Vec<HeldFolder>) -> Result<(), Error> {
        let aside = |error| Error::Aside(self.farm.to_owned(), error);
        let farm = tempfile::tempdir_in(self.farm).map_err(aside)?;
        let checkpoints = farm.path().join(rsync::CHECKPOINTS);
        std::fs::create_dir(&checkpoints).map_err(aside)?;
        let checkpoints = Real::new(&checkpoints, Grouping::Off).map_err(aside)?;
        let mut well = Vec::new();
        let mut heads = HashMap::new();
        let mut states = HashMap::new();
        for one in &mut open {
            one.lay_checkpoint_aside(&checkpoints)?;
            if let Some(frozen) = one.frozen {
                states.insert(one.user, frozen);
            }
            let is_elsewhere = one.frozen.is_some_and(Frozen::is_elsewhere);
            if let (Ok(head), false) = (&one.head, is_elsewhere) {
                let head = *head;
                let name = farm.path().join(one.user.to_string());
                symlink(one.path(), name).map_err(aside)?;
                well.push(one.user);
                heads.insert(one.user, head);
            }
        }
        let troubles: HashMap<UserId, String> = (open.iter())
            .filter_map(|one| Some((one.user, one.head.as_ref().err()?.clone())))
            .collect();
        let place = (self.to, self.there.as_os_str());
        let ran = match well.is_empty() {
            true => Ran::Whole,
            false => {
                let complaints = &mut self.done.complaints;
                rsync::run(farm.path(), &well, place, self.copied, complaints)?
            }
        };

        // Who was deleted meanwhile is not all here; who was renamed is copied again, under the new name.
        let mut order = String::from("install\n");
        for (user, fate) in self.folders.close(open) {
            match fate {
                Became::Gone => {
                    order += &format!("gone {user}\n");
                    self.done.went.insert(user);
                }
                Became::Renamed(now) => order += &format!("renamed {user} {now}\n"),
                Became::Kept => match heads.get(&user) {
                    // The word alone: what DEST has of it, or not, stays.
                    None if states.get(&user).copied().is_some_and(Frozen::is_elsewhere) => {
                        order += &format!("state {user} {}\n", states[&user]);
                        self.done.left.remove(&user);
                        self.done.users.insert(user);
                    }
                    Some(head) => {
                        order += &format!("user {user} {head}\n");
                        let state = states.get(&user).map_or("-", |frozen| frozen.as_str());
                        order += &format!("state {user} {state}\n");
                        self.done.left.remove(&user);
                        self.done.users.insert(user);
                    }
                    None => self.leave(user, troubles[&user].clone()),
                },
            }
        }
        let said = self.session.ask(&(order + ".\n"))?;
        for line in said {
            let line = String::from_utf8_lossy(&line);
            let mut words = line.splitn(3, ' ');
            let (what, user, why) = (words.next(), words.next(), words.next());
            let Some(user) = user.and_then(layout::parse_user) else {
                continue;
            };
            match (what, why) {
                (Some("anew"), _) => {
                    self.done.anew.insert(user);
                }
                (Some("bad"), why) => self.lacks(user, why.unwrap_or_default(), &ran),
                _ => {}
            }
        }
        Ok(())
    }

    /// A user whose chain is not all there. Files vanish for rsync, too, while a folder is renamed there and back: the user is looked
    /// at again before that is called damage.
    fn lacks(&mut self, user: UserId, why: &str, ran: &Ran) {
        let tries = self.tries.entry(user).or_default();
        *tries += 1;
        match ran {
            Ran::Vanished if *tries < limits::BACKUP_TRIES => {
                self.done.users.remove(&user);
                self.folders.again(&user);
            }
            Ran::Partly => self.leave(
                user,
                format!("{why} (or could not be copied: see what rsync says)"),
            ),
            _ => self.leave(user, why.to_owned()),
        }
    }

    fn leave(&mut self, user: UserId, why: String) {
        self.done.users.remove(&user);
        self.done.left.insert(user, why);
    }
}
