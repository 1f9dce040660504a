//! Names: types that share one, constants that share one, and what the crate shows to those who embed it.

use std::collections::{BTreeMap, BTreeSet};

use crate::dependencies::Resolver;
use crate::facts::{Definition, Import, Kind};
use crate::source::{ModulePath, Source};

/// A name and the places where it is defined, each as `path:line`.
pub type Places = BTreeMap<String, Vec<String>>;

/// The names that more than one type, trait or alias has. Two definitions in one module are one type that is written once
/// for each platform, since the compiler takes only one of them.
pub fn types_that_share_a_name(source: &Source) -> Places {
    shared(source, Kind::Type, |definition| definition.module.join("::"))
}

/// The names that constants of several files have.
pub fn constants_that_share_a_name(source: &Source) -> Places {
    shared(source, Kind::Constant, |definition| definition.module.join("::"))
}

fn shared(source: &Source, kind: Kind, owner: impl Fn(&Definition) -> String) -> Places {
    let mut places: BTreeMap<String, BTreeMap<(String, String), String>> = BTreeMap::new();
    for file in source.service_files() {
        for definition in file.facts.definitions.iter().filter(|definition| definition.kind == kind) {
            let place = format!("{}:{}", file.path, definition.line);
            let line = file.text.lines().nth(definition.line - 1).unwrap_or_default().trim();
            let owner = (file.path.clone(), owner(definition));
            let shown = if kind == Kind::Constant { format!("{place} {line}") } else { place };
            places.entry(definition.name.clone()).or_default().insert(owner, shown);
        }
    }
    let several = places.into_iter().filter(|(_, places)| places.len() > 1);
    several.map(|(name, places)| (name, places.into_values().collect())).collect()
}

/// Every path by which a user of the crate reaches an item, `#[doc(hidden)]` left out: modules, types, functions,
/// constants and macros, from `lib.rs` down public modules and through public imports.
pub fn public_names(source: &Source) -> BTreeSet<String> {
    let mut walk = PublicWalk { source, resolver: Resolver::new(source), names: BTreeSet::new() };
    walk.module(&[], "doorward", &mut vec![]);
    walk.names
}

struct PublicWalk<'a> {
    source: &'a Source,
    resolver: Resolver<'a>,
    names: BTreeSet<String>,
}

impl<'a> PublicWalk<'a> {
    /// `above` are the modules on the way, so that one that exports its own parent ends.
    fn module(&mut self, module: &[String], shown: &str, above: &mut Vec<ModulePath>) {
        if above.iter().any(|seen| seen == module) {
            return;
        }
        above.push(module.to_vec());
        for definition in self.definitions_in(module) {
            let path = format!("{shown}::{}", definition.name);
            self.names.insert(path.clone());
            if definition.kind == Kind::Module {
                self.module(&[module, std::slice::from_ref(&definition.name)].concat(), &path, above);
            }
        }
        for import in self.imports_in(module) {
            self.import(module, import, shown, above);
        }
        above.pop();
    }

    fn import(&mut self, module: &[String], import: &Import, shown: &str, above: &mut Vec<ModulePath>) {
        let target = self.resolver.absolute(module, &import.path, 1);
        let exported = target.filter(|target| self.source.modules.contains_key(target));
        if import.name == "*" {
            if let Some(exported) = exported {
                self.module(&exported, shown, above);
            }
            return;
        }
        let path = format!("{shown}::{}", import.name);
        self.names.insert(path.clone());
        if let Some(exported) = exported {
            self.module(&exported, &path, above);
        }
    }

    fn definitions_in(&self, module: &[String]) -> Vec<&'a Definition> {
        let files = self.source.files.iter().filter(|file| file.path != "main.rs");
        let all = files.flat_map(|file| &file.facts.definitions);
        all.filter(|definition| definition.is_public && definition.module == module).collect()
    }

    fn imports_in(&self, module: &[String]) -> Vec<&'a Import> {
        let all = self.source.files.iter().flat_map(|file| &file.facts.imports);
        all.filter(|import| import.is_public && import.module == module).collect()
    }
}

/// The public API, a name a line: a new public name is a promise to embedding services.
const PUBLIC_NAMES: &str = include_str!("public_names.txt");

#[test]
fn public_names_are_listed() {
    let listed: BTreeSet<String> =
        PUBLIC_NAMES.lines().filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
    let public = public_names(Source::project());
    let differences: Vec<&String> = public.symmetric_difference(&listed).collect();
    assert!(
        differences.is_empty(),
        "a public name is a decision: hide it, or change the list: ./scripts/house public >tests/architecture/public_names.txt\n{differences:?}"
    );
}
