//! TaskChampion's own client, unmodified, syncs through the server: lists converge, and no task is lost.

// Servers of ours, as processes.
mod server;
// A replica of a task list, and what is in it.
mod replica;
// A way to the server on which answers get lost.
mod lossy;
// The server that this one takes lists over from.
mod official;

// Replicas of one list, side by side: edits, conflicts, a list that moves, a server that goes back.
mod lists;
// Lists that the script takes over from the file of that server.
mod moves;
// Many at once, on servers that are killed.
mod storms;
