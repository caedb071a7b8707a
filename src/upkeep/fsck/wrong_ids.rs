//! The findings about ids of version 8, once all transactions of a user were read.

use super::check::Check;
use super::content_ids::Misfits;
use super::finding::Kind;

impl Check<'_> {
    /// Reports the ids of version 8 that do not fit, once all transactions were read.
    pub fn tell_content_ids(&self) {
        if !self.run.options.content_ids {
            return;
        }
        let Misfits { number, first } = self.content_ids.take_misfits();
        let is_a_devices = self.store().is_of_device();
        if !is_a_devices && !self.content_ids.any_fits() {
            if let Some((_, place, _)) = first.into_iter().next() {
                let what = format!(
                    "{number} ids of version 8, this first, are not made of what their transactions say, and none is: \
                     whoever made them has a way of their own, or they were altered"
                );
                self.harmless(Kind::WrongId, place, what);
            }
            return;
        }
        for (id, place, expected) in first {
            let what = match expected {
                Some(expected) => {
                    format!(
                        "what it says has the id {expected}: it was altered after its device made it"
                    )
                }
                None => "it names chunks by uuids, which no device does that makes such an id"
                    .to_owned(),
            };
            self.damage(Kind::WrongId, place, what);
            self.content_ids.told(id);
        }
    }
}
