//! Known answers: hashes of one password by Python's bcrypt, argon2-cffi, passlib, hashlib and Django 5.2, the test vectors
//! of the specifications, and the formats and costs that are refused.

use super::*;
use crate::core::credential::password::{Hasher, Pepper, SecretCheck};
use crate::secret::MacKey;
use std::time::{Duration, Instant};

const KNOWN_PASSWORD: &str = "correct horse";

const KNOWN: [(&str, &str); 19] = [
    ("bcrypt, 2b", "$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2"),
    ("bcrypt, 2a", "$2a$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2"),
    ("bcrypt, 2y", "$2y$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2"),
    ("Django's bcrypt", "bcrypt$$2b$04$HEerVNnyamyLxXxY9ASvQuOHqZ6N9XyA9EueHpHZqzkhhrblbKVJK"),
    ("argon2id", "$argon2id$v=19$m=64,t=1,p=2$tKDW+5HDjBvWMHtn6UnmNw$u6d1tj8HLTcoEFfAH+9b/+kihkiWNKkPtDwuUdcbBk4"),
    ("argon2i", "$argon2i$v=19$m=64,t=2,p=1$F3LOMo6Ddg+lGxUj8lCNKg$XJauIjnoisV7hzkCAESP0BDJ7QYdlUEirqrm/ZJSa4Y"),
    ("argon2i, version 16", "$argon2i$v=16$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF"),
    ("argon2i, version 16 by default", "$argon2i$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF"),
    (
        "Django's argon2",
        "argon2$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0MTIzNA$tp5nQ7CZw1YdsTZ2DUssx5VmN0Y7dNAozQkVpFUQoKw",
    ),
    ("Django's PBKDF2", "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso="),
    ("Django's PBKDF2 with SHA-1", "pbkdf2_sha1$1000$seasalt$iQvkNOF1wEL4Khh8eogJ8rUhipM="),
    ("passlib's PBKDF2", "$pbkdf2-sha256$1000$y7l3jvG.txYixPjf2/t/zw$8U7HLgERXJ75vYqpgKeeez3hon0PcOAOzfIMPLqoP0w"),
    (
        "passlib's PBKDF2 with dots",
        "$pbkdf2-sha256$1000$.//..//..//..//..//.$xsUAWOy4pMjztPR3M/vJ9sFqMPAPw00yl.YkX9LtKvs",
    ),
    (
        "passlib's PBKDF2 with SHA-512",
        "$pbkdf2-sha512$1000$yrm3FsI4Z2zt3TuHkFKq9Q$CUtem2vB/scVArUXslIybsKDmK9P0OCqxjPatChMFMCasCJrNpLx0GRphOo8ugDaOtgWaddT/S/HNX5qUwIjNQ",
    ),
    ("passlib's PBKDF2 with SHA-1", "$pbkdf2$1000$HEOoFQKAMEYIYazVOkcI4Q$7by257ZJjbHo7YOmwxYhOET8fyk"),
    ("PHC PBKDF2", "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M"),
    (
        "Django's scrypt",
        "scrypt$64$seasalt$8$2$vsF1MWQL1vJXDApgjYRuO8AWAYXwebFmaDKkcOnQQf7zn2oP4lknTRsNFXwA+xnT6V6NhveCgCif59+5/Im0rw==",
    ),
    ("passlib's scrypt", "$scrypt$ln=6,r=8,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0"),
    ("PHC scrypt, r 4, p 3", "$scrypt$ln=6,r=4,p=3$MDEyMzQ1Njc4OWFiY2RlZg$QOtp2NimbQZA+wwgIKZuGK7BLC57zacR0W8ECBjCNSA"),
];

fn verifies(hash: &str, password: &str) -> bool {
    ImportedHash::parse(hash).unwrap_or_else(|rule| panic!("{hash}: {rule:?}")).verify(&Secret::new(password))
}

#[test]
fn imported_hash_of_every_scheme_verifies_its_password_alone() {
    for (name, hash) in KNOWN {
        assert!(verifies(hash, KNOWN_PASSWORD), "{name}");
        for wrong in ["correct hors", "Correct horse", "correct horse ", ""] {
            assert!(!verifies(hash, wrong), "{name}: {wrong:?}");
        }
    }
}

#[test]
fn imported_hash_verifies_test_vectors_of_the_specifications() {
    // RFC 7914 sections 12 and 11, RFC 6070's second, crypt_blowfish's first.
    for (hash, password) in [
        (
            "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
            "password",
        ),
        (
            "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
            "pleaseletmein",
        ),
        (
            "$pbkdf2-sha256$i=1,l=64$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8Xm2RZkWZLOdd+8xfHG4RbHjC9UJESBB06GXgw",
            "passwd",
        ),
        ("$pbkdf2$2$c2FsdA$6mwBTcctb4zNHtkqzh1B8NjeiVc", "password"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    ] {
        assert_eq!(ImportedHash::parse(hash).map(|hash| hash.verify(&Secret::new(password))), Ok(true), "{hash}");
    }
}

#[test]
fn imported_bcrypt_reads_72_bytes_and_stops_at_nul() {
    let long = "$2b$04$M84C77.KhaphXmwr3lqBQe0zGjCBkiXsnf.GGGbEayNOfKcRasnva";
    assert!(verifies(long, &"x".repeat(72)) && verifies(long, &("x".repeat(72) + "and more")));
    assert!(!verifies(long, &"x".repeat(71)));
    let short = "$2b$04$0TjHM/.lrnSsJnbGc0lc7uzvdZLb7vboNPqK8daMaF4TQVgku8FEm";
    assert!(verifies(short, "before") && verifies(short, "before\0after"));
    assert!(!verifies(short, "after\0before") && !verifies(short, "\0before"));
    let empty = "$2b$04$vKHEWVvhE76JD4dwy0BD2ODn7tHGuisZMyXsC0RHfzK1RJZg7aCLm";
    assert!(verifies(empty, "") && !verifies(empty, "\0anything"), "a leading NUL does not verify an empty password");
}

#[test]
fn imported_bcrypt_ignores_stray_bits_of_the_salt() {
    let (_, hash) = KNOWN[0];
    let at = 7 + 21;
    let stray: String = hash.chars().enumerate().map(|(i, c)| if i == at { next(c) } else { c }).collect();
    assert!(stray != hash && verifies(&stray, KNOWN_PASSWORD) && !verifies(&stray, "another"));
}

/// The next character of bcrypt's alphabet: it differs only in the lowest bits, which are zero in a canonical salt.
fn next(c: char) -> char {
    match c {
        '.' => '/',
        'O' => 'P',
        'e' => 'f',
        'u' => 'v',
        other => panic!("{other} does not end a canonical salt"),
    }
}

#[test]
fn imported_hash_verifies_a_password_in_nfc_and_as_entered() {
    let decomposed = "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$YSdJA43qKl+MO2jsxUO9Yd7hMLPE1OHkYpP6mNhG/Ik";
    let composed = "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$xdYiNU+f1xgi9hZ9+kpin0wH5LgyBdYoe728dl6Zf6Q";
    assert!(verifies(composed, "caf\u{e9} noir") && verifies(composed, "cafe\u{301} noir"));
    assert!(verifies(decomposed, "cafe\u{301} noir") && !verifies(decomposed, "caf\u{e9} noir"));
}

#[test]
fn imported_hash_of_too_high_cost_is_refused_before_derivation() {
    let began = Instant::now();
    for hash in [
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=262145,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=262144,t=5,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2i$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$pbkdf2-sha256$i=5000001$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M",
        "pbkdf2_sha256$4294967295$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "$scrypt$ln=20,r=8,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$scrypt$ln=63,r=4294967295,p=4294967295$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$scrypt$ln=255,r=8,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$scrypt$ln=1,r=1,p=4194304$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$scrypt$ln=14,r=8,p=65$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$2b$17$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
        "$2b$31$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
    ] {
        assert_eq!(ImportedHash::parse(hash).err(), Some(FieldRule::HashTooExpensive), "{hash}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn imported_hash_of_unknown_format_is_refused() {
    let long = format!("pbkdf2_sha256$1000${}$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=", "s".repeat(500));
    for text in [
        "",
        "correct horse",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
        "$2x$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
        "$2$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
        "$2b$03$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD",
        "$2b$-4$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
        "$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHB!2",
        "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=20$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=64,t=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=64,t=1,p=1,keyid=AA$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYz",
        "$argon2id$v=19$m=64,t=1,p=1$c2Fs$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "pbkdf2_sha256$0$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "pbkdf2_sha256$+9$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "pbkdf2_sha256$1000$$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "pbkdf2_sha256$1000$seasalt$mQnueSak",
        "pbkdf2_md5$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "$pbkdf2-sha256$i=1000,l=16$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M",
        "scrypt$65$seasalt$8$2$vsF1MWQL1vJXDApgjYRuO8AWAYXwebFmaDKkcOnQQf7zn2oP4lknTRsNFXwA+xnT6V6NhveCgCif59+5/Im0rw==",
        "$scrypt$ln=0,r=8,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$scrypt$ln=6,r=0,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "hmac-bcrypt:p1:$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
        "imported:$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
        "$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD\u{e9}",
        &long,
    ] {
        assert_eq!(ImportedHash::parse(text).err(), Some(FieldRule::UnknownHashFormat), "{text}");
    }
}

#[test]
fn an_imported_hash_is_stored_verbatim_and_outdated_when_it_verifies() {
    let pepper = Pepper { id: "p1".to_owned(), key: MacKey::new(b"a pepper for tests, 32 bytes long") };
    let hasher = Hasher::new(pepper, 4);
    for (name, hash) in KNOWN {
        let stored = ImportedHash::parse(hash).unwrap().stored();
        assert_eq!(stored, format!("imported:{hash}"));
        assert_eq!(hasher.check(&Secret::new(KNOWN_PASSWORD), Some(&stored)), SecretCheck::MatchOutdated, "{name}");
        assert_eq!(hasher.check(&Secret::new("another"), Some(&stored)), SecretCheck::Mismatch, "{name}");
        assert_eq!(hasher.check(&Secret::new(KNOWN_PASSWORD), Some(hash)), SecretCheck::Mismatch, "without the prefix");
    }
}

/// Hashes at the bounds: first all the memory and a part of the time, then, with DOORWARD_SOAK, all the time.
const MOST_EXPENSIVE: [[&str; 2]; 3] = [
    [
        "$argon2id$v=19$m=262144,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=262144,t=4,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
    ],
    [
        "$scrypt$ln=17,r=8,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "$scrypt$ln=17,r=8,p=8$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
    ],
    [
        "$pbkdf2-sha512$500000$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M",
        "$pbkdf2-sha512$5000000$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M",
    ],
];

#[test]
#[expect(clippy::print_stderr, reason = "the duration is the result")]
fn imported_hashes_of_the_highest_allowed_cost_finish() {
    #[expect(clippy::disallowed_methods, reason = "the test suite's own setting")]
    let soak = std::env::var("DOORWARD_SOAK").is_ok();
    for [part, whole] in MOST_EXPENSIVE {
        let (began, hash) = (Instant::now(), if soak { whole } else { part });
        assert!(!verifies(hash, KNOWN_PASSWORD) && ImportedHash::parse(whole).is_ok());
        let took = began.elapsed();
        eprintln!("{hash}: {took:?}");
        assert!(took < Duration::from_secs(60), "{hash}: {took:?}");
    }
}
