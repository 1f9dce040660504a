//! Deny-list of common passwords. What else the policy demands is in password.rs.

use std::cmp::Ordering;

/// Those of 20,000 common passwords that have 8 bytes or more, a line each, in lower case, sorted by bytes.
/// Collected by Royce Williams; taken from Django 5.2 (BSD-3-Clause).
const COMMON_PASSWORDS: &str = include_str!("../common_passwords.txt");

/// Whether a password in lower case is in the list: a binary search over the text itself, since an index of its lines would
/// have to be built for each password, or stay in memory.
pub fn contains(password: &str) -> bool {
    let mut lines = COMMON_PASSWORDS.as_bytes();
    while !lines.is_empty() {
        let (first_half, _) = lines.split_at(lines.len() / 2);
        let start = memchr::memrchr(b'\n', first_half).map_or(0, |newline| newline + 1);
        let (earlier, rest) = lines.split_at(start);
        let (line, later) = rest.split_at(memchr::memchr(b'\n', rest).unwrap_or(rest.len()));
        lines = match password.as_bytes().cmp(line) {
            Ordering::Equal => return true,
            Ordering::Less => earlier,
            Ordering::Greater => later.get(1..).unwrap_or_default(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_password_list_is_sorted_and_every_line_is_found() {
        let lines: Vec<&str> = COMMON_PASSWORDS.lines().collect();
        assert!(lines.is_sorted() && lines.len() > 8000);
        assert!(lines.iter().all(|line| contains(line)));
        for absent in ["", "\n", "!", "~~~~~~~~~", "\u{10ffff}", "password1\n", "\npassword1", &lines[..2].join("\n")] {
            assert!(!contains(absent), "{absent:?}");
        }
        let tail = |line: &str| line.chars().skip(1).collect::<String>();
        let neighbours = lines.iter().flat_map(|line| [format!("{line}!"), tail(line), format!("0{line}")]);
        for neighbour in neighbours {
            assert_eq!(contains(&neighbour), lines.binary_search(&neighbour.as_str()).is_ok(), "{neighbour}");
        }
    }
}
