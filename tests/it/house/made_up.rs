//! Small houses that break a rule, each of which must be found; and the like of them that break none.

use super::read::House;
use super::{
    LONGEST, Rule, arrows_up, circles, docs_without_a_subject, long_files, names_of_two_types,
    places_made_elsewhere,
};

/// The files that a rule finds at fault in a made-up house.
fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let breaches = rule(&House::of(files.iter().copied()));
    breaches.into_iter().map(|(files, _)| files).collect()
}

#[test]
fn an_arrow_up_is_found_however_it_is_spelt() {
    let store = (
        "store/mod.rs",
        "mod inner;\npub use inner::Store;\npub fn open() {}\n",
    );
    let inner = ("store/inner.rs", "pub struct Store;\n");
    let up = [
        "use crate::store::Store;",
        "use crate::{model::{self}, store::{inner, Store as Kept}};",
        "fn f() { crate::store::open(); }",
        "use super::super::store::{self};\nfn f(_: &store::Store) {}",
        "pub(crate) use crate::store::inner::Store;",
        "/// A doc.\nfn f<'a>(c: char) -> bool { c == '\"' || crate::store::open() == '\\'' }",
    ];
    for text in up {
        let files = [
            store,
            inner,
            ("disk/mod.rs", "mod real;\n"),
            ("disk/real.rs", text),
        ];
        assert_eq!(found(arrows_up, &files), [["disk/real.rs"]], "{text}");
    }
    let level = [
        "use std::store::Store;",
        "// use crate::store::Store;",
        "fn f() -> &'static str { \"crate::store::open()\" }",
        "fn f() -> &'static str { r#\"\" + crate::store::open()\"# }",
        "use crate::model::Id;\n#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}",
    ];
    for text in level {
        let files = [
            store,
            inner,
            ("model.rs", "pub struct Id;"),
            ("disk/real.rs", text),
        ];
        assert!(found(arrows_up, &files).is_empty(), "{text}");
    }
    // A function that has the name of its module, shown by the module above.
    let twins = [
        ("store/mod.rs", "mod clock;\npub use clock::clock;\n"),
        ("store/clock.rs", "pub fn clock() {}\n"),
        ("disk/real.rs", "fn f() { crate::store::clock(); }"),
    ];
    assert_eq!(found(arrows_up, &twins), [["disk/real.rs"]]);
    // Neither floor is above the other's head, and a device builds no server.
    for (taken, by, at_fault) in [
        ("upkeep", "client", true),
        ("http", "client", true),
        ("client", "http", true),
        ("wire", "client", false),
        ("upkeep", "cli", false),
        ("client", "cli", false),
    ] {
        let shown = format!("{taken}/mod.rs");
        let taking = format!("{by}/mod.rs");
        let text = format!("use crate::{taken}::Thing;");
        let files = [(&*shown, "pub struct Thing;"), (&*taking, &*text)];
        assert_eq!(
            found(arrows_up, &files).len(),
            usize::from(at_fault),
            "{by}: {taken}"
        );
    }
    let nowhere = [("attic/mod.rs", "")];
    assert_eq!(found(arrows_up, &nowhere), [["attic/mod.rs"]]);
}

#[test]
fn a_circle_is_found_also_through_a_face_and_a_third_file() {
    let face = (
        "store/mod.rs",
        "mod a;\nmod b;\nmod c;\npub use a::One;\npub use b::Two;\n",
    );
    let c = (
        "store/c.rs",
        "pub fn three() -> super::a::One { super::a::One }\n",
    );
    let through = [
        face,
        ("store/a.rs", "use crate::store::{Two};\npub struct One;\n"),
        (
            "store/b.rs",
            "use super::c;\npub struct Two;\nfn f() { c::three(); }\n",
        ),
        c,
    ];
    assert_eq!(
        found(circles, &through),
        [["store/a.rs", "store/b.rs", "store/c.rs"]]
    );
    let down = [
        face,
        ("store/a.rs", "pub struct One;\n"),
        (
            "store/b.rs",
            "use super::{One, c::three};\npub struct Two;\n",
        ),
        c,
    ];
    assert!(found(circles, &down).is_empty());
    // A face that defines something of its own is a file like any other.
    let face = [
        ("disk/mod.rs", "mod a;\npub struct Top(a::One);\n"),
        ("disk/a.rs", "use super::Top;\npub struct One;\n"),
    ];
    assert_eq!(found(circles, &face), [["disk/a.rs", "disk/mod.rs"]]);
}

#[test]
fn a_path_that_is_made_elsewhere_is_found() {
    let disk = ("disk/mod.rs", "pub struct Place;\n");
    for text in [
        "use crate::disk::{Place};\nfn f() { Place::new(\"x\"); }",
        "use crate::disk;\nfn f() { disk::Place::new(\"x\"); }",
        "use crate::disk::Place as Where;\nfn f() { [\"x\"].map(Where::new); }",
    ] {
        let files = [
            disk,
            ("http/a.rs", text),
            ("disk/b.rs", text),
            ("store/layout.rs", text),
        ];
        assert_eq!(
            found(places_made_elsewhere, &files),
            [["http/a.rs"]],
            "{text}"
        );
    }
    let other = [
        disk,
        ("http/a.rs", "struct Place;\nfn f() { Place::new(); }"),
    ];
    assert!(found(places_made_elsewhere, &other).is_empty());
}

#[test]
fn a_name_of_two_types_is_found() {
    let files = [
        (
            "disk/a.rs",
            "pub(super) struct Turn<T>(T);\npub enum Error {}\n",
        ),
        (
            "http/b.rs",
            "type Turn = u8;\nenum Error {}\nfn f() {\n    struct Inner;\n}\n",
        ),
        (
            "http/c.rs",
            "// struct Turn;\nfn f() {\n    struct Inner;\n}\n",
        ),
    ];
    assert_eq!(
        found(names_of_two_types, &files),
        [["disk/a.rs", "http/b.rs"]]
    );
}

#[test]
fn a_long_file_is_found_by_its_lines_before_the_tests() {
    let long = "//\n".repeat(LONGEST + 1);
    let tested = format!(
        "{}#[cfg(test)]\nmod tests {{\n{long}}}\n",
        "//\n".repeat(LONGEST)
    );
    let files = [("disk/a.rs", long.as_str()), ("disk/b.rs", tested.as_str())];
    assert_eq!(found(long_files, &files), [["disk/a.rs"]]);
}

#[test]
fn a_doc_comment_without_a_subject_is_found() {
    for doc in [
        "/// What it is.",
        "    /// The same, later.",
        "//! Which.",
        "///It is.",
        "/// Whose:",
    ] {
        let files = [("disk/a.rs", doc)];
        assert_eq!(found(docs_without_a_subject, &files).len(), 1, "{doc}");
    }
    for doc in [
        "/// Items.",
        "/// A file.\n/// It is long.",
        "// What for.",
        "/// Itself-like.",
        "/// Saysayer",
    ] {
        let files = [("disk/a.rs", doc)];
        assert!(found(docs_without_a_subject, &files).is_empty(), "{doc}");
    }
}
