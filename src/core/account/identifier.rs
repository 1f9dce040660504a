//! Account identifiers (email, username, name): validation, and the canonical form that every look-up uses. Which kinds a
//! sign-in accepts is decided by each dialect.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;
use unicode_security::{GeneralSecurityProfile, MixedScript};

use crate::core::error::FieldRule;

/// The longest address SMTP carries (RFC 5321 section 4.5.3.1.3). No identifier is longer.
const EMAIL_MAX: usize = 254;

/// The longest username or name.
const NAME_MAX: usize = 64;

/// An identifier in display form and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    /// As entered by its owner.
    pub shown: String,
    /// As stored for look-ups, and compared.
    pub canonical: String,
}

impl Identifier {
    /// The values of the two columns of an optional identifier: shown, canonical.
    pub fn columns(of: Option<Self>) -> (Option<String>, Option<String>) {
        of.map_or((None, None), |identifier| (Some(identifier.shown), Some(identifier.canonical)))
    }
}

/// The kind of identifier that a sign-in presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifierKind {
    /// Any of the three: an email if it holds an @, else a username, else a name.
    Any,
    /// An email.
    Email,
    /// A username.
    Username,
    /// A name.
    Name,
}

/// NFKC and case folding, so that texts which people read as the same name are the same name, on both backends: neither
/// database's own collation is involved. The domain of an email has the form that DNS has (UTS 46, A-labels): the two spellings
/// of a domain are one there, and folding alone would join domains that are two. Of a text that is too long for any identifier
/// the beginning, which is too long as well: U+FDFA alone becomes eighteen characters, and folding costs time for each.
pub fn canonical(text: &str) -> String {
    let composed: String = text.chars().take(EMAIL_MAX + 1).nfkc().collect();
    match composed.rsplit_once('@') {
        Some((local, domain)) => {
            format!("{}@{}", folded(local), ascii_domain(domain).unwrap_or_else(|| folded(domain)))
        }
        None => folded(&composed),
    }
}

/// Upper, then lower case: it joins ß and ss, ſ and s, the Kelvin sign and k. The dotless ı has the upper case of i and is
/// another letter.
fn folded(text: &str) -> String {
    let fold = |text: &str| text.to_uppercase().to_lowercase().nfkc().collect::<String>();
    // Twice: the capital sharp s has no longer upper case and becomes ss only by way of the small one.
    let parts: Vec<String> = text.split('ı').map(|part| fold(&fold(part))).collect();
    parts.join("ı")
}

/// A domain in A-labels (RFC 5890), as DNS and mail servers have it; `None` if it is no valid one.
fn ascii_domain(domain: &str) -> Option<String> {
    let (deny, hyphens, length) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, length).ok().map(Cow::into_owned)
}

/// The canonical form of an identifier as somebody presents it, or `None` if no account can have it. Blanks around it do not
/// count: keyboards of phones add one. Length is checked before anything is normalised, and on a prefix of the composed form:
/// U+FDFA alone becomes eighteen characters, and case folding costs time for each. A control character is refused because
/// PostgreSQL refuses NUL in a text, which would turn a wrong identifier into a database error.
pub fn presented(text: &str) -> Option<String> {
    let text = text.trim();
    let too_long = text.chars().nth(EMAIL_MAX).is_some() || text.nfkc().nth(EMAIL_MAX).is_some();
    (!too_long && !text.chars().any(char::is_control)).then(|| canonical(text))
}

/// Validates a new email, without the blanks around it: `local@domain`, without characters that could be injected into a header or a page.
pub fn email(text: &str) -> Result<Identifier, FieldRule> {
    let text = text.trim();
    if text.chars().count() > EMAIL_MAX {
        return Err(FieldRule::TooLong(EMAIL_MAX));
    }
    let canonical = canonical(text);
    if canonical.chars().count() > EMAIL_MAX {
        return Err(FieldRule::TooLong(EMAIL_MAX));
    }
    let Some((local, domain)) = canonical.rsplit_once('@') else { return Err(FieldRule::NotAnEmail) };
    let in_local = |c: char| plain_letter(c) || "!#$%&'*+/=?^_`{|}~.-".contains(c);
    // The mapping of UTS 46 removes invisible characters, which a sender of mail would keep.
    let composed: String = text.nfkc().collect();
    let is_visible = |c: char| plain_letter(c) || "-.".contains(c);
    let domain_shown = composed.rsplit_once('@').is_some_and(|(_, domain)| domain.chars().all(is_visible));
    // Readable as well as valid: an A-label may hide letters of two scripts.
    let is_label = |label: &str| {
        let shown = Uts46::new().to_unicode(label.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast).0;
        shown.is_single_script() && shown.chars().all(|c| plain_letter(c) || c == '-')
    };
    let local_fits = !local.is_empty() && local.len() <= 64 && local.chars().all(in_local);
    let dots_fit = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    // An address of the network is no domain (RFC 3696 section 2): a top-level domain has a letter.
    let has_letter = |label: &str| label.chars().any(char::is_alphabetic);
    let domain_fits = domain_shown
        && ascii_domain(domain).is_some()
        && domain.contains('.')
        && domain.split('.').all(is_label)
        && domain.rsplit('.').next().is_some_and(has_letter);
    if !(local_fits && dots_fit && domain_fits && local.is_single_script()) {
        return Err(FieldRule::NotAnEmail);
    }
    Ok(Identifier { shown: text.to_owned(), canonical })
}

/// Validates a new username, without the blanks around it: letters of one script, digits and `. _ -`.
pub fn username(text: &str) -> Result<Identifier, FieldRule> {
    validate_name(text.trim(), |c| plain_letter(c) || "._-".contains(c))
}

/// Validates a new name, without the blanks around it: as a username, with single spaces and apostrophes inside.
pub fn name(text: &str) -> Result<Identifier, FieldRule> {
    let text = text.trim();
    let has_outer_or_double_spaces = |text: &str| text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
    // Some letters decompose into a space and a mark: U+037A, U+00B4.
    if has_outer_or_double_spaces(text) || has_outer_or_double_spaces(&canonical(text)) {
        return Err(FieldRule::NotAName);
    }
    validate_name(text, |c| plain_letter(c) || "._-' ".contains(c))
}

fn validate_name(text: &str, is_allowed: impl Fn(char) -> bool) -> Result<Identifier, FieldRule> {
    if text.is_empty() {
        return Err(FieldRule::TooShort(1));
    }
    if text.chars().count() > NAME_MAX {
        return Err(FieldRule::TooLong(NAME_MAX));
    }
    // A ligature is one character as entered and up to three in canonical form, which is the form that is stored and indexed.
    let canonical = canonical(text);
    if canonical.chars().count() > NAME_MAX {
        return Err(FieldRule::TooLong(NAME_MAX));
    }
    let characters_allowed =
        canonical.chars().all(&is_allowed) && text.chars().all(|c| is_allowed(c) || c.is_alphanumeric());
    if !characters_allowed || !canonical.is_single_script() || !canonical.chars().any(char::is_alphanumeric) {
        return Err(FieldRule::NotAName);
    }
    Ok(Identifier { shown: text.to_owned(), canonical })
}

/// UTS 39's allowed letters and digits: nothing invisible, no bidi control, no look-alike symbol.
fn plain_letter(c: char) -> bool {
    c.is_alphanumeric() && c.identifier_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_joins_what_people_read_as_one_name() {
        for (a, b) in [
            ("Emily", "eMILY"),
            ("straße", "STRASSE"),
            ("straẞe", "strasse"),
            ("\u{212a}elvin", "kelvin"),
            ("ﬁn", "FIN"),
            ("ｆｕｌｌ", "full"),
            ("e\u{301}", "É"),
            ("ſam", "Sam"),
        ] {
            assert_eq!(canonical(a), canonical(b), "{a} {b}");
        }
    }

    #[test]
    fn canonical_form_of_an_overlong_text_is_bounded() {
        for character in ["\u{fdfa}", "a", "e\u{301}", "ﬃ", "ẞ"] {
            let bounded = canonical(&character.repeat(EMAIL_MAX + 1));
            assert!(bounded.len() <= canonical(character).len() * (EMAIL_MAX + 1), "{character}");
            assert!(canonical(&character.repeat(1_000_000)).len() <= bounded.len(), "{character}");
        }
    }

    #[test]
    fn presented_identifier_is_trimmed_and_refused_by_length_first() {
        for padded in ["emilys ", " emilys", "\temilys\n", "emilys\u{a0}", "\u{2003}EMILYS"] {
            assert_eq!(presented(padded).as_deref(), Some("emilys"), "{padded:?}");
        }
        assert_eq!(presented(&"a".repeat(254)).map(|text| text.len()), Some(254));
        for long in ["a".repeat(255), "\u{fdfa}".repeat(5200), "\u{fdfa}".repeat(15), "ﬃ".repeat(85), "é".repeat(255)]
        {
            assert_eq!(presented(&long), None);
        }
        for control in ["a\0b", "a\nb", "a\u{7f}b"] {
            assert_eq!(presented(control), None, "{control:?}");
        }
    }

    #[test]
    fn username_refuses_invisible_and_lookalike_characters() {
        for wrong in
            ["", "em ily", "a@b", "раypal", "a\u{200b}b", "a\u{202e}b", "a\nb", "a\0b", "<b>", "a;b", "...", "a\u{a0}b"]
        {
            assert!(username(wrong).is_err(), "{wrong:?}");
        }
        for right in ["emilys", "Emily.S-1_x", "юля", "用户", "müller", "0000"] {
            assert!(username(right).is_ok(), "{right:?}");
        }
        assert_eq!(username(&"a".repeat(65)), Err(FieldRule::TooLong(64)));
    }

    #[test]
    fn email_has_one_at_and_a_domain() {
        for wrong in [
            "",
            "a",
            "a@",
            "@b.c",
            "a@b",
            "a b@c.d",
            "a@b..c",
            ".a@b.c",
            "a@-b.c",
            "a@b.c\r\nX: y",
            "\"a\"@b.c",
            "a@127.0.0.1",
            "a@10.1",
            "a@b.1",
        ] {
            assert!(email(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(email("Emily.Johnson@X.dummyjson.com").unwrap().canonical, "emily.johnson@x.dummyjson.com");
        assert!(email("user+tag@sub.example.co").is_ok());
        assert_eq!(email(" ada@example.com\n").unwrap().shown, "ada@example.com");
    }

    #[test]
    fn email_domains_are_compared_as_dns_does() {
        for (a, b) in [
            ("ada@müller.de", "ada@xn--mller-kva.de"),
            ("ADA@MÜLLER.de", "ada@mu\u{308}ller.de"),
            ("ada@ｅxample.com", "ada@example.com"),
            ("ada@почта.рф", "ada@xn--80a1acny.xn--p1ai"),
            ("ada@例え.jp", "ada@xn--r8jz45g.jp"),
        ] {
            assert_eq!(email(a).unwrap().canonical, email(b).unwrap().canonical, "{a} {b}");
            assert!(email(a).unwrap().canonical.is_ascii(), "{a}");
        }
        for (a, b) in [("a@straße.de", "a@strasse.de"), ("a@ıbm.com", "a@ibm.com"), ("a@ŉ.de", "a@n.de")] {
            assert_ne!(canonical(a), canonical(b), "{a} {b}");
        }
        for wrong in [
            "a@pаypal.com",
            "a@xn--pypal-4ve.com",
            "a@xn--.com",
            "a@xn--a.com",
            "a@a_b.com",
            "a@b.c-",
            "a@exa\u{200d}mple.com",
            "a@☃.net",
            "a@..com",
            "a@b.com.",
        ] {
            assert!(email(wrong).is_err(), "{wrong:?}");
        }
        let label = "ü".repeat(60);
        assert!(email(&format!("a@{label}.de")).is_err(), "longer than a label of DNS");
    }

    #[test]
    fn dotless_i_is_a_letter_of_its_own() {
        for other in ["emilys", "EMILYS", "emİlys"] {
            assert_ne!(canonical("emılys"), canonical(other), "{other}");
        }
        assert_eq!(canonical("EMıLYS"), canonical("emılys"));
        assert_eq!(canonical("KAPıß"), "kapıss");
    }

    #[test]
    fn identifier_length_is_that_of_the_canonical_form() {
        assert!(username(&"ﬃ".repeat(21)).is_ok());
        assert_eq!(username(&"ﬃ".repeat(22)), Err(FieldRule::TooLong(64)));
        assert_eq!(name(&"ﬃ".repeat(64)), Err(FieldRule::TooLong(64)));
        let domain = "ﬃ.".repeat(80);
        assert_eq!(email(&format!("a@{domain}co")), Err(FieldRule::TooLong(254)));
    }

    #[test]
    fn name_may_have_single_spaces_inside() {
        assert!(name("Emily O'Hara").is_ok());
        assert!(name("cooluser1").is_ok());
        for wrong in ["a  b", "\u{37a}", "\u{37a}β", "α \u{37a}β", "α\u{a0} β"] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
