//! Users as a person names them: by the id, by a name, by the first digits of the id, or by a line of standard input.

use std::io;

use uuid::Uuid;

use super::failure::Failure;
use crate::model::{UserId, UserName, limits, tame};
use crate::store::{self, NameFile, Store};

/// The word for "read it from standard input", since all on a box see the arguments of a process.
const STDIN: &str = "-";

/// The shape of an id, for a person who has typed something else.
const SHAPE: &str = "a user's id is a uuid in lower case with hyphens, 36 characters as in \
                     67e55044-10b1-426f-9247-bb680e5fe0c8";

/// A user as a person named one, read but not looked for yet.
#[derive(Clone, Debug)]
pub enum Whom {
    Id(UserId),
    /// A name, or the first digits of an id, or both.
    Called(String),
}

/// How sure it must be who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// To look at: a name goes before digits.
    Usual,
    /// To remove or move: who is called so, and whose id begins so, must not be two.
    Utmost,
}

/// The users' ids and names, against which a word is held.
type Called = Vec<(UserId, Option<UserName>)>;

impl Whom {
    /// Takes a word of the command line, or the next line of standard input for `-`.
    ///
    /// # Errors
    /// Words for what can be no user: it is empty, too short, or an id in another spelling.
    pub fn read(word: &str) -> Result<Self, Failure> {
        let text = word_or_line(word)?;
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if Uuid::try_parse(&text).is_ok() {
            return Err(Failure::usage(format!(
                "this id is in another spelling: {SHAPE}"
            )));
        }
        if text.is_empty() {
            return Err(Failure::usage("there is no user without a name or an id"));
        }
        Ok(Self::Called(text))
    }

    /// The user who is meant; of an id it is not asked whether there is one.
    ///
    /// # Errors
    /// Words where nobody is called so, or several are; those of the store, made words by `failed`.
    pub fn find(
        &self,
        store: &Store,
        care: Care,
        failed: impl Fn(store::Error) -> Failure,
    ) -> Result<UserId, Failure> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Called(text) => find_in(text, &users_of(store).map_err(failed)?, care),
        }
    }
}

/// An id that a person gives to a user, or the next line of standard input for `-`.
///
/// # Errors
/// Words for what is no id.
pub fn new_id(word: &str) -> Result<UserId, Failure> {
    let text = word_or_line(word)?;
    text.parse().map_err(|_| {
        let length = text.chars().count();
        let why = match Uuid::try_parse(&text) {
            Ok(_) => "is in another spelling".to_owned(),
            Err(_) if length < 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') => {
                format!("is cut short: it has {length} characters")
            }
            Err(_) => "is no id".to_owned(),
        };
        Failure::usage(format!("this {why}; {SHAPE}"))
    })
}

fn word_or_line(word: &str) -> Result<String, Failure> {
    if word != STDIN {
        return Ok(word.to_owned());
    }
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::usage(
            "- stands for a line of standard input, and there is none",
        ));
    }
    Ok(line.to_owned())
}

/// All users, each with a name that can be read.
fn users_of(store: &Store) -> store::Result<Called> {
    let names = store.names_of_users()?;
    let users = names.folders.into_iter().chain(names.others);
    let called = users.map(|user| match store.user(user).name() {
        Ok(NameFile::Holds(name)) => (user, Some(name)),
        _ => (user, None),
    });
    Ok(called.collect())
}

fn find_in(text: &str, users: &Called, care: Care) -> Result<UserId, Failure> {
    let begins = is_a_beginning(text);
    let (mut called, mut begun) = (Vec::new(), Vec::new());
    for (user, name) in users {
        if name.as_ref().is_some_and(|name| name.as_str() == text) {
            called.push(*user);
        } else if begins && user.to_string().starts_with(text) {
            begun.push(*user);
        }
    }
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    match (called.as_slice(), begun.as_slice()) {
        ([one], others) if others.is_empty() || care == Care::Usual => Ok(*one),
        ([one], others) => Err(ambiguous(
            &[&[*one], others].concat(),
            "are called so or have an id that begins so",
        )),
        ([], _) if begins && digits < limits::FIRST_DIGITS => Err(Failure::usage(format!(
            "nobody is called {text}, and it takes {} digits of an id at least to stand for it",
            limits::FIRST_DIGITS
        ))),
        ([], [one]) => Ok(*one),
        ([], []) => Err(nobody(text, begins)),
        ([], several) => Err(ambiguous(several, "have an id that begins so")),
        (several, _) => Err(ambiguous(several, "are called so")),
    }
}

/// Whether an id may begin with these characters.
fn is_a_beginning(text: &str) -> bool {
    let is_in_place = |(at, c): (usize, char)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => matches!(c, '0'..='9' | 'a'..='f'),
    };
    !text.is_empty() && text.len() < 36 && text.chars().enumerate().all(is_in_place)
}

/// Where an id may be cut so that a person sees it was: the ends of its parts.
const PARTS: [usize; 4] = [8, 13, 18, 23];

/// The first digits of an id, as few of its parts as no other one of these begins with: the first 8, as log lines have them,
/// nearly always.
pub fn first_digits(user: &UserId, among: &[UserId]) -> String {
    let id = user.to_string();
    let is_anothers = |digits: &str| {
        let mut others = among.iter().filter(|other| *other != user);
        others.any(|other| other.to_string().starts_with(digits))
    };
    let ends = PARTS.iter().map(|end| &id[..*end]);
    let apart = ends.into_iter().find(|digits| !is_anothers(digits));
    apart.unwrap_or(&id).to_owned()
}

fn ambiguous(users: &[UserId], how: &str) -> Failure {
    let shorts: Vec<String> = (users.iter().map(|user| first_digits(user, users))).collect();
    let (number, shorts) = (users.len(), shorts.join(", "));
    Failure::usage(format!(
        "{number} users {how}: {shorts}; say which by more digits"
    ))
}

fn nobody(text: &str, begins: bool) -> Failure {
    let text = tame(text);
    if begins {
        return Failure::failed(format!(
            "there is no user called {text}, nor one whose id begins so"
        ));
    }
    let hint = match is_a_beginning(&text.to_lowercase()) {
        true => "; ids are in lower case",
        false => "",
    };
    Failure::failed(format!("there is no user called {text}{hint}"))
}

/// The user that was asked for has no folder.
pub fn no_such_user(user: &UserId) -> Failure {
    Failure::failed(format!("there is no user {user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    const BOB: &str = "67e56000-10b1-426f-9247-bb680e5fe0c8";
    const EVE: &str = "abcd5044-10b1-426f-9247-bb680e5fe0c8";

    fn users() -> Called {
        let named = |id: &str, name: &str| (id.parse().unwrap(), name.parse().ok());
        vec![named(ADA, "phone"), named(BOB, "abcd"), named(EVE, "")]
    }

    #[track_caller]
    fn finds(text: &str, id: &str) {
        for care in [Care::Usual, Care::Utmost] {
            let found = find_in(text, &users(), care).map_err(|failed| failed.words);
            assert_eq!(found, Ok(id.parse().unwrap()), "{text}");
        }
    }

    #[track_caller]
    fn fails(text: &str, care: Care, status: u8, words: &str) {
        let failed = find_in(text, &users(), care).unwrap_err();
        assert_eq!(failed.status, status, "{text}: {}", failed.words);
        assert!(failed.words.contains(words), "{text}: {}", failed.words);
        for id in [ADA, BOB, EVE] {
            assert!(!failed.words.contains(&id[..9]), "{}", failed.words);
        }
    }

    #[test]
    fn a_user_is_found_by_name_or_by_the_first_digits_where_only_one_begins_so() {
        finds("phone", ADA);
        finds("67e55", ADA);
        finds("67e55044-10b1", ADA);
        finds("67e56", BOB);
        finds(&EVE[..35], EVE);
        fails(
            "67e5",
            Care::Usual,
            2,
            "2 users have an id that begins so: 67e55044, 67e56000",
        );
        fails("67e", Care::Usual, 2, "4 digits");
        fails("6", Care::Usual, 2, "4 digits");
        fails("1234", Care::Usual, 1, "begins so");
        fails("67E55", Care::Usual, 1, "lower case");
        fails("Phone", Care::Usual, 1, "no user called Phone");
        fails("67e5504410b1", Care::Usual, 1, "no user called");
    }

    #[test]
    fn as_many_digits_are_shown_as_tell_a_user_from_the_others() {
        let ids =
            |ids: &[&str]| -> Vec<UserId> { ids.iter().map(|id| id.parse().unwrap()).collect() };
        let twin = "67e55044-10b2-426f-9247-bb680e5fe0c8";
        let near = "67e55044-10b1-426f-9247-bb680e5fe0c9";
        let users = ids(&[ADA, BOB, EVE, twin]);
        let shown: Vec<String> = users
            .iter()
            .map(|user| first_digits(user, &users))
            .collect();
        assert_eq!(
            shown,
            ["67e55044-10b1", "67e56000", "abcd5044", "67e55044-10b2"]
        );
        assert_eq!(first_digits(&users[0], &ids(&[near])), ADA);
        assert_eq!(first_digits(&users[0], &[]), "67e55044");
        let called: Called = users.iter().map(|user| (*user, None)).collect();
        let failed = find_in("67e55044", &called, Care::Utmost).unwrap_err();
        assert!(
            failed.words.contains(": 67e55044-10b1, 67e55044-10b2;"),
            "{}",
            failed.words
        );
    }

    #[test]
    fn a_name_goes_before_digits_but_not_where_it_matters_most() {
        let found = find_in("abcd", &users(), Care::Usual).map_err(|failed| failed.words);
        assert_eq!(found, Ok(BOB.parse().unwrap()));
        fails("abcd", Care::Utmost, 2, "2 users are called so or");
        finds("abcd5", EVE);
        let mut twice = users();
        twice.push((
            "11111111-10b1-426f-9247-bb680e5fe0c8".parse().unwrap(),
            "phone".parse().ok(),
        ));
        for care in [Care::Usual, Care::Utmost] {
            let failed = find_in("phone", &twice, care).unwrap_err();
            assert!(
                failed.words.contains("67e55044, 11111111"),
                "{}",
                failed.words
            );
        }
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_shape_of_one() {
        for (bad, words) in [
            ("67e55044-10b1", "cut short: it has 13"),
            ("67E55044-10B1-426F-9247-BB680E5FE0C8", "another spelling"),
            ("67e5504410b1426f9247bb680e5fe0c8", "another spelling"),
            ("phone", "is no id"),
            ("", "cut short"),
        ] {
            let failed = new_id(bad).unwrap_err();
            assert_eq!(failed.status, 2);
            assert!(failed.words.contains(words), "{bad}: {}", failed.words);
            assert!(failed.words.contains("36 characters"), "{}", failed.words);
        }
        let failed = Whom::read("67E55044-10B1-426F-9247-BB680E5FE0C8").unwrap_err();
        assert!(failed.words.contains("lower case"), "{}", failed.words);
    }
}
