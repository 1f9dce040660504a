//! Known answers of the forms that are no PHC strings: made by passlib, Django, Werkzeug, better-auth and bcrypt, or published by
//! the vendor; and texts that are none of them.

use super::*;

const KNOWN: [(&str, &str); 19] = [
    (
        "sha512crypt",
        "$6$JWe3VQHxRCy8MMIu$hZFmHidLdNMt2yepO7yiKSWHFxyYkuGV04Tce1QYJJq6a8xbsubVZ4DaolTfaAJXbpqC7g7eXIp8YqMYjaDfC0",
    ),
    (
        "sha512crypt, rounds",
        "$6$rounds=1000$TqDBhg8Kw23LqOGa$qis96/XUKzjJVMIBxafxvrY0M4nRFdDU1FsnJouBYjG2Ypmf.dgPSlxElBOVCZ297m7ZeEPQY4KwSpx4JUs6U/",
    ),
    ("sha256crypt", "$5$rounds=1200$dOucVopxR9PeuPY.$ZgX4aFM8cje/.7GzBVOVfGY7/vTkRJge1iixFjNnXQ3"),
    ("md5crypt", "$1$ASHxwf/7$8Cscl24kddMqgJgl5DL1I0"),
    ("apr1", "$apr1$x3QufFA8$k3syxvf6w6mQouRXcRkqT1"),
    ("{SHA}", "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="),
    ("{SSHA}", "{SSHA}2Lz3fqG8+1bbL8yY1lAuPVDxjjiXco6R"),
    ("Spring's bcrypt", "{bcrypt}$2a$04$82BBAIQW7uyZITkPmrEXGeDompi2KzhnC7Z97nKYtoqPL6R2kMxDK"),
    ("phpass", "$P$5qs0XWdANnJZdCVW8s/CCwkz2h0a2m1"),
    ("phpass of phpBB", "$H$6HjUgVDKxvQpCHXobGLOB7nydf5yBa1"),
    ("WordPress", "$wp$2y$04$nRJG3rSCREQRWcuE/f67ju4yXMJ2k.VV6d.9PXHFlsOkRrkfChEpy"),
    (
        "Werkzeug's scrypt",
        "scrypt:1024:8:1$gysuTVJdJTypmoIM$05d6aee2634a211890019f094ebba7964dfebaba69c4989deb8982618423c6343db6af149ed438b7728c0dfbd05fe11c377609796427ebfa335c1458d6f7aca4",
    ),
    (
        "Werkzeug's PBKDF2",
        "pbkdf2:sha256:1000$hv4YXAbSWZFlBRFE$7de2636fec296bf36215db189a36e30e9fc89eb24786850ad58099a8a1088bc3",
    ),
    ("Django's bcrypt_sha256", "bcrypt_sha256$$2b$04$4HBUoKsPE7OM.A9qniYwYO5nBiTsiH.b9yQzei.5jwVuKTNeBYaje"),
    (
        "Devise with a pepper",
        "bcrypt-suffixed$cGVwcGVyLW9mLXRoZS1hcHA$$2a$04$ld9lhSrDWXyGhpEugn/aoOqk..lt/kRewruYp/6gGkHvUSfDMthoO",
    ),
    ("ASP.NET Identity v2", "AAABAgMEBQYHCAkKCwwNDg+d2FbDdriytxO2vgdAVMuIpGVW4BGF6o0NJn8znGUhaQ=="),
    ("ASP.NET Identity v3", "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg/lFQcOA1On2wE5YZhLh7q7ntzP9Krf9NCBoM//wxbovw=="),
    (
        "ASP.NET Identity v3, SHA-512",
        "AQAAAAIAAAPoAAAAEAABAgMEBQYHCAkKCwwNDg9enHTtaNXHi8Ii+uYFGPy46hVW0aomq1S/YnluGLNJCw==",
    ),
    (
        "better-auth",
        "0774b50a04f7de16dec9935d6318fc0f:9cb8cd0ab1ada9ba427e3f04e1768f930340eb7683eaf12dcf7b1fa7bc7ddb165650f552563191a1d4a1600033192a367f44295af67ab0562349cebfb9075992",
    ),
];

fn verifies(hash: &str, password: &str) -> bool {
    ImportedHash::parse(hash).unwrap_or_else(|rule| panic!("{hash}: {rule:?}")).verify(&Secret::new(password))
}

#[test]
fn vendor_forms_verify_their_password_alone() {
    for (name, hash) in KNOWN {
        assert!(verifies(hash, "correct horse"), "{name}");
        for wrong in ["correct hors", "Correct horse", "correct horsepepper", ""] {
            assert!(!verifies(hash, wrong), "{name}: {wrong:?}");
        }
        let stored = ImportedHash::parse(hash).unwrap().stored();
        assert!(ImportedHash::from_stored(&stored).unwrap().verify(&Secret::new("correct horse")), "{name}: as stored");
    }
}

/// Google's sample for the scrypt of Firebase, and the samples in the tests of ASP.NET Identity.
#[test]
fn vendor_forms_verify_published_samples() {
    let key = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";
    let hash = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
    let firebase = format!("firebase-scrypt$8$14${key}$Bw==$42xEC+ixf3L2lw==${hash}");
    assert!(verifies(&firebase, "user1password") && !verifies(&firebase, "user1passwore"));
    for hash in [
        "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==",
        "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
    ] {
        assert!(verifies(hash, "my password") && !verifies(hash, "my passwor"), "{hash}");
    }
    // Of openssl passwd.
    for hash in [
        "$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/",
        "$6$saltstring$.r0X7ub5wGR2v4Xz7svCIozfnlorFh19V89t8KC9Umd81uGhFgsyTRNyzQDXDIm17fFcR9z3z7oBNdsyYBbtm/",
    ] {
        assert!(verifies(hash, "correct horse"), "{hash}");
    }
    let argon2 = "$argon2id$v=19$m=64,t=1,p=2$tKDW+5HDjBvWMHtn6UnmNw$u6d1tj8HLTcoEFfAH+9b/+kihkiWNKkPtDwuUdcbBk4";
    for prefix in ["{argon2}", "{argon2@SpringSecurity_v5_8}"] {
        assert!(verifies(&format!("{prefix}{argon2}"), "correct horse"), "Spring's {prefix}");
    }
    assert!(verifies("$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", "test12345"), "of phpass's own test");
}

#[test]
fn vendor_forms_normalise_as_the_vendor_does() {
    // hash of the composed form of "cafe\u{301}": better-auth normalises to NFKC, WordPress trims.
    let (_, wordpress) = KNOWN.iter().find(|(name, _)| *name == "WordPress").unwrap();
    assert!(verifies(wordpress, " correct horse\n"));
    let (_, django) = KNOWN.iter().find(|(name, _)| name.starts_with("Django")).unwrap();
    assert!(!verifies(django, " correct horse"));
}

#[test]
fn texts_that_are_no_hash_are_refused() {
    for text in [
        "",
        "$1$",
        "$1$salt$",
        "$1$salt$8Cscl24kddMqgJgl5DL1I",
        "$1$toolongsalt$8Cscl24kddMqgJgl5DL1I0",
        "$apr1$x3QufFA8$k3syxvf6w6mQouRXcRkq:1",
        "$5$rounds=999$salt$ZgX4aFM8cje/.7GzBVOVfGY7/vTkRJge1iixFjNnXQ3",
        "$5$rounds=x$salt$ZgX4aFM8cje/.7GzBVOVfGY7/vTkRJge1iixFjNnXQ3",
        "$6$salt$tooshort",
        "$P$5qs0XWdANnJZdCVW8s/CCwkz2h0a2m",
        "$P$.qs0XWdANnJZdCVW8s/CCwkz2h0a2m1",
        "$P$zqs0XWdANnJZdCVW8s/CCwkz2h0a2m1",
        "{SHA}L55TUjtiq8FBorTWAZ0jy6g129",
        "{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
        "{SHA}2Lz3fqG8+1bbL8yY1lAuPVDxjjiXco6R",
        "{MD5}L55TUjtiq8FBorTWAZ0jyw==",
        "{bcrypt}",
        "{bcrypt}plain",
        "{noop}correct horse",
        "$wp$plain",
        "scrypt:1023:8:1$salt$00112233445566778899aabbccddeeff",
        "pbkdf2:md5:1000$salt$00112233445566778899aabbccddeeff",
        "pbkdf2:sha256:1000$salt$0011223344",
        "0774b50a04f7de16dec9935d6318fc0f:9cb8",
        "AAABAgMEBQYHCAkKCwwNDg8=",
        "AQAAAAkAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
        "AQAAAAEAACcQ/////wABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
        "firebase-scrypt$8$14$$Bw==$42xEC+ixf3L2lw==$lSrf",
        "correct horse",
        "hunter2",
        "a:b",
    ] {
        assert_eq!(ImportedHash::parse(text).err(), Some(FieldRule::UnknownHashFormat), "{text}");
    }
}

#[test]
fn expensive_vendor_forms_are_refused_by_their_cost() {
    for text in [
        "$6$rounds=1000001$salt$hZFmHidLdNMt2yepO7yiKSWHFxyYkuGV04Tce1QYJJq6a8xbsubVZ4DaolTfaAJXbpqC7g7eXIp8YqMYjaDfC0",
        "$P$Jqs0XWdANnJZdCVW8s/CCwkz2h0a2m1",
        "scrypt:1048576:8:16$salt$00112233445566778899aabbccddeeff",
        "pbkdf2:sha256:5000001$salt$00112233445566778899aabbccddeeff",
        "$wp$2y$17$nRJG3rSCREQRWcuE/f67ju4yXMJ2k.VV6d.9PXHFlsOkRrkfChEpy",
        "AQAAAAF/////AAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
    ] {
        assert_eq!(ImportedHash::parse(text).err(), Some(FieldRule::HashTooExpensive), "{text}");
    }
}
