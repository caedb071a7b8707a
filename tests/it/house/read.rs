//! The source read as far as the rules of the house need: words, paths, and which file a name is defined in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One source file, without its tests.
pub struct Source {
    /// The lines as they stand, up to the tests.
    pub lines: Vec<String>,
    /// The words and signs of these lines, without comments and strings.
    pub tokens: Vec<String>,
    /// The module that the file is, from the crate on: `["store", "bundle", "tar"]`.
    module: Vec<String>,
    /// Names that a `use` brings in, with what each stands for, from the crate on.
    brought: BTreeMap<String, Vec<String>>,
    /// Names that the file itself defines.
    pub defined: BTreeSet<String>,
}

/// A whole source tree, by paths below `src`.
pub struct House(pub BTreeMap<String, Source>);

/// A name that one file takes from another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    pub name: String,
    /// The file that defines it.
    pub from: String,
}

const ITEMS: &[&str] = &[
    "struct",
    "enum",
    "trait",
    "type",
    "union",
    "fn",
    "const",
    "static",
    "macro_rules",
];

/// The kinds of names that stand for types.
pub const TYPES: &[&str] = &["struct", "enum", "trait", "type", "union"];

impl House {
    /// Reads all Rust files below a directory.
    pub fn read(src: &Path) -> Self {
        let mut files = Vec::new();
        let mut dirs = vec![src.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
                    files.push((name, std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        Self::of(
            files
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str())),
        )
    }

    /// The house of these files, each with its path below `src`.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let is_test = |path: &str| path == "tests.rs" || path.ends_with("/tests.rs");
        let files = files.into_iter().filter(|(path, _)| !is_test(path));
        Self(
            files
                .map(|(path, text)| (path.to_owned(), Source::of(path, text)))
                .collect(),
        )
    }

    /// Everything that a file takes from others of the house: by `use`, or by a path where it stands.
    pub fn taken(&self, path: &str) -> BTreeSet<Taken> {
        self.definers(path, self.0[path].paths())
    }

    /// The same, but for what a module only hands on of the files below it: a face is no user of what it shows.
    pub fn used(&self, path: &str) -> BTreeSet<Taken> {
        let source = &self.0[path];
        let mut paths = source.paths();
        for (whole, _, handed_on) in source.uses() {
            if handed_on && whole.starts_with(&source.module) {
                let at = paths.iter().position(|path| *path == whole);
                paths.swap_remove(at.expect("it is among the paths"));
            }
        }
        self.definers(path, paths)
    }

    fn definers(&self, path: &str, paths: Vec<Vec<String>>) -> BTreeSet<Taken> {
        let mut taken = BTreeSet::new();
        for named in paths {
            if let Some((from, name)) = self.definer(&named, 0)
                && from != path
            {
                taken.insert(Taken { name, from });
            }
        }
        taken
    }

    /// The file in which a path's item is defined, through re-exports, and the item's name. `None` for names that
    /// are not of this house, and for a module: a look into it is a path of its own.
    pub fn definer(&self, named: &[String], depth: usize) -> Option<(String, String)> {
        assert!(depth < 20, "a re-export goes in a circle: {named:?}");
        // The longest module first; then, where all of the path is one, an item of the same name beside it.
        let modules = (0..=named.len()).rev();
        let mut modules = modules.filter_map(|end| Some((end, self.file_of(&named[..end])?)));
        let (end, file) = modules.find(|(end, _)| *end < named.len())?;
        let name = &named[end];
        let source = &self.0[&file];
        let is_module = self.file_of(&named[..=end]).is_some();
        match source.brought.get(name) {
            Some(whole) if !source.defined.contains(name) => {
                let mut whole = whole.clone();
                whole.extend_from_slice(&named[end + 1..]);
                (whole != named).then(|| self.definer(&whole, depth + 1))?
            }
            _ if is_module && !source.defined.contains(name) => None,
            // A name that the file does not even mention comes from a module within another file, or from a macro of
            // another crate.
            _ => (source.tokens.contains(name)).then(|| (file.clone(), name.clone())),
        }
    }

    fn file_of(&self, module: &[String]) -> Option<String> {
        let joined = module.join("/");
        let spellings = match joined.as_str() {
            "" => ["lib.rs".to_owned(), "mod.rs".to_owned()],
            module => [format!("{module}.rs"), format!("{module}/mod.rs")],
        };
        spellings.into_iter().find(|path| self.0.contains_key(path))
    }
}

impl Source {
    fn of(path: &str, text: &str) -> Self {
        let all: Vec<&str> = text.lines().collect();
        let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ");
        let end = all.windows(2).position(is_tests).unwrap_or(all.len());
        let lines: Vec<String> = all[..end].iter().map(|line| (*line).to_owned()).collect();
        let tokens = tokens(&lines.join("\n"));
        let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = match stem {
            "lib" | "mod" => Vec::new(),
            stem => stem.split('/').map(str::to_owned).collect(),
        };
        let mut source = Self {
            lines,
            defined: defined(&tokens, ITEMS),
            tokens,
            module,
            brought: BTreeMap::new(),
        };
        let mut brought = BTreeMap::new();
        for (whole, name, _) in source.uses() {
            brought.insert(name, whole);
        }
        source.brought = brought;
        source
    }

    /// Names of the given kinds that the file defines.
    pub fn defines(&self, kinds: &[&str]) -> BTreeSet<String> {
        defined(&self.tokens, kinds)
    }

    /// Every path that the file names, in a `use` or where it stands, from the crate on.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut paths: Vec<_> = self.uses().into_iter().map(|(whole, ..)| whole).collect();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.tokens[at] == "use" {
                at = self.end_of_use(at);
                continue;
            }
            let mut path = Vec::new();
            while self.tokens.get(at).is_some_and(|token| is_word(token)) {
                path.push(self.tokens[at].clone());
                at += 1;
                if self.tokens.get(at).map(String::as_str) != Some("::") {
                    break;
                }
                at += 1;
            }
            at += usize::from(path.is_empty());
            if path.len() > 1 {
                paths.extend(self.whole(&path));
            }
        }
        paths
    }

    /// The path from the crate on; `None` for what is of another crate, or a name of this file.
    fn whole(&self, path: &[String]) -> Option<Vec<String>> {
        let mut whole = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let mut whole = self.module[..self.module.len().checked_sub(ups)?].to_vec();
                whole.extend_from_slice(&path[ups..]);
                return Some(whole);
            }
            first => match self.brought.get(first) {
                Some(brought) => brought.clone(),
                None if self.children().contains(first) => {
                    let mut child = self.module.clone();
                    child.push(first.to_owned());
                    child
                }
                None => return None,
            },
        };
        whole.extend_from_slice(&path[1..]);
        Some(whole)
    }

    fn children(&self) -> BTreeSet<String> {
        defined(&self.tokens, &["mod"])
    }

    fn end_of_use(&self, at: usize) -> usize {
        let rest = &self.tokens[at..];
        at + rest
            .iter()
            .position(|token| token == ";")
            .unwrap_or(rest.len())
    }

    /// Names that the `use` declarations bring in, each with its path from the crate on, and whether others may
    /// take it from here.
    fn uses(&self) -> Vec<(Vec<String>, String, bool)> {
        let mut uses = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if token == "use" {
                let tree = &self.tokens[at + 1..self.end_of_use(at)];
                let mut leaves = Vec::new();
                spread(tree, &mut 0, &[], &mut leaves);
                let before = at.checked_sub(1).map(|at| self.tokens[at].as_str());
                let handed_on = matches!(before, Some("pub" | ")"));
                for (path, name) in leaves {
                    uses.extend(self.whole(&path).map(|whole| (whole, name, handed_on)));
                }
            }
        }
        uses
    }
}

/// Takes a `use` tree apart: each leaf's path, and the name that it has in the file.
fn spread(
    tokens: &[String],
    at: &mut usize,
    above: &[String],
    leaves: &mut Vec<(Vec<String>, String)>,
) {
    let mut path = above.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.as_str() {
            "::" => {}
            "{" => {
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    spread(tokens, at, &path, leaves);
                }
                *at += 1;
                if tokens.get(*at).is_some_and(|token| token == ",") {
                    *at += 1;
                }
                return;
            }
            "," => break,
            "}" => {
                *at -= 1;
                break;
            }
            "as" => {
                let name = tokens[*at].clone();
                *at += 1;
                leaves.push((path.clone(), name));
                path.clear();
            }
            "self" if path.len() > above.len() || !above.is_empty() => {}
            word => path.push(word.to_owned()),
        }
    }
    if let Some(name) = path.last() {
        leaves.push((path.clone(), name.clone()));
    }
}

/// Names that follow one of these words at the top of a file, outside of all braces.
fn defined(tokens: &[String], kinds: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            kind if depth == 0 && kinds.contains(&kind) => {
                let name = tokens[at + 1..]
                    .iter()
                    .find(|token| is_word(token) || *token == "(");
                names.extend(name.filter(|name| is_word(name)).cloned());
            }
            _ => {}
        }
    }
    names
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and signs of a text, without comments, strings and characters. `::` is one sign.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(comment) = rest.strip_prefix("//") {
            2 + comment.find('\n').unwrap_or(comment.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            4 + comment.find("*/").unwrap_or(comment.len())
        } else if rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br") {
            raw_string(rest).unwrap_or_else(|| word(rest, &mut tokens))
        } else if is_word(rest) {
            word(rest, &mut tokens)
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or("");
    }
    tokens
}

fn word(rest: &str, tokens: &mut Vec<String>) -> usize {
    let length = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    tokens.push(rest[..length].to_owned());
    length
}

fn raw_string(rest: &str) -> Option<usize> {
    let start = rest.find('r')? + 1;
    let hashes = rest[start..].len() - rest[start..].trim_start_matches('#').len();
    let inner = rest[start + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(start + hashes + 1 + inner.find(&end)? + end.len())
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// The length of a character, or of a lifetime's sign.
fn character(rest: &str) -> usize {
    let mut inner = rest[1..].chars();
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => 3 + rest[3..].find('\'').unwrap_or(0),
        (Some(one), Some('\'')) => 2 + one.len_utf8(),
        _ => 1,
    }
}
