//! What a disk holds, as blocks in memory. A copy costs little: the blocks are shared until one is written.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const BLOCK: usize = 4096;

/// The contents of a disk. What was never written reads as zeroes.
#[derive(Clone, Default)]
pub struct Blocks(HashMap<u64, Arc<[u8; BLOCK]>>);

impl Blocks {
    /// Writes these bytes at this place.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, inner, part) in pieces(offset, bytes.len()) {
            let bytes = &bytes[part.clone()];
            if !self.0.contains_key(&number) && bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let block = self.0.entry(number).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[inner..inner + part.len()].copy_from_slice(bytes);
        }
    }

    /// Reads at this place until the buffer is full.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) {
        for (number, inner, part) in pieces(offset, buffer.len()) {
            let length = part.len();
            match self.0.get(&number) {
                Some(block) => buffer[part].copy_from_slice(&block[inner..inner + length]),
                None => buffer[part].fill(0),
            }
        }
    }

    /// Writes all of it to a file of this length, with holes where nothing was written.
    pub fn save(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(bytes)?;
        for (number, block) in &self.0 {
            file.write_all_at(&block[..], number * BLOCK as u64)?;
        }
        Ok(())
    }
}

/// The blocks that a span touches: each one's number, where in it, and which part of the span.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let inner = (at % BLOCK as u64) as usize;
        let take = (BLOCK - inner).min(length - done);
        let part = done..done + take;
        done += take;
        Some((at / BLOCK as u64, inner, part))
    })
}
