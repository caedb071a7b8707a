//! Every size, count and wait has its name here, with its reason.

use std::time::Duration;

pub use super::part::Part;

/// The part of any room that one address may have: a proxy makes everybody one address and needs most of it, and a
/// quarter is enough for others to be served.
pub const ADDRESS_PART: Part = Part(3, 4);

/// One chunk, unless `--max-chunk-bytes` says otherwise: large enough for any one attachment, small
/// enough that a mistaken upload does not fill a home server's disk.
pub const CHUNK_BYTES: u64 = 1 << 30;

/// The JSON of one transaction, as sent and as stored.
pub const TRANSACTION_BYTES: usize = 16 << 20;

/// Chunks named by one transaction: 100,000 digests with their quotes and commas are 6.7 MB of JSON.
pub const TRANSACTION_CHUNKS: usize = 100_000;

/// Pending transactions a user: what an advance may have to look through.
pub const PENDING_TRANSACTIONS: usize = 100_000;

/// Transaction ids in one listing, and what `limit` is when a request has none.
pub const LISTING: u64 = 1_000_000;

/// Transactions in one bundle that is pulled.
pub const BUNDLE_TRANSACTIONS: u64 = 100_000;

/// Transactions in one bundle that is pushed.
pub const PUSHED_TRANSACTIONS: usize = 1_000_000;

/// Chunks and aliases that a bundle remembers to have sent, so as not to send them twice: with the
/// ids that are 5 MB for each pull.
pub const BUNDLE_WINDOW: usize = 65_536;

/// Members of a pushed bundle that are written before they are synced together and get their names:
/// what is remembered of each is some 50 bytes. A bundle of no more members that continues HEAD
/// is committed at once.
pub const PUSHED_TOGETHER: usize = 65_536;

/// Different chunks that the transactions of a bundle may name if it is to be committed at once: they
/// are remembered, 4 MB for each push.
pub const FAST_FORWARD_CHUNKS: usize = 65_536;

/// Members of a pushed bundle that one thread writes before others help it: starting them takes as long.
pub const UNPACKED_ALONE: usize = 64;

/// Threads that write the small members of one bundle: a file system does not do much more at a time.
pub const UNPACKERS: usize = 4;

/// After so many members what is written so far is synced beside the writing of the rest, so that little is
/// left to wait for at the end: a tenth of a second's writing.
pub const SYNCED_EARLY: usize = 4096;

/// After so many bytes of longer members, too: what a disk takes a tenth of a second for, and more, so that it is busy while the
/// rest comes.
pub const SYNCED_EARLY_BYTES: u64 = 16 << 20;

/// The longest member that is handed to those threads whole: with the two limits below, 1.5 MiB a thread at the
/// very most.
pub const SMALL_MEMBER: usize = 16 << 10;

/// Small members that are handed to a thread at a time: one that is woken for each does little else.
pub const UNPACKED_AT_ONCE: usize = 16;

/// Handfuls of small members that a thread may be behind before the reader waits for it.
pub const UNPACKED_AHEAD: usize = 4;

/// Names that a pushed bundle makes in one go while it holds the shared lock, so that who waits for
/// the exclusive one gets its turn.
pub const PUBLISHED_AT_ONCE: usize = 4096;

/// Missing chunks that a refusal names, of however many there are: 7 MB of them.
pub const MISSING_NAMED: usize = 100_000;

/// Bundles that are taken in at a time; others are answered 503 `busy`. Each holds a thread, which is none
/// of [`BLOCKING_THREADS`], and some megabytes until its client is done sending.
pub const PUSHES: usize = 32;

/// The part of the pushes that one user may have: eight devices at a time, and three such users leave an eighth of the
/// threads to others even where all come by one proxy.
pub const PUSHES_PART: Part = Part(1, 4);

/// Chunks that one advance or one question vouches for: a fraction of [`VOUCHED`], so that a large
/// one does not make all the others forgotten.
pub const VOUCHED_AT_ONCE: usize = 4096;

/// Names that an advance remembers to have made, so as to take them back when it fails, and to clear
/// `incoming/` after it: 35 MB. What is beyond that is left to gc.
pub const LINKED: usize = 1 << 20;

/// Names that an advance makes, and takes away, in one go, sorted by their directories: each of these is looked up once.
pub const LINKED_AT_ONCE: usize = 4096;

/// Zeroes that may follow a tar's end. Records are 10 KiB unless told otherwise (`tar -b`).
pub const BUNDLE_TRAILER: usize = 1 << 20;

/// A PAX header: what is tolerated there is a few times and names.
pub const PAX_BYTES: u64 = 64 << 10;

/// Files that are kept open until they are synced by a request that touches many.
pub const SYNCED_APART: usize = 64;

/// Ids in one `chunks/missing` or `chunks/get` question.
pub const MISSING_IDS: usize = 100_000;

/// The body of `chunks/missing` and `chunks/get`: as many ids in JSON, with room for white space.
pub const MISSING_BODY_BYTES: usize = 10 << 20;

/// The body of `PUT head`: one id in JSON, with room for white space.
pub const HEAD_BODY_BYTES: usize = 4096;

/// How long a request waits for a user's lock before it is answered 503 `busy`.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// First and longest pause between two tries for a lock that another process holds.
pub const LOCK_PAUSE: (Duration, Duration) =
    (Duration::from_micros(200), Duration::from_millis(10));

/// How often a read looks at the chain anew after somebody has mended `log`: once is enough, unless HEAD and
/// `log` change meanwhile.
pub const LOG_LOOKS: usize = 4;

/// How long after a try to rebuild `log` that failed the next one is made, at least and at most: ten times as
/// long as the walk took, so that a chain of a million does not keep a thread busy for good, and a disk that
/// has room again is noticed.
pub const LOG_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Ids that are remembered of a chain whose `log` cannot be rebuilt: 64 KiB, and 250 files to look at for
/// any one of a million.
pub const WALK_MARKS: u64 = 4096;

/// Users of whom that is remembered: 16 MiB.
pub const WALKS: usize = 256;

/// How long an uploaded thing that nothing reachable needs is kept, unless `--grace` says otherwise.
pub const GRACE: Duration = Duration::from_secs(14 * 24 * 3600);

/// No file of any store is older than the first lines of this program: what is, was dated by a clock that
/// had not been set. 2024-01-01, counted from 1970.
pub const EARLIEST_DATE: Duration = Duration::from_secs(1_704_067_200);

/// The last second that is written with four digits of a year.
pub const LATEST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// How much older than its name a file may be: it is written first, and waits for a lock then. And clocks are
/// set by seconds all the time.
pub const DATE_SLACK: Duration = Duration::from_secs(60);

/// How far ahead of the clock a date may be: clocks are wrong by hours easily (time zones), and then
/// nothing is the matter but that something is kept so much longer.
pub const FUTURE_DATE: Duration = Duration::from_secs(24 * 3600);

/// How old a temporary file is before it counts as left behind.
pub const TEMPORARY: Duration = Duration::from_secs(24 * 3600);

/// How many files gc removes before it lets the user's lock go, so that nobody waits long for it: a
/// tenth of a second on a busy disk, of which each batch's look at what is pending is a small part.
pub const SWEEP_FILES: usize = 512;

/// How many bytes it removes before it does: freeing a large file takes the file system a while.
pub const SWEEP_BYTES: u64 = 1 << 30;

/// How old the count of what a user has may be before it is counted anew, while the user uploads: other
/// processes on the same directory may have stored and removed since.
pub const RECOUNT: Duration = Duration::from_secs(3600);

/// The age of that count after a refusal: perhaps there is room again, by another process's doing.
pub const RECOUNT_REFUSED: Duration = Duration::from_secs(10);

/// How often what a user has is counted in the hope that nothing changes meanwhile, which alone makes a
/// count exact.
pub const COUNTS: u32 = 4;

/// The pause between two such counts.
pub const COUNT_PAUSE: Duration = Duration::from_millis(100);

/// How long the number of pending transactions is believed, which takes a listing to know: other processes may
/// have put and removed some since.
pub const RECOUNT_PENDING: Duration = Duration::from_secs(1);

/// Pending transactions that a process takes in before it counts them again: a listing of as many as may
/// be costs less than writing that many.
pub const PENDING_UNCOUNTED: usize = 32;

/// Where there is room for no more pending transactions than this, each is counted in under the exclusive
/// lock. That is what eight processes together may take in uncounted, so that these do not exceed the bound.
pub const PENDING_SCARCE: usize = 8 * PENDING_UNCOUNTED;

/// Fewer free files (inodes) than this are too few, where `--min-free` is given: an advance makes some
/// hundreds of directories at the most.
pub const MIN_FREE_FILES: u64 = 1024;

/// How often a server that collects garbage looks whether it is time: often enough to notice a
/// collection by another process, or a clock that was set.
pub const GC_LOOK: Duration = Duration::from_secs(60);

/// How long a request body may stall, unless `--body-timeout` says otherwise.
pub const BODY_STALL: Duration = Duration::from_secs(30);

/// Log lines that wait to be read: some ten thousand. What comes beyond that is dropped and counted.
pub const LOG_QUEUE_BYTES: usize = 1 << 20;

/// How long lines are gathered before they go out with one call: too short for a person to see, and long
/// enough for a thousand lines on a busy server.
pub const LOG_MOMENT: Duration = Duration::from_millis(20);

/// How long the last lines of a process may take to be read.
pub const LOG_FLUSH: Duration = Duration::from_secs(1);

/// The bytes of a body that are worth a second of waiting: an eighth of what the slowest link carries that
/// anybody uses, and far more than a byte now and then, by which a body would keep its thread or its memory
/// for ever.
pub const BODY_PACE: u64 = 128;

/// How far a body may be behind that pace: two stalls as long as may be, one after the other.
pub const BODY_GRACE: Duration = Duration::from_secs(60);

/// How long requests in flight may take to end after SIGTERM.
pub const SHUTDOWN: Duration = Duration::from_secs(30);

/// How soon after the first a second SIGTERM is taken for the same: timeout(1) sends one to the process and
/// one to its group.
pub const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// How much of a refused request's body is read and thrown away, so that the client (or the proxy
/// between) gets to read the answer instead of a reset connection: a proxy that is still sending takes it
/// for a failure of ours, and says 502. Nothing but the network is in the way of these bytes.
pub const DRAIN_BYTES: u64 = 256 << 20;

/// How long that may take.
pub const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// Pieces in which large files go between disk and network.
pub const PIECE: usize = 256 << 10;

/// Uploads up to this size are gathered in memory.
pub const SMALL: usize = 64 << 10;

/// Files up to this size are answered from a copy: that costs less than the calls to send them without.
pub const COPIED: usize = 16 << 10;

/// Bytes of a file that are sent without a copy in one go, so that others on the same thread get their turn.
pub const SENT: usize = 1 << 20;

/// How far apart a file is looked at to tell whether it is in memory: no longer than what Linux reads
/// ahead by itself (128 KiB).
pub const LOOK: usize = 64 << 10;

/// Small chunks that are written ahead of the step that they have a part in. Each holds a descriptor.
pub const TOGETHER: usize = 128;

/// How long such a step waits at the very most for those who were answered in the one before. It is three
/// quarters of the last sync's time, which is less on any disk but a slow one.
pub const COME_AGAIN: Duration = Duration::from_millis(1);

/// Users whose state (what has been synced, what is pending) is kept in memory.
pub const KNOWN_USERS: usize = 1024;

/// Folders that this process remembers to have synced as a whole or made: 50 bytes each, so that it does so
/// once though it knows fewer users at a time.
pub const MET: usize = 131_072;

/// How many places that the disk did not let us use are remembered and looked at again by a heartbeat: one tells a
/// person as much as a thousand, and each costs it a look.
pub const DENIED: usize = 64;

/// The longest name that a user may be called by: a line in a table, with room for any script.
pub const NAME_BYTES: usize = 100;

/// How few digits of a user's id may stand for it: fewer are nearly as often a slip of the hand.
pub const FIRST_DIGITS: usize = 4;

/// How often `--listen-wait` tries again: nobody notices a quarter of a second beside what an interface takes to come up.
pub const LISTEN_PAUSE: Duration = Duration::from_millis(250);

/// How many names of a directory are looked at to tell what it is, where it is no store: one that has more is something
/// else for sure, and a person waits for the words.
pub const GROUND_NAMES: usize = 1024;

/// How often a look is taken anew because something changed under it, before it is answered 503 `busy`:
/// an advance takes longer than a look, so a second one nearly always does.
pub const LOOKS: usize = 64;

/// Files that this process remembers to be durable, so that they need not be synced again.
pub const VOUCHED: usize = 65_536;

/// Memory in which fsck keeps the names that a chain names: room for ten million of them, twice (one of chunks,
/// one of transactions).
pub const FSCK_FILTER_BYTES: usize = 16 << 20;

/// Files that fsck has listed and not yet read.
pub const FSCK_JOBS: usize = 1024;

/// Transactions that one worker of fsck checks in a row.
pub const FSCK_STRETCH: u64 = 256;

/// Suspects that fsck gathers before it settles them under the shared lock, and things that a repair does
/// before it lets the exclusive one go for others.
pub const FSCK_BATCH: usize = 256;

/// Things of one kind that one run of `fsck --repair` mends for a user; a second run goes on.
pub const FSCK_MENDED: usize = 65_536;

/// How long a client may wait for another head in one request: below what proxies cut off at.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How often those who wait for another head look for it where the system does not tell.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often it is looked, for those who wait, whether the store is there: where a directory above it is moved
/// away nothing tells.
pub const LOOK_THERE: Duration = Duration::from_secs(1);

/// How often a stream of events shows that it is alive.
pub const EVENT_HEARTBEAT: Duration = Duration::from_secs(20);

/// Versions after which a client of TaskChampion's is asked for a snapshot: as taskchampion-sync-server has it. A new device
/// reads so many at most, one request each.
pub const SNAPSHOT_VERSIONS: u32 = 100;

/// Days after which a client of TaskChampion's is asked for a snapshot: as taskchampion-sync-server has it.
pub const SNAPSHOT_DAYS: u32 = 14;

/// Clients that wait for another head at a time, over all users, unless `--max-waiters` says otherwise.
pub const WAITERS: usize = 20_000;

/// The part of the waiters that one user may have. A waiter costs little, so it is much: the usual server has one user.
pub const WAITERS_PART: Part = Part(1, 2);

/// Threads for waiting on the disk, for each thread that serves: more writers at a time than a
/// group commit gains from would only wait for each other.
pub const BLOCKING_THREADS: usize = 64;

/// How many of those one user has at a time while others have any: a quarter, so that it takes several who
/// mean it to fill them, and even then each user has a turn after the other.
pub const THREADS_A_USER: usize = 16;

/// Threads that a user has who is alone there: the next one finds a thread at once.
pub const THREADS_ALONE: usize = 48;

/// Threads beside those for what is no user's: the heartbeat, the steps of small uploads, long bodies that are
/// parsed.
pub const SPARE_THREADS: usize = 8;

/// How long a request waits for a thread before it is answered 503 `busy`: as long as for a lock.
pub const THREAD_WAIT: Duration = LOCK_WAIT;

/// Connections at a time, unless `--max-connections` says otherwise.
pub const CONNECTIONS: usize = 16_384;

/// Of as many connections as there may be, how many at a time are being sent away with an answer, because
/// their address has its part: a piece of what that leaves to others. More are closed without waiting.
pub const SENT_AWAY: Part = Part(1, 16);

/// How long one that is sent away is read on, so that the answer arrives.
pub const SENT_AWAY_WAIT: Duration = Duration::from_millis(500);

/// The head of a request. Ours have some hundred bytes, and a proxy adds a few hundred; what is more is
/// refused, so that thousands of connections with half a head each cost little memory.
pub const HEAD_BYTES: usize = 16 << 10;

/// Ids that `chunks/get` may be answering about at a time, all readers together: each takes some hundred bytes for as long as
/// its reader takes. Who finds no room is told 503 `busy`.
pub const ASKED_IDS: usize = 500_000;

/// The part of them that one user or one address may have: two lists that are as long as may be.
pub const ASKED_PART: Part = Part(2, 5);

/// A list of so many always has room: a device that asks for what a broken bundle had left.
pub const FEW_ASKED: usize = 256;

/// The memory in which all large bodies are gathered: a few of the largest transactions at a time, or
/// as many as anybody has devices of usual ones. Who finds none is told 503 `busy`.
pub const GATHERED_BYTES: usize = 64 << 20;

/// The part of that memory that one user may have: two of the largest transactions, or four questions about as many ids as may
/// be. Who has the rest of an address's part can send one of the largest transactions even so.
pub const GATHERED_PART: Part = Part(1, 2);

/// A body up to this size always has room.
pub const SMALL_BODY: usize = 16 << 10;

/// A line of a chunked body's framing, or its trailer: clients send a few digits and nothing more.
pub const FRAMING_BYTES: usize = 16 << 10;

/// How long the head of a request may take, unless `--head-timeout` says otherwise.
pub const HEAD_WAIT: Duration = Duration::from_secs(10);

/// How long a connection may be idle between two requests. Proxies keep theirs for a minute; the
/// server is the one that should give up last.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The bytes of the next request that are read while one is being answered: enough to notice that the client
/// is gone, and for most a whole request.
pub const READ_AHEAD: usize = 4096;

/// The pieces of a pushed bundle that may be on their way from the network to the disk: a few, so that neither
/// waits at once for the other, and a push takes little memory while the disk is slow.
pub const PUSH_PIECES: usize = 8;

/// How long `health` waits for a server's answer: a sync on a busy disk takes seconds, and whoever asks by a timer has
/// patience.
pub const HEALTH_WAIT: Duration = Duration::from_secs(10);

/// How long a server that starts waits for the answer of each other on its directory: who serves answers at once, and
/// who does not in time counts as serving.
pub const SERVING_WAIT: Duration = Duration::from_millis(500);

/// How often figures about users are counted aside: more often than anybody scrapes.
pub const CENSUS: Duration = Duration::from_secs(5);

/// How many times as long as a count took there is none after it: it takes a twentieth of a core at the most.
pub const CENSUS_SHARE: u32 = 20;

/// Scrapes at a time; more are closed. One or two programs scrape, once in a quarter of a minute.
pub const SCRAPES: usize = 16;

/// How long one scrape may take, with all of its request and its answer.
pub const SCRAPE_WAIT: Duration = Duration::from_secs(10);

/// The headers that a scrape may have.
pub const SCRAPE_HEADERS: usize = 64;

/// The headers that the answer to `health` may have: ours are five, and a proxy adds some.
pub const HEARTBEAT_HEADERS: usize = 100;

/// The bytes of the small files at the top that are read: room for some hundred addresses in `serving`.
pub const SIGN_BYTES: usize = 16 << 10;

/// The part of a disk below which its room counts as used up, where `--min-free` says nothing: a hundredth.
pub const FULL: Part = Part(1, 100);

/// The time for which one try to write the data directory speaks for it, so that many who watch the server cost no
/// more than one.
pub const PULSE: Duration = Duration::from_secs(1);

/// How long a connection that is closed is read on, while its client does not end it, so that the answer
/// arrives.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long a client may acknowledge nothing of what was sent to it, until the system ends its connection: one
/// that has vanished without a word, in the middle of a stream of events say. Longer than anybody pauses over
/// an answer that the sockets hold whole; a longer answer is timed by `--body-timeout`.
pub const VANISHED_MILLISECONDS: u32 = 120_000;

/// How long a server that stops waits for what is on its way on a connection that was told to stay open:
/// longer than a client takes to ask again at once, also from afar.
pub const LAST_REQUEST: Duration = Duration::from_millis(500);

/// How long a server that stops waits, when its time is up, for what its threads are writing.
pub const LAST_WRITES: Duration = Duration::from_millis(300);

/// How long no connection is accepted when that failed: most likely for want of files, of which others
/// give some back.
pub const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// How often it is looked whether a client is still there that waits for its answer and says nothing more.
pub const LOOK_FOR_LIFE: Duration = Duration::from_secs(1);

/// How often such a client is sent a letter of its answer ahead, of which there are seven: enough for
/// [`LONGEST_WAIT`].
pub const LETTER: Duration = Duration::from_secs(45);

/// Connections that wait to be accepted.
pub const BACKLOG: u32 = 1024;

/// How often a snapshot looks who is there, until nobody is new and nobody slipped away between being listed and being
/// opened. With the pauses some five seconds in all: whoever is renamed faster than that is not a person.
pub const SNAPSHOT_ROUNDS: u32 = 1000;

/// The pause of a snapshot between two such looks, from some on.
pub const SNAPSHOT_PAUSE: Duration = Duration::from_millis(5);

/// From this look on, those who came after the snapshot was begun are not for it any more: where users come all the
/// time, it would never end.
pub const SNAPSHOT_LATE: u32 = 8;

/// Looks in a row after which a user that was not seen, and whose name another has, was deleted. One look alone
/// may miss a user who is renamed during it.
pub const SNAPSHOT_UNSEEN: u32 = 3;

/// The pieces of damage that a snapshot names. `fsck` names all.
pub const SNAPSHOT_FINDINGS: usize = 20;

/// The seconds for which a browser need not ask again whether a page may ask: as long as any browser remembers it.
pub const PREFLIGHT_SECONDS: u32 = 7200;

/// The bytes of a file that are sealed at a time for a client that speaks TLS: four records, as many as the library keeps
/// back.
pub const SEALED: usize = 64 << 10;

/// The bytes that are read of a file with a certificate or a key: a hundred times what a long chain has.
pub const PEM_BYTES: u64 = 1 << 20;

/// How often it is looked whether there is another certificate. Trouble that stays is said at the second look, and both
/// come within half a minute.
pub const LOOK_FOR_CERTIFICATES: Duration = Duration::from_secs(10);

/// The words to the manager of services that wait while it does not listen: it is told a few, and seldom.
pub const TOLD: usize = 8;

/// How often a backup looks who is there, until nobody is new and nobody slipped away. Each such look may cost a run of rsync, and
/// each pause a fiftieth of a second: whoever is renamed faster than that all the time is not a person.
pub const BACKUP_ROUNDS: u32 = 200;

/// The pause of a backup after a look at which somebody slipped away.
pub const BACKUP_PAUSE: Duration = Duration::from_millis(20);

/// How often a backup copies a user whose files vanished before it calls that damage: a user who is renamed there and back each time is
/// no person.
pub const BACKUP_TRIES: u32 = 20;

/// The most folders that a backup holds open at a time: a run of rsync for each two thousand users costs nothing beside their files.
pub const BACKUP_FOLDERS: u64 = 2036;

/// The files that a backup may need besides these: pipes, the store, a user's HEAD.
pub const BACKUP_OTHER_FILES: u64 = 64;

/// The bytes that are kept of what rsync says: it may have something to say of each file, and nobody reads more.
pub const BACKUP_COMPLAINTS: u64 = 16 << 10;

/// The connections that the server of a drill takes at a time: its one client has one, and a stranger on loopback is welcome to what
/// is left.
pub const DRILL_CONNECTIONS: usize = 8;

/// The time within which a drill's server must go on with an answer: a cold disk takes no longer, and what takes longer does not restore.
pub const DRILL_PATIENCE: Duration = Duration::from_secs(60);

/// The bytes that the entries of a directory may take in memory where they are read at one moment: names of 36 characters (a user's)
/// take 64, so that is 65,000 users.
pub const LISTING_BYTES: usize = 4 << 20;

/// The bytes that are taken for them at least: file systems differ in what length a directory has, some say nothing.
pub const LISTING_BYTES_AT_LEAST: usize = 32 << 10;

/// The code of an invite as it is typed or pasted: it has 107 characters, and however it was broken into lines, not ten times
/// as many.
pub const INVITE_BYTES: usize = 1024;

/// A server's address: more than any proxy takes of a path, and what fits into a QR code with a key.
pub const ADDRESS_BYTES: usize = 1024;

/// The file `remote` of a replica: twenty thousand keys.
pub const REMOTE_FILE_BYTES: usize = 1 << 20;

/// The bytes of one chunk of a file that a client cuts up: with their length before them they fill one MiB, and Padmé adds
/// nothing to that.
pub const SLICE_BYTES: usize = (1 << 20) - 4;

/// The ids that a device remembers to have replaced by a rebase: whoever wrote one down looks for it within days.
pub const RENAMED: usize = 10_000;

/// The bytes that an app may put into one entry. Larger things are chunks beside it; an entry is held in memory whole,
/// and again with each rebase.
pub const ENTRY_BYTES: usize = 1 << 20;

/// The transactions that a device asks for in one request.
pub const PULLED_TOGETHER: u64 = 10_000;

/// The bytes of a pull that a device makes durable at a time, or the first transaction that has as many: a kill, or a loss
/// of power, costs no more.
pub const PULLED_BYTES: u64 = 64 << 20;

/// The members of a pull that a device makes durable at a time: making a store's 512 directories, and moving them, takes
/// as long as some thousand files, and of [`PUSHED_TOGETHER`] the store commits none at once.
pub const PULLED_MEMBERS: usize = 32_768;

/// The bytes of an answer after which a pull is long, so that how long is worth two requests to whoever shows it.
pub const FORETOLD: u64 = 256 << 10;

/// The transactions that a device pushes at a time.
pub const PUSHED_SLICE: usize = 10_000;

/// The ids of transactions and chunks that a device holds of what is pending, so that each is read once on its way: some
/// 5 MiB, and all that is pushed at a time where each has one chunk.
pub const HELD_NAMES: usize = 30_000;

/// The bytes of small chunks that a device holds of what is pending, so that each is read once on its way: what it pushes at a
/// time, where each transaction says some words.
pub const HELD_SMALL: usize = 12 << 20;

/// Chunks of what is pending that one thread looks at alone: starting another one takes as long as some.
pub const WEIGHED_ALONE: usize = 256;

/// The bytes of chunks that a device sends in one bundle, of which two are on their way at a time: a break costs no more.
pub const PUSHED_BYTES: u64 = 32 << 20;

/// The chunks that a device asks for in one request when it fetches a broken slice by chunk: 64 MiB of its own.
pub const FETCHED_TOGETHER: usize = 64;

/// Pieces ([`PIECE`]) of an answer that a device has ahead of its work on them: 2 MiB, which outlast what the work waits for.
pub const ANSWER_AHEAD: usize = 8;

/// The largest chunk that is held in memory on its way in, so that a break after it loses nothing of it.
pub const HELD_BYTES: u64 = 4 << 20;

/// How often a device goes on at once with a pull that was cut and brought nothing.
pub const PULL_TRIES: u32 = 3;

/// How often a device tries to push before it says that others are quicker all the time.
pub const RACES: u32 = 100;

/// How long a device waits for another process that syncs the same replica.
pub const SYNC_WAIT: Duration = Duration::from_secs(60);

/// How often a device that waits for others looks whether something was committed here.
pub const LOOK_FOR_COMMITS: Duration = Duration::from_millis(200);

/// The bytes of JSON in an answer that a client reads: the longest is that of a transaction.
pub const ANSWER_BYTES: usize = TRANSACTION_BYTES;

/// The characters of a server's words that a client shows.
pub const DETAIL_CHARS: usize = 500;

/// How long a client waits for a connection, the look-up of the name and TLS included: whoever is offline is told soon.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How long a client waits for an answer to begin, and for the next bytes of a body: a server may be at an advance of a long
/// chain, and its disk may be slow.
pub const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// How often a command's request is tried where the server is not reached.
pub const TRIES: u32 = 3;

/// The longest pause before the first other try, and before any: many clients of a server that comes back spread over that.
pub const RETRY_FIRST: Duration = Duration::from_millis(200);
pub const RETRY_MOST: Duration = Duration::from_secs(30);

/// The most of a server's word for when to try again that is believed.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(3600);

/// One of the long polls that a client's waiting is made of: proxies end a request that is silent for a minute.
pub const POLL: Duration = Duration::from_secs(50);

/// The pause of a client before it asks a server again that does not wait.
pub const POLL_PAUSE: Duration = Duration::from_secs(5);

/// The bytes of one entry of the journal, its note and text included: a line that programs read. A longer text is a file.
pub const JOURNAL_BYTES: usize = 64 << 10;

/// The small files that a device has beside its store.
pub const DEVICE_FILE_BYTES: usize = 64 << 10;

/// How long a device that follows waits before it asks again where the server was not reached: at first, and at most.
pub const FOLLOW_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
