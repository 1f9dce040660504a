//! What a source file defines and uses, taken from its syntax tree: plain data, so that all tests share one reading.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Ident, Item, Meta, Signature, UseTree, Visibility};

use crate::source::ModulePath;

/// A path as it is written: `crate::store::Db`, `super::refusal`, `diesel::insert_into`.
pub struct Reference {
    /// The module that it is written in.
    pub module: ModulePath,
    pub path: Vec<String>,
    pub line: usize,
}

/// One name that a `use` brings into a module.
pub struct Import {
    pub module: ModulePath,
    pub path: Vec<String>,
    /// The name that it has here; `*` for a glob.
    pub name: String,
    pub is_public: bool,
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Type,
    Constant,
    Function,
    Module,
    Macro,
}

pub struct Definition {
    pub module: ModulePath,
    pub kind: Kind,
    pub name: String,
    pub is_public: bool,
    pub line: usize,
}

/// A function with a body, from its signature to its closing brace.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

#[derive(Default)]
pub struct Facts {
    pub references: Vec<Reference>,
    pub imports: Vec<Import>,
    pub definitions: Vec<Definition>,
    pub functions: Vec<Function>,
    /// Modules with a body in this file, and where they begin.
    pub inline_modules: Vec<(ModulePath, usize)>,
}

impl Facts {
    pub fn extract(module: &[String], syntax: &syn::File) -> Self {
        let mut extractor = Extractor { module: module.to_vec(), depth_in_functions: 0, facts: Self::default() };
        extractor.visit_file(syntax);
        extractor.facts
    }

    /// Those on the lines that `first` names, and the others.
    pub fn split(self, first: impl Fn(usize) -> bool) -> (Self, Self) {
        let mut parts = (Self::default(), Self::default());
        macro_rules! divide {
            ($field:ident, $line:expr) => {
                (parts.0.$field, parts.1.$field) = self.$field.into_iter().partition(|fact| first($line(fact)));
            };
        }
        divide!(references, |fact: &Reference| fact.line);
        divide!(imports, |fact: &Import| fact.line);
        divide!(definitions, |fact: &Definition| fact.line);
        divide!(functions, |fact: &Function| fact.line);
        divide!(inline_modules, |fact: &(ModulePath, usize)| fact.1);
        parts
    }
}

struct Extractor {
    module: ModulePath,
    /// Items inside a function's body are visible there only.
    depth_in_functions: usize,
    facts: Facts,
}

impl Extractor {
    fn reference(&mut self, path: Vec<String>, span: Span) {
        if path.len() > 1 {
            self.facts.references.push(Reference { module: self.module.clone(), path, line: span.start().line });
        }
    }

    /// Paths in tokens that have no syntax tree: arguments of macros and attributes.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = vec![];
        let mut colons = 0;
        let mut span = Span::call_site();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.reference(std::mem::take(&mut path), span);
                        span = ident.span();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.reference(std::mem::take(&mut path), span);
                    colons = 0;
                    self.scan_inside(other);
                }
            }
        }
        self.reference(path, span);
    }

    fn scan_inside(&mut self, token: TokenTree) {
        match token {
            TokenTree::Group(group) => self.scan(group.stream()),
            // `#[serde(with = "crate::…")]` names a path in a string.
            TokenTree::Literal(literal) if literal.to_string().starts_with("\"crate::") => {
                let path = literal.to_string().trim_matches('"').split("::").map(ToOwned::to_owned).collect();
                self.reference(path, literal.span());
            }
            _ => {}
        }
    }

    fn define(&mut self, kind: Kind, ident: &Ident, visibility: &Visibility, attributes: &[Attribute]) {
        let is_public =
            matches!(visibility, Visibility::Public(_)) && !is_hidden(attributes) && self.depth_in_functions == 0;
        let (module, name, line) = (self.module.clone(), ident.to_string(), ident.span().start().line);
        self.facts.definitions.push(Definition { module, kind, name, is_public, line });
    }

    fn function(&mut self, signature: &Signature, body: &Block) {
        let (name, line) = (signature.ident.to_string(), signature.fn_token.span.start().line);
        let lines = body.brace_token.span.close().end().line + 1 - line;
        self.facts.functions.push(Function { name, line, lines });
    }

    fn import(&mut self, tree: &UseTree, path: &[String], is_public: bool) {
        let mut add = |path: Vec<String>, name: String, span: Span| {
            let (module, line) = (self.module.clone(), span.start().line);
            self.facts.imports.push(Import { module, path, name, is_public, line });
        };
        let with = |ident: &Ident| path.iter().cloned().chain([ident.to_string()]).collect::<Vec<String>>();
        match tree {
            UseTree::Path(part) => self.import(&part.tree, &with(&part.ident), is_public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, path, is_public)),
            UseTree::Glob(glob) => add(path.to_vec(), "*".to_owned(), glob.star_token.span),
            UseTree::Name(one) if one.ident == "self" => {
                add(path.to_vec(), path.last().cloned().unwrap_or_default(), one.ident.span());
            }
            UseTree::Name(one) => add(with(&one.ident), one.ident.to_string(), one.ident.span()),
            UseTree::Rename(one) if one.ident == "self" => {
                add(path.to_vec(), one.rename.to_string(), one.ident.span());
            }
            UseTree::Rename(one) => add(with(&one.ident), one.rename.to_string(), one.ident.span()),
        }
    }

    fn define_item(&mut self, item: &Item) {
        match item {
            Item::Struct(item) => self.define(Kind::Type, &item.ident, &item.vis, &item.attrs),
            Item::Enum(item) => self.define(Kind::Type, &item.ident, &item.vis, &item.attrs),
            Item::Union(item) => self.define(Kind::Type, &item.ident, &item.vis, &item.attrs),
            Item::Trait(item) => self.define(Kind::Type, &item.ident, &item.vis, &item.attrs),
            Item::Type(item) => self.define(Kind::Type, &item.ident, &item.vis, &item.attrs),
            Item::Const(item) => self.define(Kind::Constant, &item.ident, &item.vis, &item.attrs),
            Item::Static(item) => self.define(Kind::Constant, &item.ident, &item.vis, &item.attrs),
            Item::Fn(item) => self.define(Kind::Function, &item.sig.ident, &item.vis, &item.attrs),
            Item::Mod(item) => self.define(Kind::Module, &item.ident, &item.vis, &item.attrs),
            Item::Macro(item) if has_attribute(&item.attrs, "macro_export") => {
                if let Some(ident) = &item.ident {
                    self.facts.definitions.push(Definition {
                        module: vec![],
                        kind: Kind::Macro,
                        name: ident.to_string(),
                        is_public: !is_hidden(&item.attrs),
                        line: ident.span().start().line,
                    });
                }
            }
            Item::Use(item) => {
                let is_public = matches!(item.vis, Visibility::Public(_)) && !is_hidden(&item.attrs);
                self.import(&item.tree, &[], is_public);
            }
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Extractor {
    fn visit_item(&mut self, item: &'ast Item) {
        self.define_item(item);
        match item {
            Item::Mod(module) if module.content.is_some() => {
                self.module.push(module.ident.to_string());
                self.facts.inline_modules.push((self.module.clone(), module.ident.span().start().line));
                visit::visit_item(self, item);
                self.module.pop();
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.depth_in_functions += 1;
        visit::visit_block(self, block);
        self.depth_in_functions -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.reference(names, first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
        // Links in doc comments are no dependency of the code.
        if !attribute.path().is_ident("doc") {
            visit::visit_attribute(self, attribute);
        }
    }

    /// The path of `pub(in crate::…)` is no use of what it names.
    fn visit_visibility(&mut self, _visibility: &'ast Visibility) {}
}

fn has_attribute(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident(name))
}

/// Whether rustdoc leaves it out: `#[doc(hidden)]`.
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("doc") && list.tokens.to_string() == "hidden"
    })
}
