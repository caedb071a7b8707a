// A thousand hostile clients at a time: what they cost, and whether others are served.
mod abuse;
pub use abuse::raise_limit;
// The corpora of the fuzz targets that read what comes at the edge.
mod corpora;
// Requests whose end is told differently by different readers, and a second one hidden behind.
mod smuggling;
// Symlinks planted in the store.
mod symlinks;
