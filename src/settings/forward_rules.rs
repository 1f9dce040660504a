//! How rules for proxied paths are written: a line each, host, path, who may pass. Which rule a request meets, and which
//! paths are too odd to meet any, is web/forward_auth/rules.rs's.

/// The rules in their order; the first that fits decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardRules(pub Vec<ForwardRule>);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRule {
    /// Which hosts it speaks of.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Who may pass.
    pub access: Access,
}

/// `*`, `*.example.com` or a host's name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// Every host under this one.
    Under(String),
    /// This one.
    Exact(String),
}

/// `/path` or `/path/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// The path and all that is below it. Without its last slash.
    Below(String),
    /// This one.
    Exact(String),
}

/// Who may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A signed-in caller with one of these roles, if there are any, and all of these permissions.
    SignedIn {
        /// One of them is needed.
        roles: Vec<String>,
        /// All of them are.
        permissions: Vec<String>,
    },
}

impl ForwardRules {
    /// Reads them. What is wrong is said with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            rules.push(rule(&words).map_err(|why| format!("line {}: {why}", number + 1))?);
        }
        if rules.is_empty() { Err("it holds no rule; write: HOST PATH public".to_owned()) } else { Ok(Self(rules)) }
    }
}

fn rule(words: &[&str]) -> Result<ForwardRule, String> {
    let [host, path, access @ ..] = words else {
        return Err("write HOST PATH and who may pass: app.example.com /admin/* role=ADMIN".to_owned());
    };
    Ok(ForwardRule { host: host_pattern(host)?, path: path_pattern(path)?, access: who(access)? })
}

fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let host = text.to_ascii_lowercase();
    let plain = |host: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        !host.is_empty() && !host.starts_with('.') && !host.ends_with('.') && host.bytes().all(fits)
    };
    match host.strip_prefix("*.") {
        _ if host == "*" => Ok(HostPattern::Any),
        Some(parent) if plain(parent) => Ok(HostPattern::Under(parent.to_owned())),
        None if plain(&host) => Ok(HostPattern::Exact(host)),
        _ => Err(format!("{text:?} is no host; write app.example.com, *.example.com or *")),
    }
}

fn path_pattern(text: &str) -> Result<PathPattern, String> {
    let (path, below) = match text.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (text, false),
    };
    let rooted = path.starts_with('/') || (below && path.is_empty());
    if !rooted || path.contains(['*', '?', '\\', ';', '%']) || path.contains("//") || path.contains("..") {
        return Err(format!("{text:?} is no path; write /exactly/this or /all/below/*, without %, ? or .."));
    }
    Ok(if below { PathPattern::Below(path.to_owned()) } else { PathPattern::Exact(path.to_owned()) })
}

fn who(words: &[&str]) -> Result<Access, String> {
    let (mut roles, mut permissions) = (Vec::new(), Vec::new());
    match words {
        [] => return Err("who may pass? public, signed-in, role=ADMIN or permission=reports:read".to_owned()),
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
                        return Err(format!(
                            "{word:?} names nobody; use public or signed-in alone, or role=… and permission=…"
                        ));
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
    fn a_line_is_a_host_a_path_and_who_may_pass() {
        let text = "# all of it\n\nApp.example.com /public/* public   # to see\n*.example.com / signed-in\n\
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
        assert_eq!(path_pattern("/*"), Ok(below("")));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, place) in [
            ("", "no rule"),
            ("* / public\n*", "line 2"),
            ("* /", "who may pass"),
            ("a_b / public", "no host"),
            ("* x public", "no path"),
            ("* /a%2f public", "no path"),
            ("* /a/../b public", "no path"),
            ("* /*/b public", "no path"),
            ("* /a publik", "names nobody"),
            ("* /a public role=ADMIN", "names nobody"),
            ("* /a role=", "names nobody"),
        ] {
            let told = ForwardRules::parse(text).unwrap_err();
            assert!(told.contains(place), "{text:?}: {told}");
        }
    }
}
