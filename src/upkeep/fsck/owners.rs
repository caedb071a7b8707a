//! The owners of files and directories: all in a store belongs to the owner of the data directory, or the
//! server cannot use it. Where root's tools have made something else, a repair gives it back.

use super::access::is_foreign;
use super::check::Check;
use super::finding::{Kind, Mended, Severity};
use super::run::Run;
use crate::disk::{self, Disk, IfThere, Owner, Place};
use crate::store::{Error, Result, layout};

impl Check<'_> {
    /// Gives what is somebody else's to the owner of the data directory; returns the words for it, if it was any.
    pub fn give_back(&self) -> Result<Option<String>> {
        let owner = self.run.owner;
        let given = give_below(self.store().disk(), self.folder.place(), owner)?;
        Ok((given > 0).then(|| format!("given to uid {}: {given} in all", owner.user)))
    }
}

fn give_below(disk: &dyn Disk, place: &Place, owner: Owner) -> disk::Result<u64> {
    let Some(meta) = disk.meta(place).if_there()? else {
        return Ok(0);
    };
    let mut given = 0;
    if is_foreign(&meta, owner) {
        disk.give(place, owner)?;
        given = 1;
    }
    if meta.kind != disk::Kind::Directory {
        return Ok(given);
    }
    let mut names = Vec::new();
    let listed = disk.list(place, &mut |entry| {
        names.push(entry.name);
        true
    });
    listed.if_there()?;
    for name in names {
        given += give_below(disk, &place.join(name), owner)?;
    }
    Ok(given)
}

impl Run<'_> {
    /// Looks whose the top is, and gives it back where it is to be mended.
    pub(super) fn owners(&self) -> Result<()> {
        let disk = self.store.disk();
        for place in [
            layout::format(),
            layout::users(),
            layout::tmp(),
            layout::trash(),
        ] {
            let Some(meta) = disk.meta(&place).if_there()? else {
                continue;
            };
            if !is_foreign(&meta, self.owner) {
                continue;
            }
            let (owner, theirs) = (self.owner.user, meta.owner.user);
            let what = format!(
                "it is uid {theirs}'s, and uid {owner}, whose the data directory is, cannot read or write it"
            );
            self.at_top(Kind::ForeignOwner, Severity::Damage, place.clone(), what);
            if self.options.repair {
                let given = disk.give(&place, self.owner).map_err(Error::from);
                self.watch.mended(&Mended {
                    user: None,
                    place,
                    outcome: given
                        .map(|()| format!("given to uid {owner}"))
                        .map_err(|error| error.to_string()),
                });
            }
        }
        Ok(())
    }
}
