//! Detects misspelt setting names among the environment variables (edit distance): a misspelt setting must not silently keep
//! its default. The names are defined by the clap structs in this folder.

use std::collections::BTreeMap;

use strsim::levenshtein;

use super::secret_files::setting_of_file;
use super::server::mounts::KnownDialect;

/// Settings have no prefix, so a variable with this one is an error.
const PREFIX: &str = "DOORWARD_";

/// A variable of the test suite, not a setting.
const TEST_SUITE: &str = "DOORWARD_TEST_BACKENDS";

/// Variables of other programs whose names are near to ours: what frameworks and container platforms set is no misspelt setting.
const OF_OTHERS: [&str; 12] = [
    "DATABASE_HOST",
    "DATABASE_NAME",
    "DATABASE_PASSWORD",
    "DATABASE_PORT",
    "DATABASE_USER",
    "MAIL_FROM_ADDRESS",
    "MAIL_FROM_NAME",
    "SMTP_HOST",
    "SMTP_PASSWORD",
    "SMTP_PORT",
    "SMTP_TLS",
    "SMTP_USER",
];

/// Names that people expect, and what does it here.
const EXPECTED: [(&str, &str); 6] = [
    ("COOKIE_SECURE", "cookies are Secure with PUBLIC_URL=https://…"),
    ("COOKIE_HTTPONLY", "cookies are always HttpOnly"),
    ("COOKIE_HTTP_ONLY", "cookies are always HttpOnly"),
    ("SECURE_COOKIES", "cookies are Secure with PUBLIC_URL=https://…"),
    ("TRUST_PROXY", "use TRUSTED_PROXIES with the proxies' addresses"),
    ("CORS_ORIGIN_WHITELIST", "use CORS_ORIGINS"),
];

/// An error for each variable that is not a setting and looks like one.
pub fn unknown_names(vars: &BTreeMap<String, String>, names: &[String], known: &[KnownDialect]) -> Vec<String> {
    let of_mounts = |dialect: &KnownDialect| {
        ["ACCESS_TTL", "REFRESH_TTL", "ROTATES"].map(|kind| format!("{}_{kind}", dialect.name.to_uppercase()))
    };
    let all: Vec<String> = names.iter().cloned().chain(known.iter().flat_map(of_mounts)).collect();
    let is_known = |name: &str| all.iter().any(|known| known == name) || setting_of_file(name).is_some();
    let unknown =
        vars.keys().filter(|name| !is_known(name) && *name != TEST_SUITE && !OF_OTHERS.contains(&name.as_str()));
    unknown.filter_map(|name| explain_unknown(name, &all)).collect()
}

fn explain_unknown(name: &str, all: &[String]) -> Option<String> {
    if is_service_variable(name) {
        return None;
    }
    if let Some(rest) = name.strip_prefix(PREFIX) {
        let setting = setting_of_file(rest).map(|_| rest).or_else(|| similar_setting(rest, all).map(String::as_str));
        return Some(match setting {
            Some(setting) => format!("{name}: settings have no prefix; use {setting}"),
            None => format!("{name}: not a setting; `doorward serve --help` lists them"),
        });
    }
    if let Some((_, answer)) = EXPECTED.iter().find(|(expected, _)| *expected == name) {
        return Some(format!("{name}: not a setting; {answer}"));
    }
    if let Some(setting) = name.strip_suffix("_FILE").filter(|setting| all.iter().any(|known| known == setting)) {
        return Some(format!("{name}: only secrets and URLs with passwords are read from files; set {setting}"));
    }
    let setting = similar_setting(name, all).or_else(|| with_other_ending(name, all))?;
    Some(format!("{name}: not a setting; did you mean {setting}?"))
}

/// Variables that Kubernetes makes of each service in a namespace, and Docker of each link: of one that is named `doorward`, or
/// `doorward-metrics`, they begin like settings of old.
fn is_service_variable(name: &str) -> bool {
    let is_protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    let words: Vec<&str> = name.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = words
        .windows(3)
        .any(|three| matches!(three, ["PORT", port, protocol] if is_number(port) && is_protocol(protocol)));
    let is_service = name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    let is_link =
        name.starts_with("DOORWARD_") && (name.ends_with("_PORT") || name.ends_with("_NAME") || name.contains("_ENV_"));
    is_port || is_service || is_link
}

/// The setting within an edit distance of 2. A name of a single word must be closer, and a short one must be exact: an
/// environment is full of short names of other programs.
fn similar_setting<'a>(name: &str, all: &'a [String]) -> Option<&'a String> {
    let max_distance =
        |known: &str| if known.contains('_') { 2 } else { usize::from(known.len() >= 6 && name.len() >= 6) };
    all.iter().find(|known| levenshtein(name, known) <= max_distance(known))
}

/// The setting of which this is another form: the last word differs in its ending (`TRUSTED_PROXY`), or a word is added that says what
/// kind of value it is (`BIND_ADDR`).
fn with_other_ending<'a>(name: &str, all: &'a [String]) -> Option<&'a String> {
    const KINDS: [&str; 8] = ["ADDR", "ADDRESS", "KEY", "PATH", "SECRET", "SECONDS", "URL", "VALUE"];
    const STEM: usize = 4;
    let (start, end) = name.rsplit_once('_')?;
    let is_other_form = |known: &&String| {
        let of_known = known.rsplit_once('_');
        let same_stem = |last: &str| last.get(..STEM).is_some_and(|stem| end.starts_with(stem));
        of_known.is_some_and(|(known_start, last)| known_start == start && same_stem(last))
            || (known.as_str() == start && KINDS.contains(&end))
    };
    all.iter().find(is_other_form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_decides_by_the_shape_of_the_name() {
        let all = ["REFRESH_TTL", "ISSUER", "BIND"].map(str::to_owned);
        let similar = |name| similar_setting(name, &all).map(String::as_str);
        assert_eq!(["REFRESH_TTL", "REFRSH_TLL"].map(similar), [Some("REFRESH_TTL"); 2]);
        assert_eq!(
            ["ISSUER", "ISSUERS", "ISUER", "ISSUE_RS"].map(similar),
            [Some("ISSUER"), Some("ISSUER"), None, None]
        );
        assert_eq!(["BIND", "BINDS", "FIND", "REFRSH_TLS_"].map(similar), [Some("BIND"), None, None, None]);
    }

    fn refused(names: &[&str]) -> Vec<String> {
        let settings: Vec<String> = crate::settings::describe().into_iter().map(|setting| setting.name).collect();
        let vars = names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        unknown_names(&vars, &settings, &[KnownDialect { name: "flat", prefix: "/flat", rotates: true }])
    }

    #[test]
    fn another_form_of_a_setting_is_refused_with_the_setting() {
        for (name, expected) in [
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("BIND_ADDR", "BIND"),
            ("BIND_ADDRESS", "BIND"),
            ("PEPPER_KEY", "PEPPER"),
            ("CORS_ORIGIN", "CORS_ORIGINS"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("COOKIE_SECURE", "PUBLIC_URL=https"),
            ("PUBLIC_URL_FILE", "set PUBLIC_URL"),
            ("DOORWARD_BIND", "use BIND"),
            ("DOORWARD_PEPPER_FILE", "use PEPPER_FILE"),
            ("FLAT_ACCESS_TLL", "FLAT_ACCESS_TTL"),
        ] {
            let errors = refused(&[name]);
            assert!(
                errors.len() == 1 && errors[0].starts_with(name) && errors[0].contains(expected),
                "{name}: {errors:?}"
            );
        }
    }

    /// A service with three ports, two of them named; another one beside it; a link.
    const OF_SERVICES: &str = "DOORWARD_SERVICE_HOST DOORWARD_SERVICE_PORT DOORWARD_SERVICE_PORT_HTTP DOORWARD_SERVICE_PORT_METRICS \
        DOORWARD_PORT DOORWARD_PORT_9154_TCP DOORWARD_PORT_9154_TCP_PROTO DOORWARD_PORT_9154_TCP_PORT \
        DOORWARD_PORT_9154_TCP_ADDR DOORWARD_PORT_9155_TCP_ADDR DOORWARD_PORT_53_UDP \
        DOORWARD_METRICS_SERVICE_HOST DOORWARD_METRICS_PORT_9155_TCP DOORWARD_METRICS_PORT DOORWARD_NAME \
        DOORWARD_ENV_PATH METRICS_SERVICE_PORT DATABASE_SERVICE_HOST BIND_PORT_53_UDP_ADDR";

    /// Shells and systems, frameworks, platforms.
    const OF_OTHER_PROGRAMS: &str = "PATH HOME HOSTNAME HOST PORT LANG LC_ALL TERM SHLVL PWD OLDPWD TZ USER MAIL INVOCATION_ID JOURNAL_STREAM \
        NOTIFY_SOCKET LISTEN_FDS LISTEN_PID STATE_DIRECTORY NODE_ENV RAILS_ENV RACK_ENV SECRET_KEY_BASE \
        DJANGO_SETTINGS_MODULE DJANGO_SECRET_KEY APP_KEY APP_URL DB_HOST DB_PORT DATABASE_HOST DATABASE_PORT \
        REDIS_URL MAIL_HOST MAIL_PORT MAIL_FROM_NAME MAIL_FROM_ADDRESS MAIL_MAILER SMTP_HOST SMTP_PORT \
        SESSION_SECRET SESSION_DRIVER COOKIE_SECRET CACHE_URL PGHOST PGPASSWORD POSTGRES_PASSWORD DYNO \
        WEB_CONCURRENCY GITHUB_ACTIONS GITHUB_TOKEN CI RUNNER_OS KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP \
        AWS_REGION HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE RUST_BACKTRACE JAVA_HOME LOG_LEVEL ACCESS_TOKEN \
        REFRESH_TOKEN API_KEY PUBLIC_KEY JWT_KEY METRICS_PORT METRICS_PATH";

    #[test]
    fn variables_of_other_programs_are_ignored() {
        for names in [OF_SERVICES, OF_OTHER_PROGRAMS] {
            let names: Vec<&str> = names.split_whitespace().collect();
            assert!(names.len() > 15);
            assert_eq!(refused(&names), Vec::<String>::new());
        }
    }
}
