//! How often, and when, a request is tried again.

use std::fmt;
use std::time::Duration;

use super::unreached::Unreached;
use crate::client::error::{Error, Result};
use crate::model::limits;

/// How often a request is tried that the server may not have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// So often, the first time included.
    AtMost(u32),
    Forever,
}

/// The clock and the dice of whoever tries again.
pub trait Pauses: Send + Sync {
    /// Lets this much time pass.
    fn pause(&self, time: Duration);

    /// A time from nothing up to this one, each as likely as any other.
    fn up_to(&self, most: Duration) -> Duration;
}

/// The system's.
pub struct SystemPauses;

impl Pauses for SystemPauses {
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn up_to(&self, most: Duration) -> Duration {
        let mut dice = [0; 4];
        match getrandom::fill(&mut dice) {
            Ok(()) => most.mul_f64(f64::from(u32::from_le_bytes(dice)) / f64::from(u32::MAX)),
            Err(_) => most,
        }
    }
}

impl fmt::Debug for dyn Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pauses")
    }
}

/// Asks until there is an answer: again where the server was not reached and may be a moment later, after a random part of
/// a time that doubles, and not before the server's own word for when. Its word is taken up to an hour; a command does not
/// wait for longer than it would by itself.
pub fn again<T>(
    tries: Tries,
    pauses: &dyn Pauses,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut most = limits::RETRY_FIRST;
    for tried in 1u32.. {
        let error = match ask() {
            Err(error) if may_pass(&error) => error,
            other => return other,
        };
        let after = match error {
            Error::Offline { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let is_enough = match tries {
            Tries::AtMost(tries) => tried >= tries || after > limits::RETRY_MOST,
            Tries::Forever => false,
        };
        if is_enough {
            return Err(error);
        }
        log::debug!("not reached, and tried again: {error}");
        let random = pauses.up_to(most);
        pauses.pause(random.max(after.min(limits::RETRY_AFTER_MOST)));
        most = (most * 2).min(limits::RETRY_MOST);
    }
    Err(Error::Busy)
}

fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Offline { .. })
        && Unreached::of_error(error).is_none_or(Unreached::may_pass)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::unreached::ServerName;
    use super::*;
    use crate::wire::Code;

    /// Dice that always show the most, and a clock that only notes.
    #[derive(Default)]
    struct Noted(Mutex<Vec<Duration>>);

    impl Pauses for Noted {
        fn pause(&self, time: Duration) {
            self.0.lock().unwrap().push(time);
        }

        fn up_to(&self, most: Duration) -> Duration {
            most
        }
    }

    fn busy(retry_after: Option<u64>) -> Error {
        let trouble = Unreached::Busy {
            server: ServerName("a.example".to_owned()),
            status: 503,
            detail: String::new(),
        };
        trouble.into_error(retry_after.map(Duration::from_secs))
    }

    /// The pauses of one who is told this each time, up to the fourteenth, and how often was asked.
    fn pauses(tries: Tries, told: impl Fn() -> Error) -> (Vec<Duration>, u32) {
        let noted = Noted::default();
        let mut asked = 0;
        let _ = again(tries, &noted, || {
            asked += 1;
            if asked < 14 { Err(told()) } else { Ok(()) }
        });
        (noted.0.into_inner().unwrap(), asked)
    }

    #[test]
    fn a_command_tries_three_times_and_the_times_between_double() {
        let millis = Duration::from_millis;
        let (slept, asked) = pauses(Tries::AtMost(3), || busy(None));
        assert_eq!((slept, asked), (vec![millis(200), millis(400)], 3));
        let (slept, asked) = pauses(Tries::Forever, || busy(None));
        assert_eq!(asked, 14);
        assert_eq!(
            slept[7..10],
            [millis(25_600), millis(30_000), millis(30_000)]
        );
    }

    #[test]
    fn the_servers_word_for_when_is_obeyed() {
        let (slept, asked) = pauses(Tries::AtMost(3), || busy(Some(7)));
        assert_eq!((slept, asked), (vec![Duration::from_secs(7); 2], 3));
        // A command does not hang for as long as a server likes.
        let (slept, asked) = pauses(Tries::AtMost(3), || busy(Some(31)));
        assert_eq!((slept, asked), (vec![], 1));
        let (slept, _) = pauses(Tries::Forever, || busy(Some(31)));
        assert_eq!(slept[0], Duration::from_secs(31));
        let (slept, _) = pauses(Tries::Forever, || busy(Some(1 << 40)));
        assert_eq!(slept[0], limits::RETRY_AFTER_MOST);
    }

    #[test]
    fn what_does_not_pass_by_itself_is_not_tried_again() {
        let server = || ServerName("a.example".to_owned());
        let refused = || Error::Refused {
            status: 403,
            code: Code::UnknownUser,
            detail: String::new(),
        };
        let tls = || {
            let why = String::new();
            Unreached::Tls {
                server: server(),
                why,
            }
            .into_error(None)
        };
        let elsewhere = || {
            let (status, to) = (301, String::new());
            Unreached::Redirected {
                server: server(),
                status,
                to,
            }
            .into_error(None)
        };
        let page = || {
            let (status, what) = (Some(404), String::new());
            Unreached::NotOurs {
                server: server(),
                status,
                what,
            }
            .into_error(None)
        };
        let told: [&dyn Fn() -> Error; 4] = [&refused, &tls, &elsewhere, &page];
        for told in told {
            assert_eq!(pauses(Tries::Forever, told), (vec![], 1), "{}", told());
        }
    }

    #[test]
    fn dice_stay_below_what_was_asked_for() {
        let most = Duration::from_millis(200);
        let thrown: Vec<_> = (0..100).map(|_| SystemPauses.up_to(most)).collect();
        assert!(thrown.iter().all(|time| *time <= most), "{thrown:?}");
        assert!(thrown.iter().any(|time| *time != thrown[0]), "{thrown:?}");
    }
}
