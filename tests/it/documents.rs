use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A page that people read, with its path from the top of the repository.
pub struct Page {
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! page {
    ($path:literal) => {
        Page {
            path: $path,
            text: include_str!(concat!("../../", $path)),
        }
    };
}

pub const README: Page = page!("README.md");
pub const OPERATIONS: Page = page!("src/docs/operations.md");
pub const COPIES: Page = page!("src/docs/copies.md");
pub const PROTOCOL: Page = page!("src/docs/protocol.md");
pub const WRITE_A_CLIENT: Page = page!("src/docs/write-a-client.md");
pub const TASKWARRIOR: Page = page!("src/docs/taskwarrior.md");
pub const RECIPES: Page = page!("src/docs/recipes.md");
pub const PERFORMANCE: Page = page!("src/docs/performance.md");
pub const TESTING: Page = page!("src/docs/testing.md");
pub const WATCHING: Page = page!("src/docs/watching.md");
pub const SCALE: Page = page!("src/docs/scale.md");
pub const DEVICES: Page = page!("src/docs/devices.md");
pub const APPS: Page = page!("src/docs/apps.md");
pub const BROWSERS: Page = page!("src/docs/browsers.md");

/// The README and each page that it links.
pub const PAGES: [&Page; 14] = [
    &README,
    &OPERATIONS,
    &COPIES,
    &PROTOCOL,
    &WRITE_A_CLIENT,
    &TASKWARRIOR,
    &RECIPES,
    &PERFORMANCE,
    &TESTING,
    &SCALE,
    &WATCHING,
    &DEVICES,
    &APPS,
    &BROWSERS,
];

pub const CONTRIBUTING: &str = include_str!("../../.github/CONTRIBUTING.md");

/// The most lines that the README may have: a stranger reads it to its end.
const README_LINES: usize = 250;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory with one of these endings, links and built things left out.
fn files_below(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && entry.file_name() != "target" {
            found.extend(files_below(&path, endings));
        } else if kind.is_file()
            && endings
                .iter()
                .any(|ending| path.to_str().is_some_and(|path| path.ends_with(ending)))
        {
            found.push(path);
        }
    }
    found
}

/// All documents of the repository.
fn documents() -> Vec<PathBuf> {
    let mut all: Vec<_> = ["src", "tests", ".github", "scripts"]
        .iter()
        .flat_map(|folder| files_below(&top().join(folder), &[".md"]))
        .collect();
    all.push(top().join("README.md"));
    all
}

/// The text without its fenced blocks, where nothing is a headline or a link.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn headlines(text: &str) -> Vec<String> {
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' '))
        .map(str::to_owned)
        .collect()
}

/// The anchor that a git host gives a headline: lower case, no punctuation, hyphens for spaces.
fn anchor(headline: &str) -> String {
    let kept = headline.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Where the links of a text lead.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1);
    targets
        .map(|rest| rest.split_once(')').expect("a link ends").0.to_owned())
        .collect()
}

/// Why a link of a document leads nowhere.
fn broken(document: &Path, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => document.to_owned(),
        _ => document.parent().unwrap().join(path),
    };
    let shown = format!("{} has a link to {link}", document.display());
    if !target.exists() {
        return Some(format!("{shown}, which is not there"));
    }
    if wanted.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&target).unwrap();
    let there = headlines(&text)
        .iter()
        .any(|headline| anchor(headline) == wanted);
    (!there).then(|| format!("{shown}, and no headline has that anchor"))
}

#[test]
fn every_link_of_every_document_leads_to_a_file_and_a_headline() {
    let mut followed = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            followed += 1;
            wrong.extend(broken(&document, &link));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(followed > 60, "{followed}");
}

#[test]
fn a_link_that_leads_nowhere_is_seen() {
    let readme = top().join("README.md");
    let text = "See [a](src/docs/operations.md#users) and [b](https://example.org/x).\n```text\n[c](none)\n```\n";
    assert_eq!(
        links(text),
        ["src/docs/operations.md#users", "https://example.org/x"]
    );
    for good in [
        "src/docs/operations.md#users",
        "#start",
        "src",
        "https://example.org",
    ] {
        assert_eq!(broken(&readme, good), None);
    }
    for bad in ["src/docs/none.md", "src/docs/operations.md#none", "#none"] {
        assert!(broken(&readme, bad).is_some(), "{bad}");
    }
}

#[test]
fn the_readme_is_short_and_each_page_has_a_table_of_contents() {
    let lines = README.text.lines().count();
    assert!(lines < README_LINES, "{lines}");
    for page in PAGES {
        let links: BTreeSet<String> = links(page.text).into_iter().collect();
        let headlines: Vec<_> = page
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        // A page of one screen has none.
        if page.text.lines().count() < 60 {
            continue;
        }
        for headline in headlines {
            let wanted = format!("#{}", anchor(headline));
            assert!(
                links.contains(&wanted),
                "{}: {headline} is not in its table of contents",
                page.path
            );
        }
    }
}

#[test]
fn each_page_is_linked_from_the_readme_and_part_of_the_documentation_of_the_library() {
    let library = fs::read_to_string(top().join("src/lib.rs")).unwrap();
    let links = links(README.text);
    let mut pages = files_below(&top().join("src/docs"), &[".md"]);
    pages.sort();
    for page in &pages {
        let path = page.strip_prefix(top()).unwrap().to_str().unwrap();
        assert!(
            links.iter().any(|link| link == path),
            "the README does not link {path}"
        );
        let within = path.strip_prefix("src/").unwrap();
        assert!(
            library.contains(&format!("include_str!(\"{within}\")")),
            "{path}"
        );
        assert!(
            PAGES.iter().any(|page| page.path == path),
            "{path} is in no test"
        );
    }
    assert_eq!(pages.len() + 1, PAGES.len());
}

#[test]
fn the_version_has_its_section_of_changes() {
    let changes = fs::read_to_string(top().join("src/CHANGES.md")).unwrap();
    let newest = changes.lines().find_map(|line| line.strip_prefix("## "));
    let newest = newest.and_then(|headline| headline.split([',', ' ']).next());
    assert_eq!(newest, Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn each_script_has_its_line_in_contributing() {
    for entry in fs::read_dir(top().join("scripts")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".d") {
            assert!(
                CONTRIBUTING.contains(&format!("`scripts/{name}`")),
                "{name}"
            );
        }
    }
}

#[test]
fn each_path_of_the_repository_that_a_page_names_is_there() {
    let mut named = 0;
    let security = include_str!("../../.github/SECURITY.md");
    let texts = PAGES.map(|page| page.text);
    for text in texts.into_iter().chain([CONTRIBUTING, security]) {
        for name in prose(text).split('`').skip(1).step_by(2) {
            let path = name.split(' ').next().unwrap_or(name);
            let folders = ["src/", "tests/", "scripts/", ".ci/", ".github/"];
            if folders.iter().any(|folder| path.starts_with(folder)) {
                assert!(top().join(path).exists(), "{path}");
                named += 1;
            }
        }
    }
    assert!(named > 40, "{named}");
}

/// The documents that comments cite, by the name that they are cited by.
const CITED: [(&str, &str); 10] = [
    ("DESIGN", "src/DESIGN.md"),
    ("FORMAT.md", "src/store/FORMAT.md"),
    ("CLIENT", "src/CLIENT.md"),
    ("README", "README.md"),
    ("CONTRIBUTING", ".github/CONTRIBUTING.md"),
    ("operations.md", "src/docs/operations.md"),
    ("protocol.md", "src/docs/protocol.md"),
    ("recipes.md", "src/docs/recipes.md"),
    ("performance.md", "src/docs/performance.md"),
    ("testing.md", "src/docs/testing.md"),
];

/// The comments of a source, each run of lines as one line.
fn comments(source: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in source.lines().map(str::trim_start) {
        let said = ["//!", "///", "//", "#"]
            .iter()
            .find_map(|mark| line.strip_prefix(mark));
        match (said, all.last_mut()) {
            (Some(said), Some(last)) => {
                last.push(' ');
                last.push_str(said.trim());
            }
            _ => all.push(String::new()),
        }
    }
    all.retain(|comment| !comment.is_empty());
    all
}

/// The citations of a comment that name no headline; and how many name one.
fn uncited(comment: &str) -> (Vec<String>, usize) {
    let (mut wrong, mut good) = (Vec::new(), 0);
    for (name, path) in CITED {
        let headlines = headlines(&fs::read_to_string(top().join(path)).unwrap());
        for (at, _) in comment.match_indices(name) {
            let before = comment[..at].chars().next_back();
            let rest = &comment[at + name.len()..];
            let in_a_word = |c: char| c.is_alphanumeric() || c == '_' || c == '/';
            if before.is_some_and(in_a_word) || rest.starts_with(in_a_word) {
                continue;
            }
            let section = rest.strip_prefix(".md").unwrap_or(rest).strip_prefix(", ");
            let is_one = |section: &str| {
                headlines.iter().any(|headline| {
                    let rest = section.strip_prefix(headline.as_str());
                    rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
                })
            };
            match section {
                Some(section) if is_one(section) => good += 1,
                // A sentence may go on after a comma; a section begins with a capital letter.
                Some(section) if name == "DESIGN" || section.starts_with(char::is_uppercase) => {
                    wrong.push(format!("{name}, {section}"));
                }
                // What DESIGN says is cited by its section.
                None if name == "DESIGN" && !rest.starts_with(".md") => {
                    wrong.push(format!("{name}{rest}"));
                }
                _ => {}
            }
        }
    }
    (wrong, good)
}

#[test]
fn what_the_code_cites_of_the_documents_is_there() {
    let mut cited = 0;
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "scripts"] {
        for path in files_below(&top().join(folder), &[".rs", ".py", ".sh"]) {
            // What is written here are examples.
            if path.ends_with(file!()) {
                continue;
            }
            for comment in comments(&fs::read_to_string(&path).unwrap()) {
                let (lacking, good) = uncited(&comment);
                cited += good;
                wrong.extend(
                    lacking
                        .iter()
                        .map(|what| format!("{}: {what}", path.display())),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "no such section:\n{}", wrong.join("\n"));
    assert!(cited > 12, "{cited}");
}

#[test]
fn a_citation_of_a_section_that_is_not_there_is_seen() {
    let source = "//! One rule (DESIGN,\n//! Order of writes).\nfn f() {}\n/// Two (DESIGN, Order).\n// And DESIGN's words.\n";
    let found: Vec<_> = comments(source)
        .iter()
        .map(|comment| uncited(comment))
        .collect();
    assert_eq!(found[0], (vec![], 1));
    assert_eq!(found[1].0.len(), 2, "{:?}", found[1]);
    assert_eq!(uncited("As FORMAT.md, HEAD says.").1, 1);
    assert_eq!(uncited("As FORMAT.md, Nothing says.").0.len(), 1);
    assert_eq!(
        uncited("As README, Start says, and operations.md, Users.").1,
        2
    );
    assert_eq!(uncited("The README is run; FORMAT is a file.").0.len(), 0);
}
