//! The rules of the house that a person would have to remember, read off the source: arrows of imports point down,
//! no files in a circle, one place that makes paths, one meaning for a type's name, files that fit a head, and
//! doc comments that name their subject. Each rule is also shown a small house that breaks it.

mod made_up;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use read::{House, TYPES};

/// The floors, the ground floor first: each takes names only from those before it, and from itself.
const FLOORS: &[&str] = &[
    "model", "disk", "rules", "store", "upkeep", "wire", "http", "client", "cli",
];

/// What a floor takes nothing from, though it stands above: a device builds no server.
const APART: &[(&str, &[&str])] = &[("client", &["upkeep", "http"])];

/// The crate's own two files stand outside of the floors.
const OUTSIDE: &[&str] = &["lib.rs", "main.rs"];

/// Lines of a file before its tests.
const LONGEST: usize = 400;

/// The one list of all limits is one file, however many there are: a line of code and its reason each.
const LIST: &str = "model/limits.rs";

/// Type names that each module has one of its own.
const COMMON: &[&str] = &["Error", "Result"];

/// Words that begin a sentence without a subject of its own.
const NO_SUBJECT: &[&str] = &[
    "What",
    "Whatever",
    "The same",
    "As many",
    "So many",
    "Says",
    "It",
    "Its",
    "They",
    "Their",
    "Them",
    "This",
    "These",
    "That",
    "Those",
    "Who",
    "Whoever",
    "Whose",
    "Which",
    "He",
    "She",
    "We",
    "You",
    "Somebody",
    "Nobody",
    "Everybody",
    "Everything",
    "Something",
    "Anything",
    "Nothing",
];

/// A breach of a rule: the files that could end it, and words for a person.
type Breach = (Vec<String>, String);

fn house() -> House {
    House::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn floor(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

fn arrows_up(house: &House) -> Vec<Breach> {
    let height = |path: &str| FLOORS.iter().position(|name| *name == floor(path));
    let mut breaches = Vec::new();
    for path in house
        .0
        .keys()
        .filter(|path| !OUTSIDE.contains(&path.as_str()))
    {
        if height(path).is_none() {
            breaches.push((vec![path.clone()], format!("{path} stands on no floor")));
        }
        let apart = APART.iter().filter(|(name, _)| *name == floor(path));
        let apart: Vec<_> = apart.flat_map(|(_, others)| *others).collect();
        for taken in house.taken(path) {
            if apart.contains(&&floor(&taken.from)) {
                let what = format!("{path} takes {} from {}", taken.name, taken.from);
                breaches.push((vec![path.clone()], what));
            }
            if height(&taken.from) > height(path) || OUTSIDE.contains(&taken.from.as_str()) {
                let what = format!("{path} takes {} from above: {}", taken.name, taken.from);
                breaches.push((vec![path.clone()], what));
            }
        }
    }
    breaches
}

fn circles(house: &House) -> Vec<Breach> {
    let arrows: BTreeMap<&str, BTreeSet<String>> = (house.0.keys())
        .map(|path| {
            (
                path.as_str(),
                house
                    .used(path)
                    .into_iter()
                    .map(|taken| taken.from)
                    .collect(),
            )
        })
        .collect();
    let reached = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = arrows[start].iter().map(String::as_str).collect();
        while let Some(path) = next.pop() {
            if seen.insert(path.to_owned()) {
                next.extend(arrows[path].iter().map(String::as_str));
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        arrows.keys().map(|path| (*path, reached(path))).collect();
    let mut circles = BTreeSet::new();
    for (path, far) in &reached {
        let back = far
            .iter()
            .filter(|other| reached[other.as_str()].contains(*path));
        let circle: Vec<String> = back.cloned().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles
        .into_iter()
        .map(|circle| (circle.clone(), format!("a circle: {circle:?}")))
        .collect()
}

fn places_made_elsewhere(house: &House) -> Vec<Breach> {
    let may = |path: &str| {
        path.starts_with("disk/") || path == "store/layout.rs" || path.starts_with("store/layout/")
    };
    let mut breaches = Vec::new();
    for (path, source) in house.0.iter().filter(|(path, _)| !may(path)) {
        let makes = source.paths().into_iter().any(|named| {
            let made = named.split_last().filter(|(verb, _)| *verb == "new");
            let made = made.and_then(|(_, kind)| house.definer(kind, 0));
            made.is_some_and(|(file, kind)| floor(&file) == "disk" && kind == "Place")
        });
        if makes {
            breaches.push((
                vec![path.clone()],
                format!("{path} makes a path of its own"),
            ));
        }
    }
    breaches
}

fn names_of_two_types(house: &House) -> Vec<Breach> {
    let mut definers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, source) in &house.0 {
        for name in source.defines(TYPES) {
            definers.entry(name).or_default().push(path.clone());
        }
    }
    let twice = definers.into_iter();
    let twice = twice.filter(|(name, by)| by.len() > 1 && !COMMON.contains(&name.as_str()));
    twice
        .map(|(name, by)| (by.clone(), format!("{name} is defined in {by:?}")))
        .collect()
}

fn long_files(house: &House) -> Vec<Breach> {
    let lines = house
        .0
        .iter()
        .map(|(path, source)| (path, source.lines.len()));
    let long = lines.filter(|(path, lines)| *lines > LONGEST && *path != LIST);
    long.map(|(path, lines)| (vec![path.clone()], format!("{path} has {lines} lines")))
        .collect()
}

fn docs_without_a_subject(house: &House) -> Vec<Breach> {
    let begins = |doc: &str, word: &str| {
        let after = doc.strip_prefix(word)?;
        (!after.starts_with(|c: char| c.is_alphanumeric() || c == '-')).then_some(())
    };
    let mut breaches = Vec::new();
    for (path, source) in &house.0 {
        let mut within = false;
        for (at, line) in source.lines.iter().enumerate() {
            let line = line.trim_start();
            let doc = line
                .strip_prefix("///")
                .or_else(|| line.strip_prefix("//!"));
            if let Some(doc) = doc.filter(|_| !within).map(str::trim_start)
                && NO_SUBJECT.iter().any(|word| begins(doc, word).is_some())
            {
                breaches.push((vec![path.clone()], format!("{path}:{}: {doc}", at + 1)));
            }
            within = doc.is_some();
        }
    }
    breaches
}

type Rule = fn(&House) -> Vec<Breach>;

fn check(rule: Rule) {
    let house = house();
    assert!(house.0.len() > 100, "the source was not found");
    let words: Vec<_> = rule(&house).into_iter().map(|(_, words)| words).collect();
    assert!(words.is_empty(), "{}", words.join("\n"));
}

#[test]
fn arrows_of_imports_point_down() {
    check(arrows_up);
}

#[test]
fn no_files_take_names_from_each_other_in_a_circle() {
    check(circles);
}

#[test]
fn only_the_layout_and_the_disk_make_paths() {
    check(places_made_elsewhere);
}

#[test]
fn a_type_name_means_one_thing() {
    check(names_of_two_types);
}

#[test]
fn no_file_is_longer_than_a_head_can_hold() {
    check(long_files);
}

#[test]
fn a_doc_comment_names_its_subject() {
    check(docs_without_a_subject);
}
