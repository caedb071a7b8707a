//! A part of a room that all share.

/// The part of a shared room that one may have at most: so many of so many equal pieces.
#[derive(Clone, Copy, Debug)]
pub struct Part(pub usize, pub usize);

impl Part {
    /// The part of a room of this size, rounded up: one place at least, if there is any.
    pub const fn of(self, size: usize) -> usize {
        (size as u128 * self.0 as u128).div_ceil(self.1 as u128) as usize
    }
}
