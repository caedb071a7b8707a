//! The table of damage.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mentat_sync::upkeep::fsck::Kind;

use crate::kit::{Device, Server, binary, digest, run_with_deadline};
use crate::stock::{Stock, USER, alias, transaction};

/// One kind of damage. The store is [`Stock::full`] of 4: transactions 1 to 4 on the chain, 5 pending, 6 dead.
struct Row {
    name: &'static str,
    harm: fn(&Stock),
    /// What fsck says: severities and kinds.
    says: &'static [&'static str],
    /// What the server answers when it meets it: request, then status and code.
    answers: &'static [(&'static str, &'static str)],
    /// What fsck still says after a repair.
    stays: &'static [&'static str],
    /// What the server answers after the repair.
    then: &'static [(&'static str, &'static str)],
    /// What fsck still says after that, and one more repair.
    last: &'static [&'static str],
}

impl Row {
    const NONE: Row = Row {
        name: "",
        harm: |_| (),
        says: &[],
        answers: &[],
        stays: &[],
        then: &[],
        last: &[],
    };
}

const ROWS: &[Row] = &[
    // HEAD: nothing is known without it, and nobody but a person can tell what it was.
    Row {
        name: "no HEAD",
        harm: |stock| fs::remove_file(stock.file("HEAD")).unwrap(),
        says: &["damage no-head"],
        answers: &[
            ("GET head", "500 damaged"),
            ("GET transactions", "500 damaged"),
        ],
        stays: &["damage no-head"],
        last: &["damage no-head"],
        ..Row::NONE
    },
    Row {
        name: "HEAD is something else",
        harm: |stock| fs::write(stock.file("HEAD"), "main\n").unwrap(),
        says: &["damage head-malformed"],
        answers: &[("GET head", "500 damaged"), ("PUT head 5", "500 damaged")],
        stays: &["damage head-malformed"],
        last: &["damage head-malformed"],
        ..Row::NONE
    },
    Row {
        name: "HEAD names nothing",
        harm: |stock| fs::write(stock.file("HEAD"), format!("{}\n", transaction(99))).unwrap(),
        says: &["damage head-to-nowhere"],
        answers: &[
            ("GET head", "500 damaged"),
            ("GET transactions/4", "500 damaged"),
        ],
        stays: &["damage head-to-nowhere"],
        last: &["damage head-to-nowhere"],
        ..Row::NONE
    },
    Row {
        name: "HEAD is a symlink",
        harm: |stock| {
            fs::rename(stock.file("HEAD"), stock.path("HEAD.real")).unwrap();
            symlink(stock.path("HEAD.real"), stock.file("HEAD")).unwrap();
        },
        says: &["damage not-a-file", "harmless stranger"],
        answers: &[("GET head", "500 damaged")],
        stays: &["damage not-a-file", "harmless stranger"],
        last: &["damage not-a-file", "harmless stranger"],
        ..Row::NONE
    },
    // What its owner calls the user is nothing to a client.
    Row {
        name: "a name of two lines",
        harm: |stock| {
            let name = stock.file("name");
            fs::write(&name, "two\nlines\n").unwrap();
            fs::set_permissions(&name, fs::Permissions::from_mode(0o600)).unwrap();
        },
        says: &["harmless name"],
        answers: &[("GET head", "200"), ("PUT head 5", "204")],
        stays: &["harmless name"],
        last: &["harmless name"],
        ..Row::NONE
    },
    // Transactions of the chain: a backup has them, nobody else.
    Row {
        name: "a transaction is gone",
        harm: |stock| fs::remove_file(stock.transaction_file(2)).unwrap(),
        says: &["damage transaction-missing"],
        answers: &[
            ("GET transactions/2", "404 unknown-transaction"),
            ("GET head", "200"),
        ],
        stays: &["damage transaction-missing"],
        last: &["damage transaction-missing"],
        ..Row::NONE
    },
    Row {
        name: "HEAD's transaction is gone",
        harm: |stock| fs::remove_file(stock.transaction_file(4)).unwrap(),
        says: &["damage head-to-nowhere"],
        answers: &[("GET head", "500 damaged")],
        stays: &["damage head-to-nowhere"],
        last: &["damage head-to-nowhere"],
        ..Row::NONE
    },
    Row {
        name: "a transaction is cut short",
        harm: |stock| cut(&stock.transaction_file(2), 60),
        says: &["damage transaction-damaged"],
        answers: &[("GET transactions/2", "500 damaged")],
        stays: &["damage transaction-damaged"],
        last: &["damage transaction-damaged"],
        ..Row::NONE
    },
    Row {
        name: "a transaction has another's content",
        harm: |stock| {
            fs::copy(stock.transaction_file(3), stock.transaction_file(2)).unwrap();
        },
        says: &["damage transaction-damaged"],
        answers: &[("GET transactions/2", "500 damaged")],
        stays: &["damage transaction-damaged"],
        last: &["damage transaction-damaged"],
        ..Row::NONE
    },
    Row {
        name: "a transaction has another number",
        harm: |stock| replace(&stock.transaction_file(2), "\"seq\":2", "\"seq\":7"),
        says: &["damage wrong-seq"],
        answers: &[("GET transactions/2", "404 unknown-transaction")],
        stays: &["damage wrong-seq"],
        last: &["damage wrong-seq"],
        ..Row::NONE
    },
    Row {
        name: "a transaction has the root as parent",
        harm: |stock| {
            let root = mentat_sync::model::TransactionId::ROOT.to_string();
            replace(
                &stock.transaction_file(3),
                &transaction(2).to_string(),
                &root,
            );
        },
        says: &["damage broken-chain"],
        answers: &[("GET head", "200")],
        stays: &["damage broken-chain"],
        last: &["damage broken-chain"],
        ..Row::NONE
    },
    Row {
        name: "a transaction names another chunk",
        harm: |stock| {
            let was = digest(b"chunk 3");
            replace(&stock.transaction_file(3), &was, &digest(b"never put"));
        },
        says: &["damage chunk-missing", "harmless off-chain"],
        answers: &[("GET chunks/never put", "404 unknown-chunk")],
        // The chunk that is not named any more is gc's from now on, and still there.
        stays: &["damage chunk-missing"],
        then: &[("GET chunks/chunk 3", "200")],
        last: &["damage chunk-missing"],
    },
    Row {
        name: "a transaction is a symlink",
        harm: |stock| {
            fs::rename(stock.transaction_file(2), stock.directory.path().join("t")).unwrap();
            symlink(stock.directory.path().join("t"), stock.transaction_file(2)).unwrap();
        },
        says: &["damage not-a-file"],
        answers: &[("GET transactions/2", "500 damaged")],
        stays: &["damage not-a-file"],
        last: &["damage not-a-file"],
        ..Row::NONE
    },
    // The log: derived, and rebuilt.
    Row {
        name: "a line of the log names another",
        harm: |stock| {
            replace(
                &stock.file("log"),
                &transaction(2).to_string(),
                &transaction(99).to_string(),
            );
        },
        says: &["damage log-wrong"],
        answers: &[("GET head", "200"), ("GET transactions?from=3", "200")],
        then: &[("GET transactions/2", "200")],
        ..Row::NONE
    },
    Row {
        name: "the log is zeroes",
        harm: |stock| fs::write(stock.file("log"), [0; 200]).unwrap(),
        says: &["damage log-wrong"],
        answers: &[("GET transactions", "200"), ("GET transactions/2", "200")],
        ..Row::NONE
    },
    Row {
        name: "no log",
        harm: |stock| fs::remove_file(stock.file("log")).unwrap(),
        says: &["harmless log-short"],
        answers: &[("GET transactions", "200"), ("GET transactions/2", "200")],
        ..Row::NONE
    },
    Row {
        name: "the log is cut in the middle of a line",
        harm: |stock| cut(&stock.file("log"), 120),
        says: &["harmless log-short"],
        answers: &[("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "the log goes on after HEAD",
        harm: |stock| append(&stock.file("log"), "000000000005 whatever\n"),
        says: &["harmless log-tail"],
        answers: &[("GET transactions", "200")],
        stays: &["harmless log-tail"],
        then: &[("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "the log is a directory",
        harm: |stock| {
            fs::remove_file(stock.file("log")).unwrap();
            fs::create_dir(stock.file("log")).unwrap();
        },
        says: &["damage not-a-file", "harmless log-short"],
        // It goes to lost+found.
        answers: &[("GET transactions", "200"), ("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "the log is a symlink",
        harm: |stock| {
            fs::remove_file(stock.file("log")).unwrap();
            symlink("HEAD", stock.file("log")).unwrap();
        },
        says: &["damage not-a-file", "harmless log-short"],
        then: &[("GET transactions", "200"), ("PUT head 5", "204")],
        ..Row::NONE
    },
    // Committed chunks: taken out of the way, and put again by a client straight into their place.
    Row {
        name: "a chunk has other bytes",
        harm: |stock| fs::write(stock.chunk_file("", "chunk 2"), "chunk 2 and").unwrap(),
        says: &["damage chunk-damaged"],
        // The server does not hash what it sends: who gets a chunk does.
        answers: &[("GET chunks/chunk 2", "200")],
        stays: &["damage chunk-missing"],
        then: &[
            ("GET chunks/chunk 2", "404 unknown-chunk"),
            ("PUT chunks/chunk 2", "201"),
        ],
        ..Row::NONE
    },
    Row {
        name: "a chunk is empty",
        harm: |stock| cut(&stock.chunk_file("", "shared"), 0),
        says: &["damage chunk-damaged"],
        stays: &["damage chunk-missing"],
        then: &[
            ("GET chunks/shared", "404 unknown-chunk"),
            ("PUT chunks/shared", "201"),
        ],
        ..Row::NONE
    },
    Row {
        name: "a chunk is gone",
        harm: |stock| fs::remove_file(stock.chunk_file("", "chunk 2")).unwrap(),
        says: &["damage chunk-missing"],
        answers: &[("GET chunks/chunk 2", "404 unknown-chunk")],
        stays: &["damage chunk-missing"],
        then: &[("PUT chunks/chunk 2", "201"), ("GET chunks/chunk 2", "200")],
        ..Row::NONE
    },
    Row {
        name: "a chunk of the chain is only in incoming/",
        harm: |stock| {
            let there = stock.chunk_file("incoming/", "chunk 2");
            rename(&stock.chunk_file("", "chunk 2"), &there);
        },
        says: &["damage chunk-uncommitted"],
        answers: &[("GET chunks/chunk 2", "200")],
        // What is left in incoming/ goes at the second repair.
        stays: &["harmless leftover"],
        then: &[("GET chunks/chunk 2", "200")],
        ..Row::NONE
    },
    Row {
        name: "a chunk has other bytes, and incoming/ has the right ones",
        harm: |stock| {
            let there = stock.chunk_file("incoming/", "chunk 2");
            directory(there.parent().unwrap());
            fs::write(&there, "chunk 2").unwrap();
            mode(&there, 0o600);
            fs::write(stock.chunk_file("", "chunk 2"), "chunk 3").unwrap();
        },
        says: &["damage chunk-damaged", "harmless leftover"],
        stays: &["harmless mark"],
        then: &[("GET chunks/chunk 2", "200")],
        ..Row::NONE
    },
    Row {
        name: "a chunk is a directory",
        harm: |stock| {
            fs::remove_file(stock.chunk_file("", "chunk 2")).unwrap();
            fs::create_dir(stock.chunk_file("", "chunk 2")).unwrap();
        },
        says: &["damage chunk-missing", "damage not-a-file"],
        answers: &[
            ("GET chunks/chunk 2", "500 damaged"),
            ("PUT chunks/chunk 2", "500 damaged"),
        ],
        stays: &["damage chunk-missing", "damage not-a-file"],
        last: &["damage chunk-missing", "damage not-a-file"],
        ..Row::NONE
    },
    Row {
        name: "a chunk is a symlink",
        harm: |stock| {
            fs::rename(
                stock.chunk_file("", "chunk 2"),
                stock.directory.path().join("c"),
            )
            .unwrap();
            symlink(
                stock.directory.path().join("c"),
                stock.chunk_file("", "chunk 2"),
            )
            .unwrap();
        },
        says: &["damage chunk-missing", "damage not-a-file"],
        answers: &[("GET chunks/chunk 2", "500 damaged")],
        stays: &["damage chunk-missing", "damage not-a-file"],
        last: &["damage chunk-missing", "damage not-a-file"],
        ..Row::NONE
    },
    Row {
        name: "there is a file where the chunks should be",
        harm: |stock| {
            fs::rename(stock.file("chunks"), stock.directory.path().join("chunks")).unwrap();
            fs::write(stock.file("chunks"), "").unwrap();
        },
        // What is in the way is damage; what is behind it is not missing, for all that is known.
        says: &["damage not-a-file"],
        answers: &[
            ("GET chunks/chunk 2", "500 damaged"),
            ("PUT chunks/chunk 2", "500 damaged"),
            ("GET head", "200"),
        ],
        stays: &["damage not-a-file"],
        last: &["damage not-a-file"],
        ..Row::NONE
    },
    // Aliases.
    Row {
        name: "an alias is no digest",
        harm: |stock| fs::write(alias_file(stock), "some chunk\n").unwrap(),
        says: &["damage alias-damaged"],
        answers: &[("GET alias", "500 damaged")],
        stays: &["damage alias-damaged"],
        last: &["damage alias-damaged"],
        ..Row::NONE
    },
    Row {
        // Which chunk it stood for is lost with it, so that none may be taken for a leftover now.
        name: "an alias is gone",
        harm: |stock| {
            fs::remove_file(alias_file(stock)).unwrap();
            link(
                &stock.chunk_file("incoming/", "dead"),
                &stock.chunk_file("", "dead"),
            );
        },
        says: &["damage chunk-missing"],
        answers: &[("GET alias", "404 unknown-chunk")],
        stays: &["damage chunk-missing"],
        last: &["damage chunk-missing"],
        ..Row::NONE
    },
    Row {
        name: "an alias stands for nothing",
        harm: |stock| fs::remove_file(stock.chunk_file("", "by another name")).unwrap(),
        says: &["damage alias-dangling", "damage chunk-missing"],
        answers: &[("GET alias", "404 unknown-chunk")],
        stays: &["damage alias-dangling", "damage chunk-missing"],
        then: &[("PUT alias", "201"), ("GET alias", "200")],
        ..Row::NONE
    },
    Row {
        name: "a pending alias is no digest",
        harm: |stock| {
            stock.put(b"later", alias(8));
            let name = alias(8).to_string();
            fs::write(stock.file(&format!("incoming/aliases/08/{name}")), "?").unwrap();
        },
        says: &["damage alias-damaged"],
        ..Row::NONE
    },
    // What is pending: a client that still has it can put it again.
    Row {
        name: "a pending chunk has other bytes",
        harm: |stock| fs::write(stock.chunk_file("incoming/", "pending"), "other").unwrap(),
        says: &["damage chunk-damaged"],
        stays: &["damage chunk-missing"],
        then: &[("PUT chunks/pending", "201"), ("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "a pending chunk is gone",
        harm: |stock| fs::remove_file(stock.chunk_file("incoming/", "pending")).unwrap(),
        says: &["damage chunk-missing"],
        answers: &[("PUT head 5", "409 missing-chunks")],
        stays: &["damage chunk-missing"],
        then: &[("PUT chunks/pending", "201"), ("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "a dead transaction's chunk is gone",
        harm: |stock| fs::remove_file(stock.chunk_file("incoming/", "dead")).unwrap(),
        says: &["harmless chunk-missing"],
        answers: &[("PUT head 5", "204")],
        stays: &["harmless chunk-missing"],
        last: &["harmless chunk-missing"],
        ..Row::NONE
    },
    Row {
        name: "a pending transaction is cut short",
        harm: |stock| cut(&stock.pending_file(5), 50),
        says: &["damage transaction-damaged"],
        answers: &[
            ("PUT head 5", "500 damaged"),
            ("PUT transactions/5", "500 damaged"),
        ],
        then: &[("PUT transactions/5", "201"), ("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "a pending transaction has another number",
        harm: |stock| replace(&stock.pending_file(5), "\"seq\":5", "\"seq\":8"),
        says: &["damage wrong-seq"],
        then: &[("PUT transactions/5", "201"), ("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "a pending transaction has lost its parent",
        harm: |stock| {
            replace(
                &stock.pending_file(6),
                &transaction(3).to_string(),
                &transaction(99).to_string(),
            );
        },
        says: &["harmless orphan"],
        stays: &["harmless orphan"],
        last: &["harmless orphan"],
        ..Row::NONE
    },
    // What a crash leaves.
    Row {
        name: "off the chain, and pending too",
        harm: |stock| {
            link(&stock.pending_file(5), &stock.transaction_file(5));
            let pending = stock.chunk_file("incoming/", "pending");
            link(&pending, &stock.chunk_file("", "pending"));
        },
        says: &["harmless off-chain"],
        answers: &[("GET transactions/5", "404 unknown-transaction")],
        then: &[("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "off the chain, and nowhere else",
        harm: |stock| {
            rename(&stock.pending_file(6), &stock.transaction_file(6));
            let dead = stock.chunk_file("incoming/", "dead");
            rename(&dead, &stock.chunk_file("", "dead"));
        },
        says: &["harmless off-chain"],
        answers: &[("GET transactions/6", "404 unknown-transaction")],
        then: &[("GET chunks/dead", "200"), ("PUT transactions/6", "201")],
        ..Row::NONE
    },
    Row {
        name: "committed, and not yet dropped from incoming/",
        harm: |stock| {
            link(&stock.transaction_file(3), &stock.pending_file(3));
            let chunk = stock.chunk_file("", "chunk 3");
            link(&chunk, &stock.chunk_file("incoming/", "chunk 3"));
        },
        says: &["harmless leftover"],
        answers: &[("PUT head 5", "204")],
        ..Row::NONE
    },
    Row {
        name: "a temporary file of last week",
        harm: |stock| {
            let file = fs::File::create(stock.file("incoming/tmp/0000000000000001")).unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o600))
                .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(7 * 86_400))
                .unwrap();
            fs::File::create(stock.file("incoming/tmp/0000000000000002"))
                .unwrap()
                .set_permissions(fs::Permissions::from_mode(0o600))
                .unwrap();
        },
        says: &["harmless temporary"],
        ..Row::NONE
    },
    Row {
        name: "a deleted user whose files are still there",
        harm: |stock| {
            fs::create_dir_all(stock.path("trash/someone.0/chunks")).unwrap();
            fs::write(stock.path("trash/someone.0/chunks/x"), "x").unwrap();
        },
        says: &["harmless trash"],
        ..Row::NONE
    },
    Row {
        name: "a mark of a chunk that is there again",
        harm: |stock| {
            let mark = stock.file("lost+found/chunks").join(digest(b"chunk 2"));
            directory(&stock.file("lost+found"));
            directory(&stock.file("lost+found/chunks"));
            fs::write(mark, "").unwrap();
        },
        says: &["harmless mark"],
        ..Row::NONE
    },
    // What does not belong there.
    Row {
        name: "strangers everywhere",
        harm: |stock| {
            for place in [
                "notes",
                "users/notes",
                "users/67E55044-10b1-426f-9247-bb680e5fe0c8",
            ] {
                fs::write(stock.path(place), "").unwrap();
            }
            for place in [
                "notes",
                "chunks/notes",
                "chunks/zz",
                "transactions/00",
                "incoming/x",
            ] {
                fs::create_dir_all(stock.file(place).parent().unwrap()).unwrap();
                fs::write(stock.file(place), "").unwrap();
            }
            fs::remove_file(stock.file("transactions/00")).unwrap();
            let chunk = stock.chunk_file("", "chunk 2");
            let elsewhere = stock.file("chunks/00");
            directory(&elsewhere);
            fs::copy(&chunk, elsewhere.join(chunk.file_name().unwrap())).unwrap();
        },
        says: &["harmless stranger"],
        answers: &[("GET chunks/chunk 2", "200"), ("GET transactions", "200")],
        stays: &["harmless stranger"],
        last: &["harmless stranger"],
        ..Row::NONE
    },
    Row {
        name: "others may read",
        harm: |stock| mode(&stock.chunk_file("", "chunk 2"), 0o644),
        says: &["harmless mode-loose"],
        answers: &[("GET chunks/chunk 2", "200")],
        stays: &["harmless mode-loose"],
        last: &["harmless mode-loose"],
        ..Row::NONE
    },
    Row {
        name: "the owner may not write",
        harm: |stock| mode(&stock.file("log"), 0o400),
        says: &["damage mode-tight"],
        stays: &["damage mode-tight"],
        last: &["damage mode-tight"],
        ..Row::NONE
    },
    Row {
        name: "the owner may not read a transaction",
        harm: |stock| mode(&stock.transaction_file(3), 0o000),
        says: &["damage mode-tight"],
        stays: &["damage mode-tight"],
        last: &["damage mode-tight"],
        ..Row::NONE
    },
    Row {
        name: "FORMAT says something else",
        harm: |stock| fs::write(stock.path("FORMAT"), "something else\n").unwrap(),
        says: &["damage format"],
        stays: &["damage format"],
        last: &["damage format"],
        ..Row::NONE
    },
    Row {
        name: "no FORMAT",
        harm: |stock| fs::remove_file(stock.path("FORMAT")).unwrap(),
        says: &["damage format"],
        stays: &["damage format"],
        last: &["damage format"],
        ..Row::NONE
    },
    // The checkpoint: a device can put one anew, and all else is served.
    Row {
        name: "CHECKPOINT is something else",
        harm: |stock| {
            stock.checkpoint(3);
            fs::write(stock.file("CHECKPOINT"), "3\n").unwrap();
        },
        says: &["damage checkpoint-damaged"],
        answers: &[
            ("GET checkpoint", "500 damaged"),
            ("PUT checkpoint 3", "500 damaged"),
            ("GET head", "200"),
            ("GET ", "200"),
        ],
        then: &[
            ("GET checkpoint", "404 no-checkpoint"),
            ("PUT checkpoint 3", "204"),
            ("GET checkpoint", "200"),
        ],
        ..Row::NONE
    },
    Row {
        name: "CHECKPOINT has another number",
        harm: |stock| {
            stock.checkpoint(3);
            replace(&stock.file("CHECKPOINT"), "\"seq\":3", "\"seq\":2");
        },
        says: &["damage checkpoint-damaged"],
        answers: &[("GET checkpoint", "500 damaged")],
        then: &[
            ("GET checkpoint", "404 no-checkpoint"),
            ("PUT checkpoint 3", "204"),
        ],
        ..Row::NONE
    },
    Row {
        name: "CHECKPOINT is a symlink",
        harm: |stock| {
            stock.checkpoint(3);
            fs::rename(stock.file("CHECKPOINT"), stock.path("CHECKPOINT.real")).unwrap();
            symlink(stock.path("CHECKPOINT.real"), stock.file("CHECKPOINT")).unwrap();
        },
        says: &["damage not-a-file", "harmless stranger"],
        answers: &[("GET checkpoint", "500 damaged"), ("GET head", "200")],
        stays: &["damage not-a-file", "harmless stranger"],
        last: &["damage not-a-file", "harmless stranger"],
        ..Row::NONE
    },
    Row {
        name: "CHECKPOINT is of a transaction that is off the chain",
        harm: |stock| {
            stock.checkpoint(3);
            let [on, off] = [3, 6].map(|n| transaction(n).to_string());
            replace(&stock.file("CHECKPOINT"), &on, &off);
            fs::remove_file(stock.checkpoint_file()).unwrap();
        },
        says: &["harmless checkpoint-off-chain", "harmless chunk-missing"],
        answers: &[("GET checkpoint", "404 no-checkpoint")],
        stays: &["harmless checkpoint-off-chain", "harmless chunk-missing"],
        then: &[
            ("PUT chunks/state", "201"),
            ("PUT checkpoint 3", "204"),
            ("GET checkpoint", "200"),
        ],
        ..Row::NONE
    },
    Row {
        name: "a chunk of the checkpoint has other bytes",
        harm: |stock| {
            stock.checkpoint(3);
            fs::write(stock.checkpoint_file(), "stats").unwrap();
        },
        says: &["damage chunk-damaged"],
        answers: &[("GET chunks/state", "200")],
        stays: &["damage chunk-missing"],
        then: &[
            ("GET chunks/state", "404 unknown-chunk"),
            ("PUT chunks/state", "201"),
            ("GET chunks/state", "200"),
        ],
        ..Row::NONE
    },
    Row {
        name: "a chunk of the checkpoint is gone",
        harm: |stock| {
            stock.checkpoint(3);
            fs::remove_file(stock.checkpoint_file()).unwrap();
        },
        says: &["damage chunk-missing"],
        answers: &[("PUT checkpoint 3", "404 missing-chunks")],
        stays: &["damage chunk-missing"],
        then: &[("PUT chunks/state", "201"), ("PUT checkpoint 3", "204")],
        ..Row::NONE
    },
    Row {
        name: "checkpoint is a file",
        harm: |stock| fs::write(stock.file("checkpoint"), "").unwrap(),
        says: &["damage not-a-file"],
        answers: &[("GET checkpoint", "404 no-checkpoint"), ("GET head", "200")],
        stays: &["damage not-a-file"],
        last: &["damage not-a-file"],
        ..Row::NONE
    },
    // Nobody is served of whom nobody knows whether they are elsewhere.
    Row {
        name: "frozen says none of its words",
        harm: |stock| {
            fs::write(stock.file("frozen"), "cold\n").unwrap();
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(stock.file("frozen"), private).unwrap();
        },
        says: &["damage frozen"],
        answers: &[
            ("GET head", "503 moving"),
            ("GET transactions", "503 moving"),
            ("PUT head 5", "503 moving"),
        ],
        stays: &["damage frozen"],
        last: &["damage frozen"],
        ..Row::NONE
    },
];

/// Kinds that take a failing disk, which is in `fsck.rs`, another user of the box, in `owners.rs`, or a device, in
/// `replica_stores.rs`.
const ELSEWHERE: [&str; 5] = [
    "unreadable",
    "unchecked",
    "foreign-owner",
    "wrong-id",
    "local-damaged",
];

#[test]
fn each_kind_of_damage_is_told_answered_and_mended_as_the_table_says() {
    // All of them, so that one run shows the whole of it; a few at a time, since they mostly wait.
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(row) = ROWS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if std::panic::catch_unwind(|| run(row)).is_err() {
                        wrong.lock().unwrap().push(row.name);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_table_has_every_kind() {
    let told: BTreeSet<&str> = ROWS
        .iter()
        .flat_map(|row| row.says.iter().chain(row.stays))
        .filter_map(|words| words.split_once(' '))
        .map(|(_, kind)| kind)
        .chain(ELSEWHERE)
        .collect();
    let all: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(told, all);
}

fn run(row: &Row) {
    let name = row.name;
    let stock = Stock::full(4);
    (row.harm)(&stock);
    let head = fs::read(stock.file("HEAD")).ok();
    let seen = stock.check();
    assert_eq!(seen.words(), row.says, "{name}: {seen:#?}");
    // The command says the same, by its exit status.
    let status = i32::from(row.says.iter().any(|words| words.starts_with("damage")));
    let fsck = run_with_deadline(binary().arg("fsck").arg("--data").arg(stock.data()));
    assert_eq!(fsck.code, Some(status), "{name}: {fsck:?}");
    let lines = seen.findings.len() + usize::from(seen.newest_sound.is_some()) + 1;
    assert_eq!(fsck.stdout.lines().count(), lines, "{name}: {fsck:?}");

    ask(&stock, row.answers, name);
    let after_answers = fs::read(stock.file("HEAD")).ok();
    let moved = row.answers.iter().any(|(_, answer)| *answer == "204");
    assert_eq!(after_answers == head, !moved, "{name}");

    let seen = stock.repair();
    let failed: Vec<_> = seen.mended.iter().filter(|m| m.outcome.is_err()).collect();
    assert_eq!(
        fs::read(stock.file("HEAD")).ok(),
        after_answers,
        "a repair never moves HEAD"
    );
    let seen = stock.check();
    assert_eq!(
        seen.words(),
        row.stays,
        "{name}, repaired ({failed:?}): {seen:#?}"
    );

    ask(&stock, row.then, name);
    stock.repair();
    let seen = stock.check();
    assert_eq!(seen.words(), row.last, "{name}, repaired again: {seen:#?}");
    if row
        .then
        .iter()
        .any(|(request, _)| request.starts_with("PUT chunks/chunk"))
    {
        // Straight into its place, where gc does not go.
        assert!(stock.chunk_file("", "chunk 2").exists());
        assert!(!stock.chunk_file("incoming/", "chunk 2").exists());
    }
}

/// Asks a server on this store. A 500 is logged with the place, and without the user's id.
fn ask(stock: &Stock, requests: &[(&str, &str)], name: &str) {
    if requests.is_empty() {
        return;
    }
    let server = Server::on(Arc::clone(&stock.directory), &["--uuid-chunk-ids"]);
    let mut device = Device::new(server.address(), &USER.to_string());
    for (request, expected) in requests {
        let (method, what) = request.split_once(' ').unwrap();
        let (path, body) = spell(what);
        let path = device.path(&path);
        let body = (method == "PUT").then_some(body.as_slice());
        let answer = device.client.request(method, &path, &[], body);
        match expected.split_once(' ') {
            Some((status, code)) => {
                answer.expect_refusal(status.parse().unwrap(), code);
            }
            None => {
                answer.expect(expected.parse().unwrap());
            }
        }
        if expected.starts_with("500") {
            server.has_said(|line| line.contains("ERROR") && line.contains("users/"));
        }
    }
    let said = server.said().join("\n");
    assert!(!said.contains(&USER.to_string()), "{name}: {said}");
    assert_eq!(server.stop().code(), Some(0), "{name}");
}

/// The path and, for a PUT, the body of what the table calls `transactions/2` or `chunks/chunk 2`.
fn spell(what: &str) -> (String, Vec<u8>) {
    let number = |text: &str| transaction(text.parse().unwrap()).to_string();
    if let Some(text) = what.strip_prefix("chunks/") {
        return (format!("chunks/{}", digest(text.as_bytes())), text.into());
    }
    if let Some(text) = what.strip_prefix("transactions/") {
        let (parent, chunk) = if text == "5" {
            ("4", "pending")
        } else {
            ("3", "dead")
        };
        let chunk = digest(chunk.as_bytes());
        let body = format!(r#"{{"parent":"{}","chunks":["{chunk}"]}}"#, number(parent));
        return (format!("transactions/{}", number(text)), body.into());
    }
    if let Some(text) = what.strip_prefix("transactions?from=") {
        return (format!("transactions?from={}", number(text)), Vec::new());
    }
    if let Some(text) = what.strip_prefix("head ") {
        let body = format!(r#"{{"head":"{}"}}"#, number(text));
        return ("head".to_owned(), body.into());
    }
    if let Some(text) = what.strip_prefix("checkpoint ") {
        let (id, chunk) = (number(text), digest(b"state"));
        let body = format!(r#"{{"transaction":"{id}","chunks":["{chunk}"]}}"#);
        return ("checkpoint".to_owned(), body.into());
    }
    if what == "alias" {
        return (format!("chunks/{}", alias(9)), b"by another name".into());
    }
    (what.to_owned(), Vec::new())
}

fn alias_file(stock: &Stock) -> std::path::PathBuf {
    stock.file(&format!("aliases/09/{}", alias(9)))
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

fn append(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend_from_slice(text.as_bytes());
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

fn link(from: &Path, to: &Path) {
    directory(to.parent().unwrap());
    fs::hard_link(from, to).unwrap();
}

fn rename(from: &Path, to: &Path) {
    directory(to.parent().unwrap());
    fs::rename(from, to).unwrap();
}

/// Makes a directory as the store does, if there is none.
fn directory(path: &Path) {
    if fs::create_dir(path).is_ok() {
        mode(path, 0o700);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
