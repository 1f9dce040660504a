//! The lines of a source file by kind, and the ranges of lines that are compiled for tests only.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    Code,
    /// `///` or `//!`.
    Doc,
    /// `//`, alone on its line.
    Comment,
    Blank,
}

pub struct Line {
    /// Counted from 1.
    pub number: usize,
    pub kind: LineKind,
    /// Without the white space around it.
    pub text: String,
}

/// Every line of a text with its kind, by how the line begins.
pub fn classify(text: &str) -> Vec<Line> {
    let kind_of = |line: &str| match line {
        "" => LineKind::Blank,
        _ if line.starts_with("///") || line.starts_with("//!") => LineKind::Doc,
        _ if line.starts_with("//") => LineKind::Comment,
        _ => LineKind::Code,
    };
    let lines = text.lines().map(str::trim).enumerate();
    lines.map(|(index, text)| Line { number: index + 1, kind: kind_of(text), text: text.to_owned() }).collect()
}

/// First and last lines of the items under `#[cfg(test)]`, found in the tokens so that every kind of item is covered:
/// modules, functions, methods, imports, fields.
pub fn test_ranges(tokens: &TokenStream) -> Vec<(usize, usize)> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut ranges = vec![];
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if is_cfg_test(&tokens[at..]) {
            let end = end_of_item(&tokens, at + 2);
            ranges.push((first_line(token), last_line(&tokens[end])));
            at = end + 1;
        } else {
            if let TokenTree::Group(group) = token {
                ranges.extend(test_ranges(&group.stream()));
            }
            at += 1;
        }
    }
    ranges
}

/// Whether tokens begin with `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return false };
    let text: String = attribute.stream().to_string().chars().filter(|c| !c.is_whitespace()).collect();
    hash.as_char() == '#' && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// The index of the last token of the item that begins at `at`: its body, or the semicolon or comma that ends it.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let head: Vec<String> = tokens[at..].iter().take(6).map(ToString::to_string).collect();
    let begins_with = |words: &[&str]| head.iter().any(|word| words.contains(&word.as_str()));
    let has_body = begins_with(&["fn", "mod", "impl", "struct", "enum", "trait"]);
    // The braces in an import or in a constant's value do not end it.
    let is_statement = !has_body && begins_with(&["use", "const", "static", "type"]);
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';' || (punct.as_char() == ',' && !has_body && !is_statement),
        TokenTree::Group(group) => !is_statement && group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    tokens[at..].iter().position(ends).map_or(tokens.len() - 1, |offset| at + offset)
}

fn first_line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn last_line(token: &TokenTree) -> usize {
    token.span().end().line
}
