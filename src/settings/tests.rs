//! Which settings stop a start, and with which messages.

use super::*;

const KNOWN: &[KnownDialect] = &[
    KnownDialect { name: "native", prefix: "/", rotates: true },
    KnownDialect { name: "pin", prefix: "/pin", rotates: false },
];

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
    // A value that cannot be parsed hides neither a conflict of valid ones nor an unknown name.
    let vars = [("REFRESH_TLL", "1d"), ("WORKERS", "none"), ("DIALECTS", "nativ"), ("CLOCK_SKEW", "5m")];
    let message = load(&vars).unwrap_err();
    let names: Vec<&str> = message.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["REFRESH_TLL", "WORKERS", "DIALECTS", "CLOCK_SKEW"], "{message}");
}

#[test]
fn cookie_warning_says_which_cookies_are_not_secure() {
    let (plain, https) = (("PUBLIC_URL", "http://auth.example.com"), ("PUBLIC_URL", "https://auth.example.com"));
    let (proxies, signup) = (("TRUSTED_PROXIES", "127.0.0.1"), ("SIGNUP", "false"));
    let none = "cookies are not Secure; set PUBLIC_URL=https://…";
    let some = "cookies are Secure only where a trusted proxy sends X-Forwarded-Proto: https; set PUBLIC_URL=https://…";
    for (vars, expected) in [
        (vec![], vec![none]),
        (vec![plain], vec![none]),
        (vec![proxies, signup], vec![some]),
        (vec![plain, proxies, signup], vec![some]),
        (vec![https, proxies, signup], vec![]),
    ] {
        assert_eq!(load(&vars).unwrap().security_warnings(), expected, "{vars:?}");
    }
}

#[test]
fn a_number_outside_of_its_range_is_refused_with_the_range() {
    for (name, (least, most)) in [
        ("BCRYPT_COST", (4, 31)),
        ("PASSWORD_MIN_LENGTH", (8, 64)),
        ("HASH_THREADS", (1, 256)),
        ("HASH_QUEUE", (1, 10_000)),
        ("WORKERS", (1, 256)),
        ("MAX_CONNECTIONS", (1, 1_000_000)),
        ("DATABASE_CONNECTIONS", (1, 256)),
    ] {
        for value in
            ["twelve", "-1", "1.5", "1e1", "99999999999999999999", &format!("{}", least - 1), &format!("{}", most + 1)]
        {
            let message = load(&[(name, value)]).map(|_| ()).unwrap_err();
            let expected = format!("{name}: {value:?} is not valid; write a whole number from {least} to {most}");
            assert_eq!(message, expected);
        }
        let allowed = [("TEST_MODE", "true"), (name, &*most.to_string())];
        assert!(load(&allowed).is_ok(), "{name}={most}");
    }
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
        (vec![("REFRESH_GRACE", "5m"), ("REFRESH_LOST_AFTER", "5m")], "REFRESH_GRACE"),
        (vec![("REFRESH_LOST_AFTER", "29s")], "REFRESH_LOST_AFTER"),
        (vec![("REFRESH_LOST_AFTER", "11m")], "REFRESH_LOST_AFTER"),
        (vec![("DIALECTS", "native=/,pin=/")], "DIALECTS"),
        (vec![("DIALECTS", "nativ")], "DIALECTS"),
        (vec![("DIALECTS", "native=x")], "DIALECTS"),
        (vec![("PIN_ACCESS_TTL", "0")], "PIN_ACCESS_TTL"),
        (vec![("PIN_ROTATES", "true")], "PIN_ROTATES"),
        (vec![("NATIVE_ROTATES", "never")], "NATIVE_ROTATES"),
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
fn a_mount_rotates_unless_its_setting_or_its_contract_says_otherwise() {
    let rotates = |vars: &[(&'static str, &'static str)]| {
        load(vars).unwrap().mounts.iter().map(|mount| mount.rotates).collect::<Vec<_>>()
    };
    assert_eq!(rotates(&[]), [true, false]);
    assert_eq!(rotates(&[("NATIVE_ROTATES", "false"), ("PIN_ROTATES", "no")]), [false, false]);
    assert_eq!(rotates(&[("NATIVE_ROTATES", "true"), ("PIN_ROTATES", " ")]), [true, false]);
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

#[test]
fn signup_has_no_default_with_forward_auth() {
    let rules = std::env::temp_dir().join(format!("doorward-rules-{}", std::process::id()));
    std::fs::write(&rules, "*  /health  public\n").unwrap();
    let rules = rules.display().to_string();
    let proxies = ("TRUSTED_PROXIES", "127.0.0.1");
    for in_use in [&[proxies][..], &[("VERIFY_RENEW", "true")], &[proxies, ("RULES_FILE", &rules)]] {
        let undecided = load(in_use).map(|_| ()).unwrap_err();
        assert!(undecided.starts_with("SIGNUP: ") && undecided.lines().count() == 1, "{in_use:?}: {undecided}");
        for (decided, expected) in [("false", false), ("true", true)] {
            let settings = load(&[in_use, &[("SIGNUP", decided)]].concat()).unwrap();
            assert_eq!(settings.passwords.allows_signup(), expected, "{in_use:?}");
        }
    }
    std::fs::remove_file(&rules).unwrap();
    for not_in_use in [&[][..], &[("VERIFY_RENEW", "false")], &[("FORWARDED_HEADERS", "envoy")], &[("SIGNUP", "")]] {
        assert!(load(not_in_use).unwrap().passwords.allows_signup(), "{not_in_use:?}");
    }
}

#[test]
fn every_list_takes_blanks_line_breaks_and_a_comma_at_the_end() {
    for (one, other) in [("127.0.0.1", "10.0.0.0/8"), ("::1", "fd00::/8")] {
        for list in [
            format!("{one},{other}"),
            format!("{one}, {other}"),
            format!(" {one} ,\t{other} , "),
            format!("\n  {one},\n  {other},\n"),
            format!("{one}\r\n{other}\r\n"),
        ] {
            let settings = load(&[("TRUSTED_PROXIES", &list), ("SIGNUP", "false")]).unwrap();
            let networks: Vec<String> = settings.web.trusted_proxies.iter().map(ToString::to_string).collect();
            assert!(networks.len() == 2 && networks[1] == other, "{list:?}: {networks:?}");
        }
    }
    let settings = load(&[
        ("DIALECTS", " native = /, \n pin = /pos/ ,"),
        ("CORS_ORIGINS", "https://a.example,\n https://b.example,\n"),
        ("REDIRECT_HOSTS", "a.example , b.example ,"),
        ("RESERVED_NAMES", "Admin , help desk\nroot,"),
    ]);
    let settings = settings.unwrap();
    let prefixes: Vec<&str> = settings.mounts.iter().map(|mount| mount.prefix.as_str()).collect();
    let hosts: Vec<&str> = settings.pages.redirect_hosts.iter().map(RedirectHost::as_str).collect();
    assert_eq!((prefixes, hosts), (vec!["/", "/pos"], vec!["a.example", "b.example"]));
    assert_eq!(settings.web.cors_origins.len(), 2);
    assert_eq!(settings.passwords.reserved_names, ["Admin", "help desk", "root"]);
    let lists = Settings::command().get_arguments().filter(|argument| is_list(argument)).count();
    assert_eq!(lists, 5, "this test knows every list");
}

#[test]
fn reserved_names_have_a_default_and_an_empty_value_reserves_none() {
    let reserved = |vars: &[(&str, &str)]| load(vars).unwrap().passwords.reserved_names;
    let default = reserved(&[]);
    for name in ["admin", "root", "postmaster", "hostmaster", "webmaster", "abuse", "security", "support", "system"] {
        assert!(default.iter().any(|reserved| reserved == name), "{name}");
    }
    for empty in ["", " ", ",", "\n"] {
        assert!(reserved(&[("RESERVED_NAMES", empty)]).iter().all(String::is_empty), "{empty:?}");
    }
    assert_eq!(reserved(&[("RESERVED_NAMES", "boss")]), ["boss"]);
}
