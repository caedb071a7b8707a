//! Invites as people copy them: whole, in another case, with a typo.

use mentat_sync::client::{Identity, InviteError, Master, Masters};
use mentat_sync::model::UserId;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::master;

const USER: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

pub fn sealed(server: &str) -> Identity {
    Identity {
        server: server.parse().unwrap(),
        user: USER.parse().unwrap(),
        masters: Masters::Sealed {
            current: Master::from_bytes(&master()),
            old: Vec::new(),
        },
    }
}

pub fn plain(server: &str) -> Identity {
    Identity {
        masters: Masters::Plain,
        ..sealed(server)
    }
}

#[test]
fn an_invite_is_read_however_a_person_copied_it() {
    for identity in [
        sealed("https://sync.example.org"),
        plain("http://box:8080/behind/a/proxy"),
        sealed("unix:/run/mentat-sync.sock"),
    ] {
        let invite = identity.invite();
        let (address, code) = invite.split_once('#').unwrap();
        let groups: Vec<&str> = code[3..].split('-').collect();
        let (last, whole) = groups.split_last().unwrap();
        assert!(whole.iter().all(|group| group.len() == 5) && (1..=5).contains(&last.len()));
        let lines = code.replacen('-', "-\r\n  ", 9);
        let alike = code.replace('0', "o").replace('1', "l");
        for copied in [
            invite.to_string(),
            format!("  {}\n", *invite),
            format!("{address}#{}", code.to_lowercase()),
            format!("{address}#{}", code.to_uppercase()),
            format!("{}#{code}", address.trim_end_matches('/')),
            format!("{address}#{}", code.replace('-', "")),
            format!("{address}#{}", code.replacen('1', "1-", 1)),
            format!("{address}#-{}-", code.replace('-', "--")),
            format!("{address}#{lines}"),
            format!("{address}#{alike}"),
            format!("{address}#{}", alike.replace('o', "O").replace('l', "I")),
            format!("{address}#{}", alike.replace('l', "i")),
        ] {
            assert_eq!(
                Identity::from_invite(&copied),
                Ok(identity.clone()),
                "{copied}"
            );
        }
    }
}

#[test]
fn every_typo_is_told_as_one() {
    for identity in [sealed("https://a.example"), plain("https://a.example")] {
        let invite = identity.invite();
        let start = invite.find('#').unwrap() + 4;
        for at in start..invite.len() {
            if &invite[at..=at] == "-" {
                continue;
            }
            for symbol in "0123456789ABCDEFGHJKMNPQRSTVWXYZU*=é".chars() {
                let changed = format!("{}{symbol}{}", &invite[..at], &invite[at + 1..]);
                if changed != *invite {
                    assert_eq!(
                        Identity::from_invite(&changed),
                        Err(InviteError::Typo),
                        "{changed}"
                    );
                }
            }
            let without = format!("{}{}", &invite[..at], &invite[at + 1..]);
            assert_eq!(Identity::from_invite(&without), Err(InviteError::Typo));
            let twice = format!("{}{}", &invite[..=at], &invite[at..]);
            assert_eq!(Identity::from_invite(&twice), Err(InviteError::Typo));
            let cut = &invite[..at];
            assert_eq!(Identity::from_invite(cut), Err(InviteError::Typo));
        }
        // Two that changed places.
        let symbols: Vec<char> = invite[start..]
            .chars()
            .filter(|symbol| *symbol != '-')
            .collect();
        for at in 1..symbols.len() {
            let mut swapped = symbols.clone();
            swapped.swap(at - 1, at);
            let swapped: String = swapped.into_iter().collect();
            let read = Identity::from_invite(&format!("https://a.example/#ms1{swapped}"));
            match symbols[at - 1] == symbols[at] {
                true => assert_eq!(read.as_ref(), Ok(&identity)),
                false => assert_eq!(read, Err(InviteError::Typo), "{swapped}"),
            }
        }
    }
}

#[test]
fn what_is_no_invite_is_told_as_that() {
    let code = sealed("https://a.example").invite();
    let code = code.split_once('#').unwrap().1;
    for (text, word) in [
        ("".into(), "not-an-invite"),
        ("https://a.example".into(), "not-an-invite"),
        ("https://a.example/#".into(), "not-an-invite"),
        ("https://a.example/#top".into(), "not-an-invite"),
        (code.into(), "not-an-invite"),
        ("https://a.example/#ms1".into(), "typo"),
        (
            format!("https://a.example/#ms1{}", "0".repeat(5000)),
            "typo",
        ),
        ("https://a.example/#ms2ABCDE".into(), "newer"),
        (format!("#{code}"), "address"),
        (format!("a.example/#{code}"), "address"),
        (format!("ftp://a.example/#{code}"), "address"),
        (format!("https://me:secret@a.example/#{code}"), "address"),
        (format!("https://a.example/?a#{code}"), "address"),
        (format!("https://a.example/#{code}#{code}"), "typo"),
    ] {
        let error = Identity::from_invite(&text).unwrap_err();
        assert_eq!(error.word(), word, "{text}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn an_identity_shows_eight_digits_of_its_user_and_nothing_else_that_is_secret() {
    let identity = sealed("https://a.example");
    let invite = identity.invite();
    let code = &invite[invite.find('#').unwrap() + 4..];
    let Masters::Sealed { current, .. } = &identity.masters else {
        unreachable!()
    };
    let shown = format!(
        "{identity} {identity:?} {identity:#?} {:?} {:?} {current:?} {:?}",
        identity.masters,
        identity.keyring(),
        identity.rekeyed().unwrap()
    );
    assert!(shown.contains("67e55044"), "{shown}");
    for secret in [
        "10b1-426f",
        "10b1426f",
        &hex::encode(master())[..12],
        &format!("{:?}", master())[1..20],
        &current.spelled()[..8],
        &code[9..14],
    ] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn each_generated_identity_is_another_one_and_a_rekeyed_one_keeps_its_old_keys() {
    let server = || "https://a.example".parse().unwrap();
    let [one, two] = [(); 2].map(|()| Identity::generate(server()).unwrap());
    assert!(one.user != two.user && one.masters != two.masters);
    assert_eq!(one.user.as_bytes()[6] >> 4, 4);
    let plain = Identity::generate_plain(server()).unwrap();
    assert_eq!(plain.masters, Masters::Plain);
    assert_ne!(plain.user, one.user);
    let (first, second) = (
        one.rekeyed().unwrap(),
        one.rekeyed().unwrap().rekeyed().unwrap(),
    );
    assert!(first.user != one.user && first.server == one.server);
    let (Masters::Sealed { current, .. }, Masters::Sealed { old, current: new }) =
        (&one.masters, &second.masters)
    else {
        panic!("they are sealed")
    };
    assert!(old.len() == 2 && old[1] == *current && old[0] != *current && new != current);
    // A plain one gets another user, and stays plain.
    let moved = plain.rekeyed().unwrap();
    assert!(moved.masters == Masters::Plain && moved.user != plain.user);
    // Old keys are not in the invite, and open what was sealed with them.
    let read = Identity::from_invite(&second.invite()).unwrap();
    assert!(
        matches!(&read.masters, Masters::Sealed { current, old } if current == new && old.is_empty())
    );
    let chunk = one
        .keyring()
        .seal(&mentat_sync::client::Context::Data, b"milk")
        .unwrap();
    let opened = second
        .keyring()
        .open(&mentat_sync::client::Context::Data, &chunk);
    assert_eq!(opened.unwrap(), b"milk");
    assert!(
        read.keyring()
            .open(&mentat_sync::client::Context::Data, &chunk)
            .is_err()
    );
}

proptest! {
    #[test]
    fn any_identity_comes_back_from_its_invite(
        user in any::<[u8; 16]>(),
        secret in any::<Option<[u8; 32]>>(),
        server in r"(https?://[a-z]{1,9}(\.[a-z]{1,9}){0,2}(:[1-9][0-9]{3})?(/[a-zA-Z0-9~_]{1,9}){0,2}|unix:(/[a-z]{1,9}){1,3})",
    ) {
        let identity = Identity {
            server: server.parse().unwrap(),
            user: UserId::from_bytes(user),
            masters: match secret {
                None => Masters::Plain,
                Some(secret) => Masters::Sealed { current: Master::from_bytes(&secret), old: Vec::new() },
            },
        };
        let invite = identity.invite();
        prop_assert!(invite.starts_with(&server));
        prop_assert_eq!(Identity::from_invite(&invite).unwrap(), identity);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), code in "[ -~]{0,120}") {
        let _ = Identity::from_invite(&text);
        let _ = Identity::from_invite(&format!("https://a.example/#ms1{code}"));
    }
}
