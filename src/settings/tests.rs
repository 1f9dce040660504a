//! Which settings stop a start, and with which messages.

use super::*;

const KNOWN: &[KnownDialect] =
    &[KnownDialect { name: "native", prefix: "/" }, KnownDialect { name: "pin", prefix: "/pin" }];

const KEY: &str = "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6";

fn load(vars: &[(&str, &str)]) -> Result<Settings, String> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::from_vars(&vars, KNOWN).map_err(|errors| errors.to_string())
}

#[test]
fn defaults_are_for_development() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.web.bind.to_string(), "127.0.0.1:9154");
    assert_eq!(settings.keys_file(), PathBuf::from("doorward.keys"));
    assert_eq!(settings.issuer(), "doorward");
    assert_eq!(settings.mounts.len(), 2);
    assert_eq!(settings.security_warnings().len(), 1);
}

#[test]
fn all_errors_are_reported_together() {
    let message = load(&[("BIND", "here"), ("ACCESS_TTL", "soon"), ("JWT_SECRET", "short")]).unwrap_err();
    let names: Vec<&str> = message.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["BIND", "ACCESS_TTL", "JWT_SECRET"], "{message}");
    assert!(message.contains("write seconds (90) or units"), "{message}");
    assert!(!message.contains("error:"), "{message}");
}

#[test]
fn each_conflict_names_its_setting() {
    let https = ("PUBLIC_URL", "https://auth.example.com");
    for (vars, name) in [
        (vec![("COOKIE_PREFIX", "__Host-"), ("COOKIE_DOMAIN", "example.com"), https], "COOKIE_PREFIX"),
        (vec![("COOKIE_PREFIX", "__Host-")], "COOKIE_PREFIX"),
        (vec![("COOKIE_SAME_SITE", "None")], "COOKIE_SAME_SITE"),
        (vec![("COOKIE_DOMAIN", "other.example"), https], "COOKIE_DOMAIN"),
        (vec![("COOKIE_REFRESH_NAME", "accessToken")], "COOKIE_REFRESH_NAME"),
        (vec![("BCRYPT_COST", "4")], "BCRYPT_COST"),
        (vec![("TEST_MODE", "true"), https], "TEST_MODE"),
        (vec![("ACCESS_TTL", "40d")], "ACCESS_TTL"),
        (vec![("REFRESH_GRACE", "5m")], "REFRESH_GRACE"),
        (vec![("DIALECTS", "native=/,pin=/")], "DIALECTS"),
        (vec![("DIALECTS", "nativ")], "DIALECTS"),
        (vec![("DIALECTS", "native=x")], "DIALECTS"),
        (vec![("PIN_ACCESS_TTL", "0")], "PIN_ACCESS_TTL"),
        (vec![("CORS_ORIGINS", "*")], "CORS_ORIGINS"),
        (vec![("DATABASE_URL", "postgres:x")], "DATABASE_URL"),
        (vec![("TOKEN_ALGORITHM", "es256"), ("JWT_SECRET", KEY)], "TOKEN_ALGORITHM"),
        (vec![("TOKEN_ALGORITHM", "none")], "TOKEN_ALGORITHM"),
        (vec![("PASSWORD_MIN_LENGTH", "7")], "PASSWORD_MIN_LENGTH"),
    ] {
        let message = load(&vars).map(|_| ()).unwrap_err();
        assert!(message.starts_with(&format!("{name}: ")) && message.lines().count() == 1, "{vars:?}: {message}");
    }
}

#[test]
fn a_misspelt_setting_is_not_silently_the_default() {
    assert!(load(&[("REFRESH_TLL", "1d")]).unwrap_err().contains("did you mean REFRESH_TTL?"));
    assert!(load(&[("DOORWARD_BIND", "x")]).unwrap_err().contains("use BIND"));
    assert!(load(&[("DOORWARD_COLOUR", "x")]).unwrap_err().contains("not a setting"));
    assert!(load(&[("HOME", "/root"), ("LANG", "C"), ("PATH", "/bin"), ("XDG_DATA", "x"), ("BAND", "x")]).is_ok());
}

#[test]
fn a_mount_has_its_own_lifetimes() {
    let settings = load(&[("DIALECTS", "native=/,pin=/pos/"), ("PIN_ACCESS_TTL", "5")]).unwrap();
    let pin = settings.mounts.iter().find(|mount| mount.dialect == "pin").unwrap();
    assert_eq!((pin.prefix.as_str(), pin.access_ttl), ("/pos", Some(Duration::from_secs(5))));
}

#[test]
fn an_empty_value_counts_as_unset() {
    assert!(load(&[("PUBLIC_URL", ""), ("METRICS_TOKEN", " ")]).is_ok());
}

#[test]
fn an_empty_key_is_an_error() {
    for name in ["JWT_SECRET", "PEPPER"] {
        for empty in ["", " ", "\t"] {
            let message = load(&[(name, empty)]).map(|_| ()).unwrap_err();
            assert!(message.contains(&format!("{name}: the value is empty")), "{message}");
        }
    }
}

#[test]
fn no_secret_shows_in_debug() {
    let shown = format!("{:?}", load(&[("JWT_SECRET", KEY), ("DATABASE_URL", "postgres://u:pw123@h/d")]).unwrap());
    assert!(!shown.contains(KEY) && !shown.contains("pw123"), "{shown}");
}
