//! Access rules of forward authentication (`RULES_FILE`): which rule matches a proxied request, and what it requires. A proxy
//! or an app may normalise a path differently, so an ambiguous path is never public: it requires what all rules of its host
//! require. Whether a caller is allowed is decided by decision.rs; the file is parsed in settings.

use super::forwarded_request::ForwardedRequest;
use crate::core::account::identity_cache::Identity;
use crate::settings::forward_rules::{Access, ForwardRule, ForwardRules, HostPattern, PathPattern};

/// What a caller's account must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// One role of each list.
    pub roles: Vec<Vec<String>>,
    /// All of these permissions.
    pub permissions: Vec<String>,
}

impl Requirement {
    /// Whether the account has it.
    pub fn is_met_by(&self, identity: &Identity) -> bool {
        self.roles.iter().all(|one_of| one_of.contains(&identity.role))
            && self.permissions.iter().all(|permission| identity.permissions.contains(permission))
    }

    /// Adds another requirement: both must be met.
    pub fn merge(&mut self, other: Self) {
        self.roles.extend(other.roles);
        self.permissions.extend(other.permissions);
    }

    /// Adds what a rule requires.
    fn add(&mut self, roles: &[String], permissions: &[String]) {
        if !roles.is_empty() {
            self.roles.push(roles.to_vec());
        }
        self.permissions.extend_from_slice(permissions);
    }
}

/// The outcome of the rules for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleMatch {
    /// Allowed without signing in.
    Public,
    /// Allowed for a signed-in caller that meets the requirement.
    SignedIn(Requirement),
}

/// The first matching rule decides. If none matches, every signed-in caller is allowed.
pub fn match_rule(rules: &ForwardRules, request: &ForwardedRequest) -> RuleMatch {
    let host = without_port(&request.host);
    let mut of_host = rules.0.iter().filter(|rule| host_matches(&rule.host, host));
    let mut requirement = Requirement::default();
    if is_ambiguous_path(request.path()) {
        for rule in of_host {
            if let Access::SignedIn { roles, permissions } = &rule.access {
                requirement.add(roles, permissions);
            }
        }
        return RuleMatch::SignedIn(requirement);
    }
    match of_host.find(|rule| path_matches(rule, request.path())).map(|rule| &rule.access) {
        Some(Access::Public) => RuleMatch::Public,
        Some(Access::SignedIn { roles, permissions }) => {
            requirement.add(roles, permissions);
            RuleMatch::SignedIn(requirement)
        }
        None => RuleMatch::SignedIn(requirement),
    }
}

fn without_port(host: &str) -> &str {
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(host, |(host, _)| host)
}

fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    // A trailing dot makes no difference to a resolver, but would to a comparison.
    let host = host.trim_end_matches('.');
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(exact) => exact == host,
        HostPattern::Under(parent) => host.strip_suffix(parent.as_str()).is_some_and(|under| under.ends_with('.')),
    }
}

fn path_matches(rule: &ForwardRule, path: &str) -> bool {
    match &rule.path {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Below(above) => {
            path.strip_prefix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// Whether another parser may normalise the path to a different one: because of dot segments, doubled slashes, backslashes,
/// path parameters, percent-encoded separators or unreserved characters, double encoding, or bytes that are invalid in a URL.
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

/// Whether every percent-encoded byte needs the encoding and is no separator, and the decoded path is UTF-8.
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
        let is_plain = byte >= 0x80 || byte == b' ' || b"\"<>^`{|}[]!$&'()*+,:=@".contains(&byte);
        if !is_plain {
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
    use crate::store::AccountUuid;

    fn rules() -> ForwardRules {
        let text = "app.example.com /public/* public\napp.example.com /admin/* role=ADMIN\n\
                    app.example.com /reports/* permission=reports:read\n*.example.com / public\n* /health public";
        ForwardRules::parse(text).unwrap()
    }

    fn matched(host: &str, target: &str) -> RuleMatch {
        let request = ForwardedRequest {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
        };
        match_rule(&rules(), &request)
    }

    fn requirement(roles: &[&str], permissions: &[&str]) -> RuleMatch {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let roles = if roles.is_empty() { Vec::new() } else { vec![texts(roles)] };
        RuleMatch::SignedIn(Requirement { roles, permissions: texts(permissions) })
    }

    #[test]
    fn the_first_matching_rule_decides() {
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
            assert_eq!(matched(host, target), expected, "{host}{target}");
        }
    }

    const AMBIGUOUS_PATHS: [&str; 35] = [
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
    fn an_ambiguous_path_is_never_public_and_requires_what_all_rules_of_its_host_require() {
        for path in AMBIGUOUS_PATHS {
            assert!(is_ambiguous_path(path), "{path:?}");
            assert_eq!(matched("app.example.com", path), requirement(&["ADMIN"], &["reports:read"]), "{path}");
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

    /// Texts made of separators, dots and encodings.
    fn path_like() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/", "/", ".", "..", "a", "b", "%", "%2", "%2f", "%2F", "%2e", "%5c", "%00", "%25", "%20", "%c3", "%a9",
            "%ff", ";", "\\", "?", "#", ":", "@", "~", " ", "\u{e9}", "%41", "public", "admin", "%3b",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        /// The parsers: one that takes the path as it is, one that decodes it, one that decodes it twice, and a browser's.
        #[test]
        fn every_parser_reads_an_unambiguous_path_alike(target in path_like()) {
            let path = target.split(['?', '#']).next().unwrap();
            if is_ambiguous_path(path) {
                return Ok(());
            }
            let in_browser = url::Url::parse(&format!("http://app.example.com{path}")).unwrap();
            prop_assert_eq!(in_browser.path(), path);
            let decoded = percent_decode_str(path).decode_utf8().unwrap();
            let again = percent_decode_str(&decoded).decode_utf8().unwrap();
            prop_assert_eq!(&decoded, &again);
            prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
            prop_assert!(!decoded.contains(['\\', ';', '?', '#', '\0']) && !decoded.contains("//"));
            prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
        }
    }

    #[test]
    fn a_requirement_is_one_role_and_all_permissions() {
        let identity = |role: &str, permissions: &[&str]| Identity {
            account: AccountUuid(uuid::Uuid::from_u128(1)),
            user: String::new(),
            email: String::new(),
            name: String::new(),
            role: role.to_owned(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
        };
        let RuleMatch::SignedIn(requirement) = requirement(&["ADMIN", "EDITOR"], &["a", "b"]) else { panic!() };
        assert!(requirement.is_met_by(&identity("EDITOR", &["b", "a", "c"])));
        assert!(
            !requirement.is_met_by(&identity("USER", &["a", "b"]))
                && !requirement.is_met_by(&identity("ADMIN", &["a"]))
        );
    }
}
