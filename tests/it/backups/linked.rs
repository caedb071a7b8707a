//! What becomes of a snapshot when something happens after any one of its files has got its second name.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::sound;
use crate::stock::{Seen, Stock, USER, transaction};
use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::UserId;
use mentat_sync::upkeep::snapshot::{Snapshot, snapshot};

const OTHER: UserId = UserId::from_bytes([0x86; 16]);

/// Takes a snapshot, and does something after so many files; what it said, and whether it came that far.
fn with_event(stock: &Stock, to: &Path, after: u64, event: impl Fn()) -> (Snapshot, bool) {
    let disk = Arc::new(Real::new(&stock.data(), Grouping::Off).unwrap());
    let linked = Cell::new(0);
    let taken = snapshot(disk, to, &|| {
        linked.set(linked.get() + 1);
        if linked.get() == after {
            event();
        }
    });
    (taken.unwrap(), linked.get() >= after)
}

/// Does this for each moment of a snapshot of a user with a chain of three: what it said, and what fsck says.
fn at_every_moment(event: impl Fn(&Stock), judge: impl Fn(&Stock, &Path, &Snapshot, &Seen)) {
    for after in 1.. {
        let stock = Stock::full(3);
        let copy = stock.directory.path().join("copy");
        let (said, came_so_far) = with_event(&stock, &copy, after, || event(&stock));
        if !came_so_far {
            assert!(after > 5);
            return;
        }
        let seen = sound(&copy);
        assert_eq!((said.damage, said.unchecked), (0, 0), "{said:?}");
        assert!(said.left_out.is_empty(), "{said:?}");
        assert_eq!(said.users, seen.summary.users);
        assert_eq!(fs::read_dir(copy.join("tmp")).unwrap().count(), 0);
        judge(&stock, &copy, &said, &seen);
    }
}

/// Whether this user is in the copy, with the HEAD that there is in this folder.
fn has(copy: &Path, user: &UserId, like: &Path) -> bool {
    let head = fs::read(copy.join(format!("users/{user}/HEAD")));
    head.is_ok_and(|head| head == fs::read(like.join("HEAD")).unwrap())
}

fn rename(stock: &Stock, from: &UserId, to: &UserId) {
    let place = |user| stock.path(&format!("users/{user}"));
    fs::rename(place(from), place(to)).unwrap();
}

/// As the server does it.
fn delete(stock: &Stock, user: &UserId) {
    let aside = stock.path(&format!("trash/{user}.0123456789abcdef"));
    fs::rename(stock.path(&format!("users/{user}")), &aside).unwrap();
    fs::remove_dir_all(aside).unwrap();
}

/// Another folder under this name, of a shorter chain.
fn make(stock: &Stock, user: &UserId) {
    let next = Stock::full(2);
    let made = stock.path("tmp/made");
    let mut copy = std::process::Command::new("cp");
    let copied = copy
        .arg("-a")
        .arg(next.file(""))
        .arg(&made)
        .status()
        .unwrap();
    assert!(copied.success());
    fs::rename(made, stock.path(&format!("users/{user}"))).unwrap();
}

#[test]
fn a_user_who_is_renamed_at_any_moment_is_in_a_snapshot_under_the_new_name() {
    at_every_moment(
        |stock| rename(stock, &USER, &OTHER),
        |stock, copy, said, seen| {
            assert_eq!(seen.summary.users, 1);
            assert!(has(copy, &OTHER, &stock.path(&format!("users/{OTHER}"))));
            assert!(said.went.is_empty());
        },
    );
}

#[test]
fn a_user_who_is_deleted_at_any_moment_is_not_in_a_snapshot_and_that_is_said() {
    at_every_moment(
        |stock| delete(stock, &USER),
        |_, _, said, seen| {
            assert_eq!(seen.summary.users, 0);
            assert!(said.went.contains(&USER), "{said:?}");
        },
    );
}

#[test]
fn a_user_who_is_made_anew_at_any_moment_is_in_a_snapshot_as_made_anew() {
    at_every_moment(
        |stock| {
            delete(stock, &USER);
            make(stock, &USER);
        },
        |stock, copy, said, seen| {
            assert_eq!(seen.summary.users, 1);
            assert!(has(copy, &USER, &stock.file("")), "{said:?}");
            assert_eq!(seen.summary.transactions, 2);
            assert!(said.went.is_empty(), "{said:?}");
        },
    );
}

#[test]
fn two_users_of_whom_one_takes_the_others_name_at_any_moment_are_both_in_a_snapshot() {
    at_every_moment(
        |stock| {
            rename(stock, &USER, &OTHER);
            make(stock, &USER);
        },
        |stock, copy, _, seen| {
            assert_eq!(seen.summary.users, 2);
            assert!(has(copy, &USER, &stock.file("")));
            assert!(has(copy, &OTHER, &stock.path(&format!("users/{OTHER}"))));
        },
    );
}

#[test]
fn a_user_whose_folder_is_removed_by_hand_where_it_stands_is_not_in_a_snapshot() {
    for after in 1..6 {
        let stock = Stock::full(3);
        let copy = stock.directory.path().join("copy");
        let (said, _) = with_event(&stock, &copy, after, || {
            fs::remove_dir_all(stock.file("")).unwrap();
        });
        assert_eq!(sound(&copy).summary.users, 0, "{said:?}");
        assert!(said.went.contains(&USER), "{said:?}");
    }
}

#[test]
fn advances_at_any_moment_leave_a_snapshot_whole() {
    at_every_moment(
        |stock| {
            stock.advance(transaction(4));
        },
        |_, _, _, seen| assert!(seen.summary.transactions >= 3),
    );
}
