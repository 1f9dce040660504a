//! The source files of `src`: where each stands in the module tree, which of its lines are code, and what it defines and
//! uses. Read once for all tests of this binary.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use crate::facts::Facts;
use crate::lines::{Line, classify};

/// A module path from the crate's root; empty for `lib.rs`.
pub type ModulePath = Vec<String>;

pub struct SourceFile {
    /// The path under `src`, as in `store/accounts.rs`.
    pub path: String,
    pub module: ModulePath,
    pub text: String,
    /// The lines that are part of the service: without `#[cfg(test)]` items.
    pub lines: Vec<Line>,
    /// What the service's part of the file defines and uses.
    pub facts: Facts,
    /// What `#[cfg(test)]` items define and use.
    pub test_facts: Facts,
}

impl SourceFile {
    /// Reads a file; a file that is not valid Rust fails the test.
    fn new(path: &str, text: &str) -> Self {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let module = module_of(path);
        let test_ranges = if is_test_file(path) { vec![(0, usize::MAX)] } else { crate::lines::test_ranges(&tokens) };
        let is_test = |line: usize| test_ranges.iter().any(|(first, last)| (*first..=*last).contains(&line));
        let syntax = syn::parse2(tokens).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (test_facts, facts) = Facts::extract(&module, &syntax).split(is_test);
        let lines = classify(text).into_iter().filter(|line| !is_test(line.number)).collect();
        Self { path: path.to_owned(), module, text: text.to_owned(), lines, facts, test_facts }
    }

    /// The folder under `src` that the file stands in, empty for `src` itself.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether the file is the module `name` of the crate's root or below it.
    pub fn is_in(&self, name: &str) -> bool {
        self.path.strip_prefix(name).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Whether the whole file is compiled for tests only.
    pub fn is_test(&self) -> bool {
        is_test_file(&self.path)
    }
}

/// All files of `src`, in the order of their paths.
pub struct Source {
    pub files: Vec<SourceFile>,
    /// The file of each module, inline modules included.
    pub modules: BTreeMap<ModulePath, usize>,
}

impl Source {
    /// The project's own `src`.
    pub fn project() -> &'static Self {
        static SOURCE: LazyLock<Source> = LazyLock::new(|| {
            let mut files = vec![];
            read_folder(&root().join("src"), "", &mut files);
            assert!(files.len() > 100, "only {} files under src", files.len());
            Source::new(files)
        });
        &SOURCE
    }

    /// A source tree given as text, for tests of the analysis.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|(path, text)| SourceFile::new(path, text)).collect())
    }

    fn new(mut files: Vec<SourceFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut modules = BTreeMap::new();
        for (index, file) in files.iter().enumerate().filter(|(_, file)| file.path != "main.rs") {
            modules.insert(file.module.clone(), index);
            for facts in [&file.facts, &file.test_facts] {
                modules.extend(facts.inline_modules.iter().map(|(module, _)| (module.clone(), index)));
            }
        }
        Self { files, modules }
    }

    /// The files that are part of the service.
    pub fn service_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| !file.is_test())
    }

    /// The file at a path under `src`, which must exist: a rule that exempts a file is stale when the file has moved.
    pub fn file(&self, path: &str) -> &SourceFile {
        let found = self.files.iter().find(|file| file.path == path);
        found.unwrap_or_else(|| panic!("src/{path} does not exist: update the rule that names it"))
    }
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(SourceFile::new(&name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Unit tests in a file of their own are declared `#[cfg(test)] mod tests;` by convention.
fn is_test_file(path: &str) -> bool {
    path == "tests.rs" || path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn module_of(path: &str) -> ModulePath {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { vec![] } else { path.split('/').map(ToOwned::to_owned).collect() }
}
