//! The analysis itself, on small sources whose answer is known.

use std::collections::BTreeSet;

use crate::dependencies::{Edge, Resolver, Target, cycles, edges, edges_to_others};
use crate::duplicates::duplicates;
use crate::measures::{Spread, files_longer_than, fullest_folder, function_lengths, prose_per_100_lines, spread};
use crate::names::{constants_that_share_a_name, public_names, types_that_share_a_name};
use crate::source::Source;
use crate::words::{FoundIn, Index};

const LIB: (&str, &str) = ("lib.rs", "pub mod a;\npub mod b;\npub mod c;\n");

/// Every edge as `from -> to`, in order, once.
fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let source = Source::of(files);
    let name = |index: usize| source.files[index].path.trim_end_matches(".rs");
    let found: BTreeSet<String> =
        edges(&source).iter().map(|Edge { from, to, .. }| format!("{} -> {}", name(*from), name(*to))).collect();
    found.into_iter().collect()
}

fn cyclic_files(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let source = Source::of(files);
    let path = |index: usize| source.files[index].path.clone();
    cycles(&edges(&source)).into_iter().map(|group| group.into_iter().map(path).collect()).collect()
}

#[test]
fn a_cycle_through_a_group_import_is_found() {
    let a = ("a.rs", "use crate::{\n    b::{B, other},\n    c,\n};\npub struct A;\n");
    let b = ("b.rs", "use crate::a::A;\npub struct B;\npub fn other() {}\n");
    let c = ("c.rs", "pub fn free() {}\n");
    assert_eq!(arrows(&[LIB, a, b, c]), ["a -> b", "a -> c", "b -> a"]);
    assert_eq!(cyclic_files(&[LIB, a, b, c]), [["a.rs", "b.rs"]]);
}

#[test]
fn a_cycle_through_a_third_file_is_one_group_and_another_pair_is_its_own() {
    let group = [("a.rs", "use crate::b::X;"), ("b.rs", "use crate::c::X;"), ("c.rs", "use crate::a::X;")];
    let pair = [("d.rs", "use crate::e::X;"), ("e.rs", "use crate::d::X; use crate::a::X;")];
    let all = [&[("lib.rs", "mod a; mod b; mod c; mod d; mod e;")], &group[..], &pair[..]].concat();
    let found = cyclic_files(&all);
    assert_eq!(found, [vec!["a.rs", "b.rs", "c.rs"], vec!["d.rs", "e.rs"]]);
}

#[test]
fn a_module_that_uses_its_own_children_is_told_from_modules_that_use_each_other() {
    let a = ("a.rs", "mod child;\npub struct T;\nfn f() { child::g() }");
    let child = ("a/child.rs", "pub fn g() -> super::T {}");
    let source = Source::of(&[LIB, a, child]);
    assert_eq!(cycles(&edges(&source)).len(), 1);
    assert!(cycles(&edges_to_others(&source)).is_empty());
    let source = Source::of(&[LIB, ("a.rs", "use crate::b::T;"), ("b.rs", "use crate::a::T;")]);
    assert_eq!(cycles(&edges_to_others(&source)).len(), 1);
}

#[test]
fn paths_by_super_and_self_are_resolved() {
    let a = ("a.rs", "mod child;\nfn f() { self::child::g() }\n");
    let child = ("a/child.rs", "pub fn g() { super::super::b::h(); }\nfn k() -> super::T {}\n");
    assert_eq!(arrows(&[LIB, a, child, ("b.rs", "")]), ["a -> a/child", "a/child -> a", "a/child -> b"]);
}

#[test]
fn a_module_declaration_is_no_use_of_the_module() {
    assert!(arrows(&[LIB, ("a.rs", "mod child;\n"), ("a/child.rs", "")]).is_empty());
}

#[test]
fn a_child_is_used_by_its_bare_name_and_through_what_is_exported_from_it() {
    let child = ("a/child.rs", "pub fn g() {}");
    assert_eq!(arrows(&[LIB, ("a.rs", "mod child;\nfn f() { child::g() }"), child]), ["a -> a/child"]);
    assert_eq!(arrows(&[LIB, ("a.rs", "mod child;\npub use child::g;"), child]), ["a -> a/child"]);
    assert_eq!(arrows(&[LIB, ("a.rs", "mod child;\nuse child::*;"), child]), ["a -> a/child"]);
}

#[test]
fn an_imported_module_leads_on_to_the_module_below_it() {
    let b = ("b.rs", "pub mod child;");
    let child = ("b/child.rs", "pub fn g() {}");
    assert_eq!(
        arrows(&[LIB, ("a.rs", "use crate::b;\nfn f() { b::child::g() }"), b, child]),
        ["a -> b", "a -> b/child"]
    );
    let renamed = ("a.rs", "use crate::b::child as other;\nfn f() { other::g() }");
    assert_eq!(arrows(&[LIB, renamed, b, child]), ["a -> b/child"]);
}

#[test]
fn paths_in_types_macros_and_attributes_are_seen() {
    for text in [
        "fn f() { crate::b::g() }",
        "struct S(Vec<crate::b::T>);",
        "impl crate::b::Tr for u8 {}",
        "fn f() { println!(\"{}\", crate::b::g()) }",
        "#[derive(D)]\n#[table(name = crate::b::t)]\nstruct S;",
        "#[serde(with = \"crate::b::text\")]\nstruct S;",
        "pub use crate::b::T as U;",
        "fn f() { use crate::b::T; }",
        "mod inner { use super::super::b::T; }",
    ] {
        assert_eq!(arrows(&[LIB, ("a.rs", text), ("b.rs", "")]), ["a -> b"], "{text}");
    }
}

#[test]
fn what_is_no_use_of_a_file_is_no_edge() {
    for text in [
        "// use crate::b::T;",
        "/// See [`crate::b::T`].\nstruct S;",
        "pub(in crate::b) struct S;",
        "fn f() { std::mem::drop(1) }",
        "use log;\nfn f() { log::info!(\"x\") }",
        "#[cfg(test)]\nmod tests {\n    use crate::b::T;\n}",
        "#[cfg(test)]\nuse crate::b::{T, U};\nstruct S;",
        "struct S;\nimpl S {\n    #[cfg(test)]\n    fn len(&self) -> usize {\n        crate::b::g()\n    }\n}",
        "struct S {\n    #[cfg(test)]\n    seen: crate::b::T,\n}",
    ] {
        assert!(arrows(&[LIB, ("a.rs", text), ("b.rs", "")]).is_empty(), "{text}");
    }
    assert!(arrows(&[LIB, ("a.rs", ""), ("a/tests.rs", "use crate::b::T;"), ("b.rs", "")]).is_empty());
}

#[test]
fn what_follows_a_test_item_is_read() {
    let text =
        "#[cfg(test)]\nuse crate::c::{T, U};\nuse crate::b::V;\n#[cfg(test)]\nmod tests;\nfn f() { crate::c::g() }";
    let source = Source::of(&[LIB, ("a.rs", text), ("b.rs", ""), ("c.rs", "")]);
    let lines: Vec<usize> = edges(&source).iter().map(|edge| edge.line).collect();
    assert_eq!(lines, [3, 6]);
}

#[test]
fn the_program_uses_the_library_by_its_name() {
    let main = ("main.rs", "fn main() { doorward::a::run() }");
    assert_eq!(arrows(&[LIB, ("a.rs", ""), main]), ["main -> a"]);
}

#[test]
fn a_crate_is_told_from_a_module_of_the_same_name() {
    let source = Source::of(&[LIB, ("a.rs", "pub mod metrics;"), ("a/metrics.rs", ""), ("b.rs", "")]);
    let resolver = Resolver::new(&source);
    let path = |text: &str| text.split("::").map(ToOwned::to_owned).collect::<Vec<String>>();
    let external = |name: &str| Target::External(name.to_owned());
    assert_eq!(resolver.resolve(&path("b"), &path("metrics::X")), external("metrics"));
    assert_eq!(resolver.resolve(&path("a"), &path("diesel::insert_into")), external("diesel"));
    assert_ne!(resolver.resolve(&path("a"), &path("metrics::X")), external("metrics"));
    assert_ne!(resolver.resolve(&path("b"), &path("crate::storehouse")), external("store"));
}

#[test]
fn types_of_one_name_are_told_with_their_places() {
    let a = ("a.rs", "pub struct Line;\ntype Only = u8;\nfn f() { struct Line2; }");
    let b = ("b.rs", "mod inner { pub enum Line {} }\n#[cfg(test)]\nmod tests { struct Only; }");
    let shared = types_that_share_a_name(&Source::of(&[LIB, a, b]));
    assert_eq!(
        shared.into_iter().collect::<Vec<_>>(),
        [("Line".to_owned(), vec!["a.rs:1".to_owned(), "b.rs:1".to_owned()])]
    );
    let platforms = "#[cfg(unix)]\npub struct P(u8);\n#[cfg(windows)]\npub struct P(u16);";
    assert!(types_that_share_a_name(&Source::of(&[LIB, ("a.rs", platforms)])).is_empty());
}

#[test]
fn constants_of_one_name_are_told_with_their_values() {
    let files = [LIB, ("a.rs", "const MOST: usize = 64;\n"), ("b.rs", "static MOST: u8 = 1;\nconst ONE: u8 = 1;")];
    let shared = constants_that_share_a_name(&Source::of(&files));
    assert_eq!(shared["MOST"], ["a.rs:1 const MOST: usize = 64;", "b.rs:1 static MOST: u8 = 1;"]);
    assert_eq!(shared.len(), 1);
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let text = "/// Doc.\n#[inline]\npub fn one() {}\n\ntrait T {\n    fn none();\n    fn three(\n        &self,\n    ) {}\n}\n\
        impl S {\n    fn four() {\n        1;\n        2;\n    }\n}\n#[cfg(test)]\nmod tests {\n    fn two() {\n    }\n}\n";
    let source = Source::of(&[LIB, ("a.rs", text)]);
    let mut lines: Vec<(&str, usize)> =
        source.files[0].facts.functions.iter().map(|function| (function.name.as_str(), function.lines)).collect();
    lines.sort_unstable();
    assert_eq!(lines, [("four", 4), ("one", 1), ("three", 3)]);
    assert_eq!(function_lengths(&source), Spread { p50: 3, p90: 3, max: 4 });
    assert_eq!(spread((1..=101).collect()), Spread { p50: 51, p90: 91, max: 101 });
}

#[test]
fn documentation_and_comments_are_counted_beside_code() {
    let text = "//! Doc.\n\n/// Doc.\n// Why.\nfn f() {}\nfn g() {} // no line of its own\n\
        #[cfg(test)]\nmod tests {\n    // Not counted.\n}\n";
    let (docs, comments) = prose_per_100_lines(&Source::of(&[("lib.rs", text)]));
    assert_eq!((docs.round(), comments.round()), (100.0, 50.0));
}

#[test]
fn folders_and_long_files_are_measured() {
    let source = Source::of(&[LIB, ("a/x.rs", "\n\n\n"), ("a/y.rs", ""), ("a/z/w.rs", "")]);
    assert_eq!(fullest_folder(&source), ("a".to_owned(), 2));
    assert_eq!(files_longer_than(&source, 2), [("a/x.rs", 3), ("lib.rs", 3)]);
}

#[test]
fn public_names_are_those_that_lib_leads_to() {
    let lib =
        ("lib.rs", "pub mod a;\nmod b;\n#[doc(hidden)]\npub mod c;\npub use b::{Out, inner};\npub use b::all::*;");
    let a = ("a.rs", "pub struct Shown;\npub(crate) struct Inside;\nstruct Own;\n#[doc(hidden)]\npub fn hidden() {}");
    let b = ("b.rs", "pub struct Out;\npub mod inner { pub const DEEP: u8 = 1; }\npub mod all { pub fn each() {} }");
    let c = ("c.rs", "pub struct Secret;");
    let names = public_names(&Source::of(&[lib, a, b, c]));
    let names: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("doorward::")).collect();
    assert_eq!(names, ["Out", "a", "a::Shown", "each", "inner", "inner::DEEP"]);
}

#[test]
fn a_block_in_two_places_is_one_pair_however_long() {
    let block = |lines: std::ops::Range<u8>| {
        lines.map(|n| format!("    call_{n}();")).chain([String::new()]).collect::<Vec<_>>().join("\n")
    };
    let file = |body: &str| format!("use crate::x;\nfn f() {{\n{body}}}\n");
    let find = |a: &str, b: &str| {
        let (a, b) = (file(a), file(b));
        let found = duplicates(&Source::of(&[("lib.rs", ""), ("a.rs", &a), ("b.rs", &b)]));
        found.iter().map(|duplicate| duplicate.lines).collect::<Vec<usize>>()
    };
    assert_eq!(find(&block(0..8), &format!("    other();\n\n    // Why.\n{}", block(0..8))), [8]);
    assert_eq!(find(&block(0..5), &format!("    other();\n{}", block(0..5))), [0; 0]);
    assert_eq!(find(&format!("{}    other();\n{}", block(0..7), block(0..7)), ""), [7]);
}

#[test]
fn a_word_leads_to_names_of_files_before_their_first_lines_before_their_text() {
    let named = ("store/write_queue.rs", "//! Orders writers.");
    let shown = ("store/other.rs", "//! The write-queue's other half.");
    let text = ("store/deep.rs", "//! Something.\nstruct WriteQueue; // checkpoint");
    let source = Source::of(&[LIB, text, shown, named]);
    let index = Index::new(&source);
    assert_eq!(index.search("write queue"), (FoundIn::Heading, vec!["store/write_queue.rs", "store/other.rs"]));
    assert_eq!(index.search("checkpoint"), (FoundIn::Text, vec!["store/deep.rs"]));
    assert_eq!(index.search("outbox"), (FoundIn::Nowhere, vec![]));
}
