//! When the server was last heard, and at which address: for a person to read, and for [`Replica::was_here`].

use std::time::SystemTime;

use super::Replica;
use crate::client::beside;
use crate::client::error::Result;
use crate::disk::{self, Disk};
use crate::model::limits;
use crate::store::layout::{DeviceFile, beside_store, top};

impl Replica {
    /// Notes that the server was heard just now. Best effort, and not durable: after a power cut it may be one that was heard
    /// before.
    pub fn note_heard(&self) {
        if let Err(error) = self.try_note_heard() {
            log::debug!("when the server was heard is not noted: {error}");
        }
    }

    fn try_note_heard(&self) -> disk::Result<()> {
        let disk: &dyn Disk = &*self.home;
        let first = SystemTime::UNIX_EPOCH;
        let now = (disk.now()).clamp(first, first + limits::LATEST_DATE);
        let now = humantime::format_rfc3339_seconds(now);
        let server = self.server.as_deref().unwrap_or_default();
        let place = beside_store(DeviceFile::Seen);
        let aside = top().join(format_args!("{}.{:016x}", place.name(), disk.random()));
        let written = disk.create(&aside).and_then(|file| {
            file.append(format!("{now}\n{server}\n").as_bytes())?;
            disk.rename_over(&aside, &place)
        });
        if written.is_err() {
            // The disk may be full: what was begun goes, if it can.
            let _ = disk.remove_file(&aside);
        }
        written
    }

    /// When the server was last heard, as far as that is noted.
    pub(super) fn last_heard(&self) -> Result<Option<SystemTime>> {
        let (time, _) = self.heard()?;
        Ok(humantime::parse_rfc3339(&time).ok())
    }

    /// Whether the server was heard at the present address before, so that it had this store there: where it knows nothing of
    /// it now, it was emptied, or the store was moved to another user.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn was_here(&self) -> Result<bool> {
        let (_, server) = self.heard()?;
        Ok(!server.is_empty() && self.server == Some(server))
    }

    fn heard(&self) -> Result<(String, String)> {
        let bytes = beside::read(&*self.home, DeviceFile::Seen, limits::DEVICE_FILE_BYTES)?;
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        Ok((
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        ))
    }
}
