//! Whose files and directories are: everything in a store belongs to the owner of the data directory, or the
//! server cannot use it. Where root's tools have made something else, a repair gives it back.

use super::user::Check;
use super::{Kind, Mended, Run, Severity};
use crate::disk::{self, Disk, IfThere, Meta, Owner, Place};
use crate::store::{Error, Result, layout};

/// Whether the owner of the data directory may not read or write this, since it is somebody else's. What its
/// own owner may not do is a matter of modes.
pub(super) fn is_foreign(meta: &Meta, owner: Owner) -> bool {
    const ROOT: u32 = 0;
    if owner.user == ROOT || meta.owner.user == owner.user {
        return false;
    }
    let bits = match meta.owner.group == owner.group {
        true => meta.mode >> 3,
        false => meta.mode,
    };
    let needs = match meta.kind {
        disk::Kind::Directory => 0o7,
        disk::Kind::File => 0o6,
        // Nothing that a store has: reported as what it is.
        disk::Kind::Other => return false,
    };
    bits & needs != needs
}

impl Check<'_> {
    /// Gives what is somebody else's to the owner of the data directory; says how much it was.
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
