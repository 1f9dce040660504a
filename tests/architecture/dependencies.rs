//! Which file of `src` uses which, and which crates it uses: every import and every path, resolved against the module
//! tree; and the cycles among the files.
//!
//! A path leads to the file of the longest module that it begins with. What that module re-exports counts as used there:
//! its own import of the name is a dependency in turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Facts;
use crate::source::{ModulePath, Source, SourceFile};

/// How many aliases a path may lead through: `use log;` names itself.
const MAX_ALIASES: usize = 8;

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A file of `src`, by its index.
    File(usize),
    /// The first segment of a path that leads outside, or to a type in scope.
    External(String),
}

/// One use of a name from elsewhere.
pub struct Dependency {
    pub target: Target,
    /// As it is written.
    pub path: String,
    pub line: usize,
}

pub struct Resolver<'a> {
    source: &'a Source,
    /// For each module the names that its imports bring in.
    aliases: BTreeMap<(&'a [String], &'a str), &'a [String]>,
}

impl<'a> Resolver<'a> {
    pub fn new(source: &'a Source) -> Self {
        let facts = source.files.iter().flat_map(|file| [&file.facts, &file.test_facts]);
        let imports = facts.flat_map(|facts| &facts.imports);
        let aliases = imports.map(|import| ((&import.module[..], &import.name[..]), &import.path[..])).collect();
        Self { source, aliases }
    }

    /// What the service's part of a file depends on.
    pub fn dependencies(&self, file: &SourceFile) -> Vec<Dependency> {
        self.dependencies_of(&file.facts)
    }

    /// What the whole file depends on, unit tests included.
    pub fn dependencies_with_tests(&self, file: &SourceFile) -> Vec<Dependency> {
        let mut all = self.dependencies_of(&file.facts);
        all.extend(self.dependencies_of(&file.test_facts));
        all
    }

    fn dependencies_of(&self, facts: &Facts) -> Vec<Dependency> {
        let imports = facts.imports.iter().map(|import| (&import.module, &import.path, import.line));
        let references = facts.references.iter().map(|reference| (&reference.module, &reference.path, reference.line));
        let resolved = imports.chain(references).map(|(module, path, line)| {
            let target = self.resolve(module, path);
            Dependency { target, path: path.join("::"), line }
        });
        resolved.collect()
    }

    pub fn resolve(&self, module: &[String], path: &[String]) -> Target {
        match self.absolute(module, path, MAX_ALIASES) {
            Some(absolute) => Target::File(self.file_of(&absolute)),
            None => Target::External(path.first().cloned().unwrap_or_default()),
        }
    }

    /// The path from the crate's root, or nothing when it leads outside.
    pub fn absolute(&self, module: &[String], path: &[String], aliases: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let below = |module: &[String], rest: &[String]| Some([module, rest].concat());
        match first.as_str() {
            "crate" | "doorward" => return below(&[], rest),
            "self" => return below(module, rest),
            "super" => {
                let (_, parent) = module.split_last()?;
                let is_relative = rest.first().is_some_and(|next| next == "super");
                return if is_relative { self.absolute(parent, rest, aliases) } else { below(parent, rest) };
            }
            _ => {}
        }
        if self.source.modules.contains_key(&[module, &path[..1]].concat()) {
            return below(module, path);
        }
        let alias = self.aliases.get(&(module, first.as_str())).filter(|alias| **alias != &path[..1])?;
        self.absolute(module, &[alias, rest].concat(), aliases.checked_sub(1)?)
    }

    /// The file of the longest module that a path begins with.
    fn file_of(&self, absolute: &[String]) -> usize {
        let prefixes = (0..=absolute.len()).rev().map(|length| &absolute[..length]);
        let mut files = prefixes.filter_map(|prefix| self.source.modules.get(prefix));
        files.next().copied().unwrap_or_else(|| panic!("no lib.rs above {}", absolute.join("::")))
    }
}

/// A use of one file by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub path: String,
    pub line: usize,
}

/// The uses of other files, of the service's part of `src`; a declaration `mod child;` is none.
pub fn edges(source: &Source) -> Vec<Edge> {
    let resolver = Resolver::new(source);
    let mut edges = vec![];
    for (from, file) in source.files.iter().enumerate() {
        for dependency in resolver.dependencies(file) {
            if let Target::File(to) = dependency.target
                && to != from
            {
                edges.push(Edge { from, to, path: dependency.path, line: dependency.line });
            }
        }
    }
    edges
}

/// The same without the uses by which a module composes its own children: what is left couples files that stand apart.
pub fn edges_to_others(source: &Source) -> Vec<Edge> {
    let is_below = |edge: &Edge| source.files[edge.to].module.starts_with(&source.files[edge.from].module);
    edges(source).into_iter().filter(|edge| !is_below(edge)).collect()
}

/// The groups of files that all use each other, directly or through others; the largest first.
pub fn cycles(edges: &[Edge]) -> Vec<Vec<usize>> {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for edge in edges {
        next.entry(edge.from).or_default().insert(edge.to);
    }
    let reachable: BTreeMap<usize, BTreeSet<usize>> =
        next.keys().map(|start| (*start, reachable_from(*start, &next))).collect();
    let reaches = |from: usize, to: usize| reachable.get(&from).is_some_and(|found| found.contains(&to));
    let mut groups: Vec<Vec<usize>> = vec![];
    for file in next.keys().copied().filter(|file| reaches(*file, *file)) {
        match groups.iter_mut().find(|group| reaches(group[0], file) && reaches(file, group[0])) {
            Some(group) => group.push(file),
            None => groups.push(vec![file]),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

fn reachable_from(start: usize, next: &BTreeMap<usize, BTreeSet<usize>>) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(file) = open.pop() {
        for to in next.get(&file).into_iter().flatten() {
            if found.insert(*to) {
                open.push(*to);
            }
        }
    }
    found
}
