//! How far a transfer is, on a terminal: what goes through the remote is counted on the way.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::progress::is_shown;
use crate::client::{AnswerBody, Parcel, PushAnswer, Remote, Result, WithChunks};
use crate::model::{Checkpoint, ChunkDigest, Head, Transaction, TransactionId};
use crate::store::PutCheckpoint;

/// A way to a server, whose transfers are shown with their rate and the time left where anybody sees it.
pub struct Transfers {
    remote: Box<dyn Remote>,
    bar: Arc<ProgressBar>,
    seen: Mutex<Head>,
    sent: AtomicU64,
}

impl Transfers {
    /// Wraps a remote, and shows nothing yet.
    pub fn new(remote: Box<dyn Remote>) -> Self {
        Self {
            remote,
            bar: Arc::new(ProgressBar::hidden()),
            seen: Mutex::new(Head::ROOT),
            sent: AtomicU64::new(0),
        }
    }

    /// Tells where the replica is already: so much need not come.
    pub fn counts_from(&self, head: Head) {
        *self.head_seen() = head;
    }

    fn head_seen(&self) -> MutexGuard<'_, Head> {
        self.seen
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// Shows what comes from now on. Costs a question for HEAD, and that only where anybody sees it.
    pub fn will_pull(&self) {
        if !is_shown() {
            return;
        }
        let have = self.head_seen().seq;
        if let Ok(head) = self.remote.head()
            && head.seq > have
        {
            self.show(
                "{wide_bar} {human_pos} of {human_len} transactions, {per_sec}, {eta} left",
                head.seq - have,
            );
        }
    }

    /// Shows what goes from now on: so many bytes.
    pub fn will_push(&self, bytes: u64) {
        if is_shown() && bytes > 0 {
            self.show(
                "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
                bytes,
            );
        }
    }

    fn show(&self, template: &str, of: u64) {
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        self.bar.set_style(style);
        self.bar.set_length(of);
        self.bar
            .set_draw_target(indicatif::ProgressDrawTarget::stderr());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// The bytes that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The work is done.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bundle on its way here, whose transactions are counted.
struct Coming {
    body: AnswerBody,
    bar: Arc<ProgressBar>,
    /// Bytes up to the next header.
    skip: u64,
    header: Vec<u8>,
}

/// The bytes of a header of a tar, and of the blocks that files fill.
const BLOCK: u64 = 512;

impl Coming {
    fn count(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            bytes = &bytes[skipped as usize..];
            let wanted = (BLOCK as usize - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.header.len() as u64 == BLOCK {
                self.skip = size_in(&self.header).next_multiple_of(BLOCK);
                if self.header.starts_with(b"transactions/") {
                    self.bar.inc(1);
                }
                self.header.clear();
            }
        }
    }
}

/// The size of a file, as its header in a tar says it. A wrong one only shows a wrong figure.
fn size_in(header: &[u8]) -> u64 {
    let digits = header[124..136].iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0_u64, |size, digit| {
        size.wrapping_mul(8).wrapping_add(u64::from(digit - b'0'))
    });
    size.min(u64::MAX - BLOCK)
}

impl Read for Coming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        self.count(&buffer[..read]);
        Ok(read)
    }
}

/// A bundle on its way out, whose bytes are counted.
struct Going<'a> {
    parcel: &'a dyn Parcel,
    bar: &'a ProgressBar,
}

impl Parcel for Going<'_> {
    fn bytes(&self) -> u64 {
        self.parcel.bytes()
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.bar.wrap_read(self.parcel.open()?)))
    }
}

impl Remote for Transfers {
    fn head(&self) -> Result<Head> {
        self.remote.head()
    }

    fn wait(&self, seen: TransactionId, timeout: Duration) -> Result<Head> {
        self.remote.wait(seen, timeout)
    }

    fn bundle(
        &self,
        from: TransactionId,
        limit: u64,
        chunks: WithChunks,
    ) -> Result<Option<AnswerBody>> {
        let body = self.remote.bundle(from, limit, chunks)?;
        if self.bar.is_hidden() {
            return Ok(body);
        }
        Ok(body.map(|body| -> AnswerBody {
            Box::new(Coming {
                body,
                bar: Arc::clone(&self.bar),
                skip: 0,
                header: Vec::new(),
            })
        }))
    }

    fn push_bundle(&self, parcel: &dyn Parcel) -> Result<PushAnswer> {
        let bar = &*self.bar;
        let answer = self.remote.push_bundle(&Going { parcel, bar })?;
        self.sent.fetch_add(parcel.bytes(), Ordering::Relaxed);
        Ok(answer)
    }

    fn missing(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>> {
        self.remote.missing(chunks)
    }

    fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>> {
        self.remote.transaction(id)
    }

    fn chunk(&self, id: &ChunkDigest) -> Result<Option<AnswerBody>> {
        self.remote.chunk(id)
    }

    fn chunks(&self, ids: &[ChunkDigest]) -> Result<AnswerBody> {
        self.remote.chunks(ids)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        self.remote.checkpoint()
    }

    fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkDigest],
    ) -> Result<PutCheckpoint> {
        self.remote.put_checkpoint(transaction, chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transactions_of_a_bundle_are_counted_however_it_comes_in_pieces() {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in [
            ("chunks/a", 1000),
            ("transactions/b", 512),
            ("transactions/c", 1),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes);
            header.set_cksum();
            let contents = vec![b'x'; bytes as usize];
            tar.append_data(&mut header, name, contents.as_slice())
                .unwrap();
        }
        let whole = tar.into_inner().unwrap();
        for piece in [1, 100, 511, 512, 4096] {
            let bar = Arc::new(ProgressBar::hidden());
            let mut coming = Coming {
                body: Box::new(io::empty()),
                bar: Arc::clone(&bar),
                skip: 0,
                header: Vec::new(),
            };
            whole.chunks(piece).for_each(|bytes| coming.count(bytes));
            assert_eq!(bar.position(), 2, "{piece}");
        }
    }
}
