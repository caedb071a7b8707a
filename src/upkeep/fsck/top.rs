//! The top of the data directory: FORMAT, and what lies beside the users.

use std::collections::BTreeMap;

use super::access::unread;
use super::finding::{Finding, Kind, Mended, Severity};
use super::run::{Error, Run};
use crate::disk::{self, IfThere, Listed, Place};
use crate::model::UserId;
use crate::store::{self, NameFile, StoreKind, layout};

impl Run<'_> {
    /// Checks the top, and says whose folders are to be checked.
    pub(super) fn top(&self) -> Result<Vec<UserId>, Error> {
        self.format()?;
        if let Some(user) = self.options.user {
            return match self.store.has_folder(&layout::Folder::of(&user)) {
                Ok(true) => Ok(vec![user]),
                Ok(false) => Err(Error::NoSuchUser),
                Err(store::Error::Damaged { .. }) => {
                    self.no_folder(user);
                    Ok(Vec::new())
                }
                Err(other) => Err(other.into()),
            };
        }
        self.owners()?;
        self.strangers(&layout::top(), |entry| layout::is_top(&entry.name))?;
        self.strangers(&layout::users(), |entry| {
            layout::parse_user(&entry.name).is_some()
        })?;
        let mut left = Vec::new();
        for found in self.store.left_at_top() {
            match found {
                Ok(place) => left.push(place),
                Err(store::Error::Disk(error)) => {
                    let (kind, severity) = unread(&error);
                    self.at_top(kind, severity, error.place, error.source.to_string());
                }
                Err(other) => return Err(other.into()),
            }
        }
        for place in &left {
            let (kind, what) = if place.parent() == layout::trash() {
                let what =
                    "a deleted user's files, which go at the next start of a server, or by gc";
                (Kind::Trash, what)
            } else {
                let what = "older than a day: whoever made it is gone";
                (Kind::Temporary, what)
            };
            self.at_top(kind, Severity::Harmless, place.clone(), what.to_owned());
        }
        if self.options.repair {
            for place in left {
                let swept = self.store.sweep_top(&place);
                self.watch.mended(&Mended {
                    user: None,
                    place,
                    outcome: swept
                        .map(|()| "removed".to_owned())
                        .map_err(|error| error.to_string()),
                });
            }
        }
        let names = self.store.names_of_users()?;
        for user in names.others {
            self.no_folder(user);
        }
        self.called_alike(&names.folders);
        Ok(names.folders)
    }

    /// Reports users who are called what another one is called, as when a folder was moved in from elsewhere: neither is
    /// found by that name.
    fn called_alike(&self, users: &[UserId]) {
        let mut called = BTreeMap::new();
        for user in users {
            let folder = layout::Folder::of(user);
            // One that cannot be read is reported with its user.
            let Ok(NameFile::Holds(name)) = self.store.read_name(&folder) else {
                continue;
            };
            if let Some(first) = called.insert(name.clone(), *user) {
                self.found(&Finding {
                    kind: Kind::Name,
                    severity: Severity::Harmless,
                    user: Some(*user),
                    place: folder.name(),
                    detail: format!("another user, {}, is called {name} as well", first.short()),
                });
            }
        }
    }

    /// Reports something else than a folder that has a user's name: the server refuses that user.
    fn no_folder(&self, user: UserId) {
        self.found(&Finding {
            kind: Kind::NotAFile,
            severity: Severity::Damage,
            user: Some(user),
            place: layout::Folder::of(&user).place().clone(),
            detail: "a symlink, file or device, where the user's folder should be".to_owned(),
        });
    }

    fn format(&self) -> Result<(), Error> {
        let users = self.store.has_users()?;
        let what = match self.store.read_format()? {
            Some(found) => match StoreKind::said(&found) {
                Ok(_) => return Ok(()),
                Err(trouble) if StoreKind::is_of_another_version(&found) => {
                    return Err(Error::NotAStore(trouble));
                }
                Err(trouble) => trouble,
            },
            None if users => format!(
                "missing beside users: if this is a copy, finish it; `echo {} > FORMAT` makes the file",
                StoreKind::Server.format().trim_end()
            ),
            None => {
                store::Store::ground(self.store.disk())?;
                return Err(Error::NotAStore("there is no store here".to_owned()));
            }
        };
        self.at_top(Kind::Format, Severity::Damage, layout::format(), what);
        Ok(())
    }

    /// Reports the names in a directory that are not known there.
    fn strangers(&self, directory: &Place, known: impl Fn(&Listed) -> bool) -> Result<(), Error> {
        let mut strangers = Vec::new();
        let listed = self.store.disk().list(directory, &mut |entry| {
            if !known(&entry) {
                strangers.push(entry);
            }
            true
        });
        // A directory that is not there has nothing in it.
        listed.if_there().map_err(store::Error::from)?;
        for entry in strangers {
            let what = match entry.kind {
                disk::Kind::File => "no file of a store has this name here",
                disk::Kind::Directory => "no directory of a store has this name here",
                disk::Kind::Other => "a symlink or device: never followed",
            };
            let place = directory.join(&entry.name);
            self.at_top(Kind::Stranger, Severity::Harmless, place, what.to_owned());
        }
        Ok(())
    }

    pub(super) fn at_top(&self, kind: Kind, severity: Severity, place: Place, detail: String) {
        self.found(&Finding {
            kind,
            severity,
            user: None,
            place,
            detail,
        });
    }
}
