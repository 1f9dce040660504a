//! Which rule a proxied request meets. Proxy and app may read a path differently from us, so a path that can be read in
//! two ways meets no rule that lets anybody in: it needs what every rule of its host needs.

use super::forwarded_request::ForwardedRequest;
use crate::core::account::identity_cache::Identity;
use crate::settings::forward_rules::{Access, ForwardRule, ForwardRules, HostPattern, PathPattern};

/// What a caller must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Of each list one.
    pub roles: Vec<Vec<String>>,
    /// All of them.
    pub permissions: Vec<String>,
}

impl Requirement {
    /// Whether the caller has it.
    pub fn are_met_by(&self, identity: &Identity) -> bool {
        self.roles.iter().all(|one_of| one_of.contains(&identity.role))
            && self.permissions.iter().all(|permission| identity.permissions.contains(permission))
    }

    /// Both.
    pub fn join(&mut self, other: Self) {
        self.roles.extend(other.roles);
        self.permissions.extend(other.permissions);
    }

    /// Adds what a rule needs.
    fn add(&mut self, roles: &[String], permissions: &[String]) {
        if !roles.is_empty() {
            self.roles.push(roles.to_vec());
        }
        self.permissions.extend_from_slice(permissions);
    }
}

/// What the rules say about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleMatch {
    /// Anybody may pass.
    Public,
    /// Who is signed in and has this.
    SignedIn(Requirement),
}

/// The first rule that fits decides; where none does, who is signed in may pass.
pub fn match_rule(rules: &ForwardRules, original: &ForwardedRequest) -> RuleMatch {
    let host = host_alone(&original.host);
    let mut of_host = rules.0.iter().filter(|rule| is_of(&rule.host, host));
    let mut requirement = Requirement::default();
    if is_ambiguous_path(original.path()) {
        for rule in of_host {
            if let Access::SignedIn { roles, permissions } = &rule.access {
                requirement.add(roles, permissions);
            }
        }
        return RuleMatch::SignedIn(requirement);
    }
    match of_host.find(|rule| fits(rule, original.path())).map(|rule| &rule.access) {
        Some(Access::Public) => RuleMatch::Public,
        Some(Access::SignedIn { roles, permissions }) => {
            requirement.add(roles, permissions);
            RuleMatch::SignedIn(requirement)
        }
        None => RuleMatch::SignedIn(requirement),
    }
}

fn host_alone(host: &str) -> &str {
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(host, |(host, _)| host)
}

fn is_of(pattern: &HostPattern, host: &str) -> bool {
    // A last dot means the same host to a resolver, and another one to a comparison.
    let host = host.trim_end_matches('.');
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(exact) => exact == host,
        HostPattern::Under(parent) => host.strip_suffix(parent.as_str()).is_some_and(|under| under.ends_with('.')),
    }
}

fn fits(rule: &ForwardRule, path: &str) -> bool {
    match &rule.path {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Below(above) => {
            path.strip_prefix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// Whether another reader may take the path for another one: by dots, doubled or backward slashes, parameters, encodings
/// of what divides or ends a path or stands for itself, encodings of encodings, and octets that no URL has.
pub fn is_ambiguous_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\' && byte != b';';
    !path.starts_with('/')
        || !path.bytes().all(plain)
        || path.contains("//")
        || path.contains("..")
        || path.contains("/./")
        || path.ends_with("/.")
        || !has_plain_encodings(path)
}

/// Whether every encoded octet is one that needs encoding and divides nothing, and together they are UTF-8.
fn has_plain_encodings(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else { return false };
        let byte = high * 16 + low;
        let harmless = byte >= 0x80 || byte == b' ' || b"\"<>^`{|}[]!$&'()*+,:=@".contains(&byte);
        if !harmless {
            return false;
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).is_ok()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;
    use crate::store::AccountId;

    fn rules() -> ForwardRules {
        let text = "app.example.com /public/* public\napp.example.com /admin/* role=ADMIN\n\
                    app.example.com /reports/* permission=reports:read\n*.example.com / public\n* /health public";
        ForwardRules::parse(text).unwrap()
    }

    fn met(host: &str, target: &str) -> RuleMatch {
        let original = ForwardedRequest {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
        };
        match_rule(&rules(), &original)
    }

    fn requirement(roles: &[&str], permissions: &[&str]) -> RuleMatch {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let roles = if roles.is_empty() { Vec::new() } else { vec![texts(roles)] };
        RuleMatch::SignedIn(Requirement { roles, permissions: texts(permissions) })
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        for (host, target, expected) in [
            ("app.example.com", "/public", RuleMatch::Public),
            ("app.example.com", "/public/a.css?x=../..", RuleMatch::Public),
            ("app.example.com:8443", "/public/a", RuleMatch::Public),
            ("app.example.com", "/publicity", requirement(&[], &[])),
            ("app.example.com", "/admin/users", requirement(&["ADMIN"], &[])),
            ("app.example.com", "/reports/1", requirement(&[], &["reports:read"])),
            ("app.example.com", "/", RuleMatch::Public),
            ("example.com", "/", requirement(&[], &[])),
            ("evilexample.com", "/", requirement(&[], &[])),
            ("other.test", "/health", RuleMatch::Public),
            ("other.test", "/", requirement(&[], &[])),
        ] {
            assert_eq!(met(host, target), expected, "{host}{target}");
        }
    }

    const ODD: [&str; 35] = [
        "/public/../admin/x",
        "/public/..",
        "/public/./a",
        "/public/.",
        "/public//a",
        "//public",
        "/public/%2e%2e/x",
        "/public/%2E",
        "/public/%2f",
        "/public%2Fa",
        "/public/..%2fadmin",
        "/public%5c..",
        "/public\\..\\admin",
        "/public/;x",
        "/public;a=b/c",
        "/public/%00",
        "/public/a%00.css",
        "/public/%252e",
        "/public/%25",
        "/public/%",
        "/public/%2",
        "/public/%zz",
        "/public/%ff",
        "/public/%c0%af",
        "/public/%c3",
        "/public/\u{e9}",
        "/public/a b",
        "/public/%0a",
        "/public/%3fx",
        "/public/%23x",
        "/public/%3b",
        "/public/%41",
        "/public/\t",
        "public/a",
        "",
    ];

    #[test]
    fn an_odd_path_is_never_public_and_needs_what_every_rule_of_its_host_needs() {
        for odd in ODD {
            assert!(is_ambiguous_path(odd), "{odd:?}");
            assert_eq!(met("app.example.com", odd), requirement(&["ADMIN"], &["reports:read"]), "{odd}");
        }
        for plain in [
            "/",
            "/public/a",
            "/public/caf%C3%A9",
            "/public/a%20b",
            "/a.b/c-d_e~f",
            "/public/a:b@c",
            "/public/.well-known",
        ] {
            assert!(!is_ambiguous_path(plain), "{plain}");
        }
    }

    /// Text in which what divides, ends and hides paths is thick.
    fn path_like() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/", "/", ".", "..", "a", "b", "%", "%2", "%2f", "%2F", "%2e", "%5c", "%00", "%25", "%20", "%c3", "%a9",
            "%ff", ";", "\\", "?", "#", ":", "@", "~", " ", "\u{e9}", "%41", "public", "admin", "%3b",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        /// The readers: one that takes it as it is, one that decodes it, one that decodes it again, and a browser's.
        #[test]
        fn every_reader_reads_a_plain_path_alike(target in path_like()) {
            let path = target.split(['?', '#']).next().unwrap();
            if is_ambiguous_path(path) {
                return Ok(());
            }
            let browsers = url::Url::parse(&format!("http://app.example.com{path}")).unwrap();
            prop_assert_eq!(browsers.path(), path);
            let decoded = percent_decode_str(path).decode_utf8().unwrap();
            let again = percent_decode_str(&decoded).decode_utf8().unwrap();
            prop_assert_eq!(&decoded, &again);
            prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
            prop_assert!(!decoded.contains(['\\', ';', '?', '#', '\0']) && !decoded.contains("//"));
            prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
        }
    }

    #[test]
    fn needs_are_one_role_and_all_permissions() {
        let identity = |role: &str, permissions: &[&str]| Identity {
            account: AccountId(1),
            user: String::new(),
            email: String::new(),
            name: String::new(),
            role: role.to_owned(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
        };
        let RuleMatch::SignedIn(requirement) = requirement(&["ADMIN", "EDITOR"], &["a", "b"]) else { panic!() };
        assert!(requirement.are_met_by(&identity("EDITOR", &["b", "a", "c"])));
        assert!(
            !requirement.are_met_by(&identity("USER", &["a", "b"]))
                && !requirement.are_met_by(&identity("ADMIN", &["a"]))
        );
    }
}
