//! Parser of the rules file (RULES_FILE): one access rule per line, of host, path and requirement. Which rule a request
//! matches, and which paths are too ambiguous to match any, is decided in web/forward_auth/rules.rs.

use crate::settings::values::InvalidValue;

/// The rules in file order. The first match decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardRules(pub Vec<ForwardRule>);

/// One rule: a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRule {
    /// The hosts it applies to.
    pub host: HostPattern,
    /// The paths it applies to.
    pub path: PathPattern,
    /// The requirement for access.
    pub access: Access,
}

/// `*`, `*.example.com` or a host name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// Every subdomain of this host.
    Under(String),
    /// This host.
    Exact(String),
}

/// `/path` or `/path/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// The path and everything below it. Without a trailing slash.
    Below(String),
    /// This path.
    Exact(String),
}

/// The requirement for access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// None: no sign-in.
    Public,
    /// A signed-in caller with one of the roles, if any are listed, and all of the permissions.
    SignedIn {
        /// At least one is required; empty when any role will do.
        roles: Vec<String>,
        /// All are required.
        permissions: Vec<String>,
    },
}

impl ForwardRules {
    /// Parses the file. An error names its line.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let rule = rule(&words);
            rules.push(rule.map_err(|error| InvalidValue::caused_by(format!("line {}: {error}", number + 1), error))?);
        }
        if rules.is_empty() {
            return Err(InvalidValue::new("no rules found; write lines such as: app.example.com /* signed-in"));
        }
        Ok(Self(rules))
    }
}

fn rule(words: &[&str]) -> Result<ForwardRule, InvalidValue> {
    let [host, path, access @ ..] = words else {
        return Err(InvalidValue::new(
            "the rule is incomplete; write HOST PATH REQUIREMENT, as in app.example.com /admin/* role=ADMIN",
        ));
    };
    Ok(ForwardRule { host: host_pattern(host)?, path: path_pattern(path)?, access: access_requirement(access)? })
}

fn host_pattern(text: &str) -> Result<HostPattern, InvalidValue> {
    let host = text.to_ascii_lowercase();
    let is_plain = |host: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        !host.is_empty() && !host.starts_with('.') && !host.ends_with('.') && host.bytes().all(is_allowed)
    };
    match host.strip_prefix("*.") {
        _ if host == "*" => Ok(HostPattern::Any),
        Some(parent) if is_plain(parent) => Ok(HostPattern::Under(parent.to_owned())),
        None if is_plain(&host) => Ok(HostPattern::Exact(host)),
        _ => Err(InvalidValue::new(format!(
            "{text:?} is not a valid host pattern; write app.example.com, *.example.com or *"
        ))),
    }
}

fn path_pattern(text: &str) -> Result<PathPattern, InvalidValue> {
    let (path, below) = match text.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (text, false),
    };
    let is_rooted = path.starts_with('/') || (below && path.is_empty());
    if !is_rooted || path.contains(['*', '?', '\\', ';', '%']) || path.contains("//") || path.contains("..") {
        return Err(InvalidValue::new(format!(
            "{text:?} is not a valid path pattern; write /exactly/this or /everything/below/*, without %, ? or .."
        )));
    }
    Ok(if below { PathPattern::Below(path.to_owned()) } else { PathPattern::Exact(path.to_owned()) })
}

fn access_requirement(words: &[&str]) -> Result<Access, InvalidValue> {
    let (mut roles, mut permissions) = (Vec::new(), Vec::new());
    match words {
        [] => {
            return Err(InvalidValue::new(
                "the requirement is missing; write public, signed-in, role=ADMIN or permission=reports:read",
            ));
        }
        ["public"] => return Ok(Access::Public),
        ["signed-in"] => {}
        words => {
            for word in words {
                match word.split_once('=') {
                    Some(("role", role)) if !role.is_empty() => roles.push(role.to_owned()),
                    Some(("permission", permission)) if !permission.is_empty() => {
                        permissions.push(permission.to_owned());
                    }
                    _ => {
                        return Err(InvalidValue::new(format!(
                            "{word:?} is not a valid requirement; use public or signed-in alone, or role=… and permission=…"
                        )));
                    }
                }
            }
        }
    }
    Ok(Access::SignedIn { roles, permissions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_host_a_path_and_a_requirement() {
        let text = "# every rule form\n\nApp.example.com /public/* public   # a comment\n*.example.com / signed-in\n\
                    * /admin/* role=ADMIN role=EDITOR permission=x:y\n";
        let rules = ForwardRules::parse(text).unwrap().0;
        let signed_in = |roles: &[&str], permissions: &[&str]| Access::SignedIn {
            roles: roles.iter().map(ToString::to_string).collect(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
        };
        let exact = |host: &str| HostPattern::Exact(host.to_owned());
        let below = |path: &str| PathPattern::Below(path.to_owned());
        assert_eq!(
            rules,
            [
                ForwardRule { host: exact("app.example.com"), path: below("/public"), access: Access::Public },
                ForwardRule {
                    host: HostPattern::Under("example.com".to_owned()),
                    path: PathPattern::Exact("/".to_owned()),
                    access: signed_in(&[], &[]),
                },
                ForwardRule {
                    host: HostPattern::Any,
                    path: below("/admin"),
                    access: signed_in(&["ADMIN", "EDITOR"], &["x:y"]),
                },
            ]
        );
        assert_eq!(path_pattern("/*").unwrap(), below(""));
    }

    #[test]
    fn an_invalid_rule_is_reported_with_its_line() {
        for (text, expected) in [
            ("", "no rules found"),
            ("* / public\n*", "line 2"),
            ("* /", "requirement is missing"),
            ("a_b / public", "not a valid host"),
            ("* x public", "not a valid path"),
            ("* /a%2f public", "not a valid path"),
            ("* /a/../b public", "not a valid path"),
            ("* /*/b public", "not a valid path"),
            ("* /a publik", "not a valid requirement"),
            ("* /a public role=ADMIN", "not a valid requirement"),
            ("* /a role=", "not a valid requirement"),
        ] {
            let message = ForwardRules::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }
}
