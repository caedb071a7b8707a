//! The other side of a send on a simulated box: what `there.sh` and rsync do there, call by call. That it is what they do is looked at
//! in `there`.

use mentat_sync::disk::{self, Disk, Held, IfThere, Kind, Mode, Place, Target};
use mentat_sync::upkeep::backup;
use mentat_sync::upkeep::send::{CopyRound, OtherSide, SendError};
use simulated_disk::SimDisk;

use crate::proof::{folder, read, write};

/// A rule of that side that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// What came is not synced before it is said to be there.
    NoSync,
    /// HEAD comes without what came since the live copy.
    NoRest,
    /// The lock is not held.
    NotHeld,
}

/// One session of a send.
pub struct SimulatedSide {
    here: SimDisk,
    there: SimDisk,
    slip: Option<Slip>,
    lock: Option<Box<dyn Held>>,
    stage: Place,
}

type Said = Result<Vec<Vec<u8>>, SendError>;

fn no(why: impl Into<String>) -> SendError {
    backup::Error::Refused(why.into()).into()
}

fn broken(error: disk::Error) -> SendError {
    backup::Error::from(error).into()
}

/// What stays on the side that sends.
const STAYS: [&str; 4] = ["frozen", "move", "lock", "gate"];

impl SimulatedSide {
    pub fn new(here: SimDisk, there: SimDisk, slip: Option<Slip>) -> Self {
        Self {
            here,
            there,
            slip,
            lock: None,
            stage: Place::new(""),
        }
    }

    fn tmp(&self) -> Place {
        folder().join("incoming").join("tmp")
    }

    fn word(&self, name: &str) -> Option<String> {
        let bytes = read(&self.there, &folder().join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    fn state(&self) -> String {
        match self.there.meta(&folder()) {
            Err(_) => "absent".to_owned(),
            Ok(_) => self.word("frozen").unwrap_or("served".to_owned()),
        }
    }

    fn put(&self, name: &str, word: &str) -> disk::Result<()> {
        make_all(&self.there, &self.tmp())?;
        let file = self.tmp().join("word");
        let _ = self.there.remove_file(&file);
        write(&self.there, &file, format!("{word}\n").as_bytes())?;
        let handle = self.there.open(&file)?;
        self.there.sync(&[Target::File(handle)])?;
        self.there.rename_over(&file, &folder().join(name))?;
        self.there.sync(&[Target::Directory(folder())])
    }

    fn hold(&mut self) -> Result<(), SendError> {
        if self.lock.is_some() || self.slip == Some(Slip::NotHeld) {
            return Ok(());
        }
        let held = self.there.try_lock(&folder().join("lock"), Mode::Exclusive);
        self.lock = Some(held.map_err(broken)?.ok_or(backup::Error::Taken)?);
        Ok(())
    }

    fn make_folder(&self, name: &str) -> disk::Result<()> {
        let short: String = name.chars().filter(|c| *c != '-').take(16).collect();
        let new = Place::new("tmp").join(&format!("{}.{short}", folder().name()));
        remove_all(&self.there, &new)?;
        make_all(&self.there, &new.join("incoming").join("tmp"))?;
        write(&self.there, &new.join("frozen"), b"incoming\n")?;
        write(
            &self.there,
            &new.join("move"),
            format!("{name}\n").as_bytes(),
        )?;
        write(&self.there, &new.join("lock"), b"")?;
        write(&self.there, &new.join("gate"), b"")?;
        self.there.sync_everything()?;
        if self.there.rename_new(&new, &folder()).is_err() {
            remove_all(&self.there, &new)?;
        }
        self.there.sync(&[Target::Directory(folder().parent())])
    }

    fn begin(&mut self, name: &str) -> Said {
        if self.state() == "absent" {
            self.make_folder(name).map_err(broken)?;
        }
        match self.state().as_str() {
            "incoming" | "gone" => self.hold()?,
            other => return Err(no(format!("the user is {other} there"))),
        }
        let both = self
            .put("move", name)
            .and_then(|()| self.put("frozen", "incoming"));
        both.map_err(broken)?;
        self.stage = self.tmp().join(name);
        make_all(&self.there, &self.stage).map_err(broken)?;
        Ok(Vec::new())
    }

    fn check_ours(&self, name: &str) -> Result<(), SendError> {
        match self.state() == "incoming" && self.word("move").as_deref() == Some(name) {
            true => Ok(()),
            false => Err(no("another move of it began")),
        }
    }

    fn install(&self, name: &str, head: &str) -> Said {
        self.check_ours(name)?;
        let is_there = |place: &Place| {
            let bytes = read(&self.there, place).ok();
            bytes.is_some_and(|bytes| bytes == format!("{head}\n").as_bytes())
        };
        if !is_there(&self.stage.join("HEAD")) {
            return Err(no("HEAD did not come"));
        }
        self.put_in_place().map_err(broken)?;
        match is_there(&folder().join("HEAD")) {
            true => Ok(Vec::new()),
            false => Err(no("HEAD is another one there")),
        }
    }

    fn sync_all(&self) -> disk::Result<()> {
        match self.slip {
            Some(Slip::NoSync) => Ok(()),
            _ => self.there.sync_everything(),
        }
    }

    fn put_in_place(&self) -> disk::Result<()> {
        let (disk, user, stage) = (&self.there, folder(), &self.stage);
        self.sync_all()?;
        for name in ["HEAD", "CHECKPOINT"] {
            disk.remove_file(&user.join(name)).if_there()?;
        }
        disk.sync(&[Target::Directory(user.clone())])?;
        let stays = ["frozen", "move", "lock", "gate", "incoming"];
        for name in names(disk, &user)? {
            if !stays.contains(&name.as_str()) {
                remove_all(disk, &user.join(&name))?;
            }
        }
        let incoming = user.join("incoming");
        for name in names(disk, &incoming)? {
            if name != "tmp" {
                remove_all(disk, &incoming.join(&name))?;
            }
        }
        for name in names(disk, &stage.join("incoming"))? {
            if name != "tmp" {
                disk.rename_new(&stage.join("incoming").join(&name), &incoming.join(&name))?;
            }
        }
        for name in names(disk, stage)? {
            if !["incoming", "HEAD", "CHECKPOINT"].contains(&name.as_str()) {
                disk.rename_new(&stage.join(&name), &user.join(&name))?;
            }
        }
        let gate = disk.open_to_write(&user.join("gate"))?;
        gate.touch(disk.now())?;
        self.sync_all()?;
        if disk.meta(&stage.join("CHECKPOINT")).is_ok() {
            disk.rename_over(&stage.join("CHECKPOINT"), &user.join("CHECKPOINT"))?;
        }
        disk.rename_over(&stage.join("HEAD"), &user.join("HEAD"))?;
        self.sync_all()?;
        for name in names(disk, &self.tmp())? {
            remove_all(disk, &self.tmp().join(&name))?;
        }
        Ok(())
    }

    fn resume(&mut self, name: &str) -> Said {
        if self.there.meta(&folder()).is_ok() {
            self.hold()?;
        }
        let is = match self.word("move").as_deref() == Some(name) {
            true => self.state(),
            false => "another".to_owned(),
        };
        Ok(vec![format!("is {is}").into_bytes()])
    }

    /// As rsync does: what is there with this content stays, or gets one more name; what is new comes under another name first.
    fn mirror(&self, from: &Place, to: &Place, without: &[&str]) -> disk::Result<()> {
        make_all(&self.there, to)?;
        let wanted = names(&self.here, from)?;
        for name in names(&self.there, to)? {
            if !wanted.contains(&name) {
                remove_all(&self.there, &to.join(&name))?;
            }
        }
        for name in wanted
            .iter()
            .filter(|name| !without.contains(&name.as_str()))
        {
            let (old, new) = (from.join(name), to.join(name));
            if self.here.meta(&old)?.kind == Kind::Directory {
                self.mirror(&old, &new, &["tmp"])?;
                continue;
            }
            let bytes = read(&self.here, &old)?;
            if read(&self.there, &new).is_ok_and(|there| there == bytes) {
                continue;
            }
            if read(&self.there, &old).is_ok_and(|there| there == bytes) {
                let _ = self.there.remove_file(&new);
                self.there.link(&old, &new)?;
                continue;
            }
            let part = to.join(&format!(".{name}.part"));
            let _ = self.there.remove_file(&part);
            write(&self.there, &part, &bytes)?;
            self.there.rename_over(&part, &new)?;
        }
        Ok(())
    }
}

impl OtherSide for SimulatedSide {
    fn ask(&mut self, step: &str) -> Said {
        let words: Vec<&str> = step.split(' ').collect();
        match words.as_slice() {
            ["prepare"] => Ok(Vec::new()),
            ["begin", name] => self.begin(name),
            ["settle"] => {
                self.there.sync_everything().map_err(broken)?;
                Ok(Vec::new())
            }
            ["install", name, head] => self.install(name, head),
            ["ready", name] => {
                self.check_ours(name)?;
                self.put("frozen", "ready").map_err(broken)?;
                Ok(Vec::new())
            }
            ["resume", name] => self.resume(name),
            other => panic!("no such step: {other:?}"),
        }
    }

    fn copy(&mut self, what: CopyRound) -> Result<(), SendError> {
        let heads = ["HEAD", "CHECKPOINT"];
        let without = match what {
            CopyRound::Rest => STAYS.to_vec(),
            CopyRound::Bulk | CopyRound::Compared => [&STAYS[..], &heads].concat(),
        };
        if (what, self.slip) == (CopyRound::Rest, Some(Slip::NoRest)) {
            let head = read(&self.here, &folder().join("HEAD")).map_err(broken)?;
            return write(&self.there, &self.stage.join("HEAD"), &head).map_err(broken);
        }
        self.mirror(&folder(), &self.stage, &without)
            .map_err(broken)
    }
}

fn names(disk: &SimDisk, place: &Place) -> disk::Result<Vec<String>> {
    let mut names = Vec::new();
    let listed = disk.list(place, &mut |entry| {
        names.push(entry.name);
        true
    });
    listed.if_there()?;
    Ok(names)
}

fn make_all(disk: &SimDisk, place: &Place) -> disk::Result<()> {
    if disk.meta(place).is_ok() {
        return Ok(());
    }
    make_all(disk, &place.parent())?;
    disk.make_directory(place)
}

fn remove_all(disk: &SimDisk, place: &Place) -> disk::Result<()> {
    match disk.meta(place).if_there()? {
        None => return Ok(()),
        Some(meta) if meta.kind == Kind::Directory => {}
        Some(_) => return disk.remove_file(place),
    }
    for name in names(disk, place)? {
        remove_all(disk, &place.join(&name))?;
    }
    disk.remove_directory(place)
}
