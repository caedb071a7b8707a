//! The reasons for which the bytes of a connection are no request.

/// A reason for which received bytes cannot be answered as the request that they were meant to be. A stand-in
/// request is handed to actix in their place, and answered with the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head is not one of HTTP/1.1.
    Malformed,
    /// The head is longer, or has more fields, than is taken.
    TooLong,
    /// The client speaks in the clear where only TLS is spoken.
    InTheClear,
    /// The head did not come to its end in time.
    TooSlow,
}
