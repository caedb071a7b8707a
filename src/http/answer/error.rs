//! The errors of a handler: refusals, and failures of the store.

use super::problem::Problem;
use crate::store::{self, Store};
use crate::wire::Code;

/// Too many open files, in this process or on the box: it passes.
const TOO_MANY_FILES: [i32; 2] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
];

/// The reason for which a handler has no reply.
#[derive(Debug)]
pub enum Error {
    /// The request is refused.
    Refused(Problem),
    /// The store failed, or refuses whatever is asked for. It is not logged yet: [`Error::log`] does that.
    Store(store::Error),
}

/// A refusal, made of a problem or of what the parsers say of a malformed request.
impl<T> From<T> for Error
where
    Problem: From<T>,
{
    fn from(refused: T) -> Self {
        Self::Refused(refused.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Error {
    /// Has the store take note of the error where it tells of a place that may not be used.
    pub fn noted(self, store: &Store) -> Self {
        if let Self::Store(error) = &self {
            store.note_denied(error);
        }
        self
    }

    /// The refusal to answer with. An error of the store that a person must see to is logged, with the place;
    /// the client is not told the place.
    pub fn log(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Store(error) => {
                if is_for_the_log(&error) {
                    log::error!("{error}");
                }
                problem_of(&error)
            }
        }
    }
}

/// Whether a person must see to this error.
fn is_for_the_log(error: &store::Error) -> bool {
    !matches!(
        error,
        store::Error::Busy
            | store::Error::UserGone
            | store::Error::Moving
            | store::Error::UnknownUser
            | store::Error::WrongShard
            | store::Error::QuotaExceeded { .. }
    )
}

/// The refusal for an error of the store.
fn problem_of(error: &store::Error) -> Problem {
    if error.is_no_space() {
        return no_space(error);
    }
    match error {
        store::Error::Busy => Problem::busy("somebody else is at work on this user's store"),
        store::Error::UserGone => {
            Problem::busy("the user was deleted or renamed while this was under way")
        }
        store::Error::Moving => Problem::moving(),
        store::Error::UnknownUser => Problem::new(
            Code::UnknownUser,
            "no such user here, and new ones are not admitted",
        ),
        store::Error::WrongShard => Problem::new(
            Code::WrongShard,
            "another box is for this user, who was not moved to this one",
        ),
        store::Error::QuotaExceeded { of, limit, used } => {
            let detail = format!("this user has {used} {of}, and may have {limit}");
            Problem::new(Code::QuotaExceeded, detail)
                .limit(*limit)
                .used(*used)
        }
        store::Error::Disk(disk) if is_too_many_files(&disk.source) => {
            Problem::busy("too many files are open on the server just now")
        }
        store::Error::StoreGone { .. } => Problem::new(
            Code::Damaged,
            "the store is not where it was when the server started; the server's log says more",
        ),
        store::Error::Denied { still, .. } => Problem::new(
            Code::Damaged,
            format!(
                "alive, and the data directory can be written, but {still} files or folders in it may not be used by the \
                 server; its log says more"
            ),
        ),
        store::Error::Disk(disk) if disk.is_out_of_shape() || disk.out_of_reach().is_some() => {
            damaged()
        }
        store::Error::Disk(disk) if disk.kind() == std::io::ErrorKind::PermissionDenied => {
            Problem::new(
                Code::Internal,
                "the server may not use a file or folder of the store, which somebody else on its box can mend; its log says \
             which",
            )
        }
        store::Error::Damaged { .. } | store::Error::LogIsWrong => damaged(),
        store::Error::ReadOnly => Problem::new(
            Code::Internal,
            "a sync failed: this user is read-only until a restart",
        ),
        store::Error::NotDurable => Problem::new(
            Code::Internal,
            "a sync failed: nothing can be said of this user until a restart",
        ),
        _ => Problem::internal(),
    }
}

fn damaged() -> Problem {
    let detail =
        "a file of the store is damaged, or cannot be reached; the server's log says which";
    Problem::new(Code::Damaged, detail)
}

/// The refusal for a disk that is full, or as full as the operator lets it be; in that case with the numbers.
fn no_space(error: &store::Error) -> Problem {
    let detail = match error {
        store::Error::NoRoom {
            min_free,
            free_bytes,
            ..
        } => format!(
            "the disk has {free_bytes} bytes free, of which uploads leave {min_free}; reads and HEAD \
             still work"
        ),
        _ => "the disk is full; reads and HEAD still work".to_owned(),
    };
    Problem::new(Code::NoSpace, detail)
}

fn is_too_many_files(error: &std::io::Error) -> bool {
    (error.raw_os_error()).is_some_and(|number| TOO_MANY_FILES.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;

    fn status(error: impl Into<Error>) -> StatusCode {
        error.into().log().respond().status()
    }

    #[test]
    fn an_error_of_the_store_is_answered_by_its_kind() {
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        let failed = StatusCode::INTERNAL_SERVER_ERROR;
        assert_eq!(status(store::Error::Busy), busy);
        assert_eq!(status(store::Error::UserGone), busy);
        assert_eq!(status(store::Error::UnknownUser), StatusCode::FORBIDDEN);
        for error in [
            store::Error::LogIsWrong,
            store::Error::ReadOnly,
            store::Error::NotDurable,
        ] {
            assert_eq!(status(error), failed);
        }
        assert_eq!(status(Problem::busy("")), busy);
    }

    /// Only what fails in looking: of a write that failed the client can know that nothing came of it.
    #[test]
    fn what_the_disk_does_not_let_anybody_see_is_damaged_and_what_it_does_not_take_is_not() {
        use crate::disk::{self, Place};
        use rustix::io::Errno;
        let code = |verb, errno: Errno| {
            let (place, source) = (Place::new("users"), errno.into());
            let error = store::Error::Disk(disk::Error {
                verb,
                place,
                source,
            });
            format!("{:?}", problem_of(&error))
        };
        let is_damaged = |said: &str| said.contains("code: Damaged");
        for verb in ["look at", "open", "list", "read", "rename", "write", "sync"] {
            for errno in [Errno::XDEV, Errno::NOTCONN, Errno::STALE, Errno::NODEV] {
                assert!(is_damaged(&code(verb, errno)), "{verb}: {errno:?}");
            }
            for errno in [Errno::ACCESS, Errno::MFILE, Errno::ROFS, Errno::DQUOT] {
                assert!(!is_damaged(&code(verb, errno)), "{verb}: {errno:?}");
            }
            let looks = matches!(verb, "look at" | "open" | "list" | "read");
            assert_eq!(is_damaged(&code(verb, Errno::IO)), looks, "{verb}");
        }
    }

    #[test]
    fn an_error_that_a_client_can_do_something_about_is_not_for_the_log() {
        for error in [
            store::Error::Busy,
            store::Error::UserGone,
            store::Error::UnknownUser,
            store::Error::WrongShard,
        ] {
            assert!(!is_for_the_log(&error), "{error}");
        }
        for error in [
            store::Error::LogIsWrong,
            store::Error::ReadOnly,
            store::Error::NotDurable,
        ] {
            assert!(is_for_the_log(&error), "{error}");
        }
    }
}
