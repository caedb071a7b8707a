//! How far long work is, told as it goes.

/// A listener to how far a pull, a push or a put is: a bar on a terminal, say. Called often, and from the thread that does the
/// work. What it is told of what is still to come or to go is as good as the server's word: bytes may come twice where a
/// connection broke, and of a long history the bytes of all are reckoned from those of its first transactions.
pub trait Progress: Send + Sync {
    /// Whether anybody looks. If so, a pull that is long asks the server how long it is, which costs two requests.
    fn is_watched(&self) -> bool {
        true
    }

    /// From now on, so many transactions are still to come, and so many bytes where the server says so.
    fn will_come(&self, transactions: u64, bytes: Option<u64>) {
        let _ = (transactions, bytes);
    }

    /// Transactions were verified, and bytes of answers came: so many since the last call.
    fn came(&self, transactions: u64, bytes: u64) {
        let _ = (transactions, bytes);
    }

    /// From now on, so many transactions are still to go, and so many bytes.
    fn will_go(&self, transactions: u64, bytes: u64) {
        let _ = (transactions, bytes);
    }

    /// Transactions were confirmed, and bytes of bundles went out: so many since the last call.
    fn went(&self, transactions: u64, bytes: u64) {
        let _ = (transactions, bytes);
    }

    /// Bytes were put beside for an entry to name: so many since the last call.
    fn put(&self, bytes: u64) {
        let _ = bytes;
    }
}
