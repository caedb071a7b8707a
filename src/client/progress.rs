//! How far long work is, told as it goes.

/// A listener to how far a pull or a push is: a bar on a terminal, say. Called often, and from the thread that does the work.
pub trait Progress: Send + Sync {
    /// The server's history has so many transactions that are not here yet; asked for by a clone alone.
    fn expects(&self, transactions: u64) {
        let _ = transactions;
    }

    /// Transactions and bytes of chunks came: so many since the last call.
    fn came(&self, transactions: u64, bytes: u64);

    /// Bytes of a bundle went out: so many since the last call.
    fn went(&self, bytes: u64);
}
