//! Exports of other systems, as their documentation shows them: who is added with which fields, and that the password of each
//! signs in. The hashes were made by passlib, Django, Werkzeug and Node, or are the vendor's own samples.

use serde_json::{Value, json};

use super::{PASSWORD, Workspace, status};
use crate::support::process::CommandOutput;
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    a_keycloak_export_is_imported,
    an_auth0_export_is_imported,
    a_firebase_export_is_imported_with_its_hash_config,
    a_supabase_table_is_imported_from_csv_and_json,
    a_django_dump_is_imported,
    a_devise_table_needs_its_pepper_or_the_word_that_there_is_none,
    a_better_auth_table_is_imported,
    a_password_file_of_apache_is_imported,
    an_ambrosia_table_is_imported_with_its_pins,
    every_hash_scheme_of_a_vendor_signs_in_and_is_rehashed,
    a_file_of_another_format_is_refused_with_the_place,
);

const BCRYPT: &str = "$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2";
const PBKDF2: &str = "mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=";

/// Imports a file of this content.
fn import(workspace: &Workspace, format: &str, content: &str, arguments: &[&str]) -> CommandOutput {
    std::fs::write(workspace.workdir.file("export"), content).unwrap();
    workspace.workdir.run(&[&["import", "export", "--format", format], arguments].concat())
}

fn imported(workspace: &Workspace, format: &str, content: &str, arguments: &[&str]) -> String {
    let ran = import(workspace, format, content, arguments);
    assert!(ran.status.success(), "{ran:?}");
    ran.stdout
}

/// An account as `account show --json` prints it.
fn account(workspace: &Workspace, which: &str) -> Value {
    serde_json::from_str(&workspace.workdir.succeed(&["account", "show", which, "--json"], "")).unwrap()
}

#[track_caller]
fn assert_fields(account: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&account[field], value, "{field} of {account}");
    }
}

fn a_keycloak_export_is_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let argon2 = json!({ "hashIterations": 1, "algorithm": "argon2", "additionalParameters": {
        "hashLength": ["32"], "memory": ["64"], "type": ["id"], "version": ["1.3"], "parallelism": ["2"] } });
    let realm = json!({ "realm": "shop", "enabled": true, "roles": { "realm": [{ "name": "admin" }] }, "users": [
        {
            "id": "8a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d11", "createdTimestamp": 1_709_280_000_123_i64, "username": "emily",
            "enabled": true, "totp": false, "emailVerified": true, "firstName": "Emily", "lastName": "Johnson",
            "email": "emily@mail.example", "attributes": { "locale": ["en"] }, "requiredActions": ["UPDATE_PASSWORD"],
            "credentials": [
                { "type": "otp", "secretData": "{}", "credentialData": "{}" },
                { "type": "password", "secretData": format!("{{\"value\":\"{PBKDF2}\",\"salt\":\"c2Vhc2FsdA==\",\"additionalParameters\":{{}}}}"),
                  "credentialData": "{\"hashIterations\":1000,\"algorithm\":\"pbkdf2-sha256\",\"additionalParameters\":{}}" }
            ],
            "realmRoles": ["default-roles-shop"], "groups": []
        },
        {
            "username": "bob@mail.example", "email": "bob@mail.example", "enabled": false,
            "credentials": [{ "type": "password",
                "secretData": "{\"value\":\"u6d1tj8HLTcoEFfAH+9b/+kihkiWNKkPtDwuUdcbBk4=\",\"salt\":\"tKDW+5HDjBvWMHtn6UnmNw==\"}",
                "credentialData": argon2.to_string() }]
        },
        { "username": "carol", "email": "carol@mail.example", "enabled": true },
        { "username": "dan", "credentials": [{ "type": "password", "secretData": "{\"value\":\"eA==\",\"salt\":\"eA==\"}",
            "credentialData": "{\"hashIterations\":1,\"algorithm\":\"bcrypt\"}" }] }
    ] });
    let ran = import(&workspace, "keycloak", &serde_json::to_string_pretty(&realm).unwrap(), &[]);
    assert!(ran.stdout.contains("algorithm other than argon2 and pbkdf2"), "{ran:?}");
    assert!(ran.stdout.contains("4 accounts read: 3 added, 0 already exist, 1 refused"), "{ran:?}");
    assert_fields(
        &account(&workspace, "emily"),
        &json!({ "uuid": "8a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d11", "email": "emily@mail.example", "emailVerified": true,
            "firstName": "Emily", "lastName": "Johnson", "status": "active", "mustChangePassword": true, "role": "USER",
            "createdAt": "2024-03-01T08:00:00.123Z" }),
    );
    assert_fields(&account(&workspace, "bob@mail.example"), &json!({ "username": null, "status": "inactive" }));
    assert_fields(&account(&workspace, "carol"), &json!({ "hasPassword": false }));
    let node = workspace.workdir.serve(&[]);
    assert_eq!([status(&node, "emily", "wrong horse"), status(&node, "emily", PASSWORD)], [401, 200]);
    workspace.workdir.succeed(&["account", "set-status", "bob@mail.example", "active"], "");
    let by_email = json!({ "email": "bob@mail.example", "password": PASSWORD });
    assert_eq!(node.post("/auth/login", &by_email).status, 200);
}

fn an_auth0_export_is_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let lines = [
        json!({ "_id": { "$oid": "60425da93519d90068f82966" }, "email_verified": true, "email": "emily@mail.example",
            "passwordHash": BCRYPT, "password_set_date": { "$date": "2021-03-05T16:32:57.842Z" }, "tenant": "shop",
            "connection": "Username-Password-Authentication", "_tmp_is_unique": true }),
        json!({ "email": "bob@mail.example", "username": "bob", "name": "Robert Smith", "picture": "https://cdn.example/bob.png",
            "created_at": "2020-01-02T03:04:05.000Z", "blocked": true,
            "custom_password_hash": { "algorithm": "bcrypt", "hash": { "value": BCRYPT } } }),
        json!({ "email": "carol@mail.example", "custom_password_hash": { "algorithm": "md5", "hash": { "value": "x" } } }),
    ];
    let ran = import(&workspace, "auth0", &lines.map(|line| line.to_string()).join("\n"), &[]);
    assert!(ran.stdout.contains("line 3: refused: its custom_password_hash is neither"), "{ran:?}");
    assert_fields(
        &account(&workspace, "emily@mail.example"),
        &json!({ "emailVerified": true, "profile": { "importedId": "60425da93519d90068f82966" } }),
    );
    assert_fields(
        &account(&workspace, "bob"),
        &json!({ "firstName": "Robert", "lastName": "Smith", "image": "https://cdn.example/bob.png", "status": "suspended",
            "createdAt": "2020-01-02T03:04:05.000Z" }),
    );
    let node = workspace.workdir.serve(&[]);
    let by_email = json!({ "email": "emily@mail.example", "password": PASSWORD });
    assert_eq!(node.post("/auth/login", &by_email).status, 200);
}

/// Google's sample of its hash, in the form of `firebase auth:export`.
fn a_firebase_export_is_imported_with_its_hash_config(backend: Backend) {
    let workspace = Workspace::on(backend);
    let export = json!({ "users": [
        { "localId": "VZ0FqE5dPQfDpTKQWmxl3A1yX6B2", "email": "emily@mail.example", "emailVerified": true,
          "passwordHash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
          "salt": "42xEC+ixf3L2lw==", "displayName": "Emily Rose Johnson", "photoUrl": "https://cdn.example/e.png",
          "lastSignedInAt": "1709280000123", "createdAt": "1609459200000", "disabled": false, "providerUserInfo": [] },
        { "localId": "GoogleOnly1234567890abcdefgh", "email": "bob@mail.example", "disabled": true,
          "providerUserInfo": [{ "providerId": "google.com" }] },
        { "localId": "PhoneOnly1234567890abcdefghi", "phoneNumber": "+15555550100", "providerUserInfo": [] }
    ] })
    .to_string();
    let without = import(&workspace, "firebase", &export, &[]);
    assert!(!without.status.success() && without.stderr.contains("needs --hash-secret-file"), "{without:?}");
    let config = "hash_config {\n  algorithm: SCRYPT,\n  base64_signer_key: jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==,\n  base64_salt_separator: Bw==,\n  rounds: 8,\n  mem_cost: 14,\n}\n";
    std::fs::write(workspace.workdir.file("config"), config).unwrap();
    let report = imported(&workspace, "firebase", &export, &["--hash-secret-file", "config"]);
    assert!(report.contains("3 accounts read: 3 added") && report.contains("2 without password"), "{report}");
    assert_fields(
        &account(&workspace, "emily@mail.example"),
        &json!({ "username": null, "firstName": "Emily Rose", "lastName": "Johnson", "emailVerified": true,
            "lastSignIn": "2024-03-01T08:00:00.123Z", "createdAt": "2021-01-01T00:00:00.000Z" }),
    );
    assert_fields(&account(&workspace, "bob@mail.example"), &json!({ "status": "inactive" }));
    assert_fields(&account(&workspace, "PhoneOnly1234567890abcdefghi"), &json!({ "phone": "+15555550100" }));
    let node = workspace.workdir.serve(&[]);
    let sign_in = |password: &str| {
        node.post("/auth/login", &json!({ "email": "emily@mail.example", "password": password })).status
    };
    assert_eq!([sign_in("user1passwore"), sign_in("user1password"), sign_in("user1password")], [401, 200, 200]);
    std::fs::write(workspace.workdir.file("config"), "rounds: 8").unwrap();
    let incomplete = import(&workspace, "firebase", &export, &["--hash-secret-file", "config", "--dry-run"]);
    assert!(incomplete.stdout.contains("base64_signer_key"), "{incomplete:?}");
}

fn a_supabase_table_is_imported_from_csv_and_json(backend: Backend) {
    let workspace = Workspace::on(backend);
    let csv = format!(
        "\u{feff}instance_id,id,aud,role,email,encrypted_password,email_confirmed_at,last_sign_in_at,raw_user_meta_data,created_at,phone,banned_until,deleted_at\n\
         0,8a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d11,authenticated,authenticated,emily@mail.example,{BCRYPT},2024-03-01 08:00:00.5+00,2024-04-01 08:00:00+02,\"{{\"\"full_name\"\": \"\"Emily, Johnson\"\", \"\"avatar_url\"\": \"\"https://cdn.example/e.png\"\"}}\",2024-03-01 07:59:59.123456+00,,,\n\
         0,9a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d12,authenticated,authenticated,bob@mail.example,,,,{{}},2024-03-01 08:00:00+00,,2999-01-01 00:00:00+00,\n\
         0,9a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d13,authenticated,authenticated,gone@mail.example,,,,{{}},2024-03-01 08:00:00+00,,,2024-05-01 00:00:00+00\n"
    );
    let ran = import(&workspace, "supabase", &csv, &[]);
    assert!(ran.stdout.contains("line 4: refused: it is deleted"), "{ran:?}");
    assert_fields(
        &account(&workspace, "emily@mail.example"),
        &json!({ "uuid": "8a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d11", "emailVerified": true, "firstName": "Emily,", "lastName": "Johnson",
            "role": "USER", "lastSignIn": "2024-04-01T06:00:00.000Z", "createdAt": "2024-03-01T07:59:59.123Z" }),
    );
    assert_fields(&account(&workspace, "bob@mail.example"), &json!({ "status": "suspended", "emailVerified": false }));
    let row = json!({ "id": "7a6b4b25-6a3f-4b5e-9c0a-3b2f1f0e9d14", "email": "carol@mail.example", "encrypted_password": BCRYPT,
        "raw_user_meta_data": { "name": "Carol" }, "banned_until": "2020-01-01T00:00:00Z" });
    for content in [json!([row]).to_string(), row.to_string()] {
        imported(&workspace, "supabase", &content, &[]);
    }
    assert_fields(&account(&workspace, "carol@mail.example"), &json!({ "status": "active", "firstName": "Carol" }));
    let node = workspace.workdir.serve(&[]);
    let by_email = json!({ "email": "emily@mail.example", "password": PASSWORD });
    assert_eq!(node.post("/auth/login", &by_email).status, 200);
}

fn a_django_dump_is_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let user = |pk: i64, fields: Value| json!({ "model": "auth.user", "pk": pk, "fields": fields });
    let dump = json!([
        user(
            7,
            json!({ "password": format!("pbkdf2_sha256$1000$seasalt${PBKDF2}"), "last_login": "2024-04-01T08:00:00.123Z",
            "is_superuser": true, "username": "emily", "first_name": "Emily", "last_name": "", "email": "emily@mail.example",
            "is_staff": true, "is_active": true, "date_joined": "2024-03-01T08:00:00Z", "groups": [], "user_permissions": [] })
        ),
        user(9, json!({ "password": "!aBcD", "username": "bob@mail.example", "email": "", "is_active": false })),
        json!({ "model": "auth.group", "pk": 1, "fields": { "name": "editors" } }),
        user(
            11,
            json!({ "password": "bcrypt_sha256$$2b$04$4HBUoKsPE7OM.A9qniYwYO5nBiTsiH.b9yQzei.5jwVuKTNeBYaje", "username": "carol" })
        )
    ]);
    let ran = import(&workspace, "django", &serde_json::to_string_pretty(&dump).unwrap(), &[]);
    assert!(ran.stdout.contains("it is no user but of the model \"auth.group\""), "{ran:?}");
    assert_fields(
        &account(&workspace, "emily"),
        &json!({ "id": 7, "role": "ADMIN", "emailVerified": false, "createdAt": "2024-03-01T08:00:00.000Z" }),
    );
    assert_fields(
        &account(&workspace, "bob@mail.example"),
        &json!({ "id": 9, "status": "inactive", "hasPassword": false }),
    );
    let node = workspace.workdir.serve(&[]);
    assert_eq!([status(&node, "emily", PASSWORD), status(&node, "carol", PASSWORD)], [200, 200]);
}

fn a_devise_table_needs_its_pepper_or_the_word_that_there_is_none(backend: Backend) {
    let workspace = Workspace::on(backend);
    let table = |email: &str, hash: &str| {
        format!(
            "id,email,encrypted_password,confirmed_at,locked_at,created_at\n3,{email},{hash},2024-03-01 08:00:00 UTC,,2024-03-01 08:00:00.123456\n"
        )
    };
    let peppered = table("emily@mail.example", "$2a$04$ld9lhSrDWXyGhpEugn/aoOqk..lt/kRewruYp/6gGkHvUSfDMthoO");
    let refused = import(&workspace, "devise", &peppered, &[]);
    assert!(!refused.status.success() && refused.stderr.contains("or --no-pepper"), "{refused:?}");
    assert_eq!(workspace.count("TRUE"), 0);
    std::fs::write(workspace.workdir.file("pepper"), "pepper-of-the-app\n").unwrap();
    imported(&workspace, "devise", &peppered, &["--hash-secret-file", "pepper"]);
    let plain = table("bob@mail.example", BCRYPT).replace("\n3,", "\n4,");
    imported(&workspace, "devise", &plain, &["--no-pepper"]);
    assert_fields(
        &account(&workspace, "emily@mail.example"),
        &json!({ "id": 3, "emailVerified": true, "createdAt": "2024-03-01T08:00:00.123Z" }),
    );
    let node = workspace.workdir.serve(&[]);
    for email in ["emily@mail.example", "bob@mail.example"] {
        let sign_in =
            |password: &str| node.post("/auth/login", &json!({ "email": email, "password": password })).status;
        assert_eq!([sign_in("correct hors"), sign_in(PASSWORD), sign_in(PASSWORD)], [401, 200, 200], "{email}");
    }
    let misplaced = import(&workspace, "auth0", "", &["--hash-secret-file", "pepper"]);
    assert!(misplaced.stderr.contains("is for firebase, devise and ambrosia"), "{misplaced:?}");
}

fn a_better_auth_table_is_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let hash = "0774b50a04f7de16dec9935d6318fc0f:9cb8cd0ab1ada9ba427e3f04e1768f930340eb7683eaf12dcf7b1fa7bc7ddb165650f552563191a1d4a1600033192a367f44295af67ab0562349cebfb9075992";
    let csv = format!(
        "id,name,email,emailVerified,image,createdAt,updatedAt,password\nNmXVO4,Emily Johnson,emily@mail.example,1,,2024-03-01T08:00:00.000Z,2024-03-01T08:00:00.000Z,{hash}\nQq1,Bob,bob@mail.example,0,,1709280000123,,\n"
    );
    imported(&workspace, "better-auth", &csv, &[]);
    assert_fields(
        &account(&workspace, "emily@mail.example"),
        &json!({ "emailVerified": true, "firstName": "Emily", "lastName": "Johnson", "profile": { "importedId": "NmXVO4" } }),
    );
    assert_fields(
        &account(&workspace, "bob@mail.example"),
        &json!({ "createdAt": "2024-03-01T08:00:00.123Z", "hasPassword": false }),
    );
    let node = workspace.workdir.serve(&[]);
    let by_email = json!({ "email": "emily@mail.example", "password": PASSWORD });
    assert_eq!(node.post("/auth/login", &by_email).status, 200);
}

fn a_password_file_of_apache_is_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let file = "# of nginx\nemily:$apr1$x3QufFA8$k3syxvf6w6mQouRXcRkqT1\n\nbob:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\r\n\
                carol:$2y$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2\ndan:rqXexS6ZhobKA\nnobody\n";
    let ran = import(&workspace, "htpasswd", file, &["--role", "STAFF"]);
    assert!(ran.stdout.contains("line 6 (dan): refused: passwordHash must be a password hash of a scheme"), "{ran:?}");
    assert!(ran.stdout.contains("5 accounts read: 4 added, 0 already exist, 1 refused"), "{ran:?}");
    assert!(ran.stdout.contains("1 without password") && !ran.stdout.contains("rqXexS6"), "{ran:?}");
    let node = workspace.workdir.serve(&[]);
    for name in ["emily", "bob", "carol"] {
        assert_eq!([status(&node, name, "correct hors"), status(&node, name, PASSWORD)], [401, 200], "{name}");
        assert_eq!(account(&workspace, name)["role"], "STAFF");
    }
}

fn an_ambrosia_table_is_imported_with_its_pins(backend: Backend) {
    let workspace = Workspace::on(backend);
    let (id, hash) = ("b2f1a7c0-1111-4222-8333-444455556666", "OpWBiv/3Yn7thfTbyoZVAF0sevyVITsj5CskjztFvRo=");
    let without = import(&workspace, "ambrosia", &json!({ "id": id, "name": "Till 3", "pin": hash }).to_string(), &[]);
    assert!(without.stdout.contains("it has no salt"), "{without:?}");
    let with_salt =
        json!({ "name": "Till 4", "pin": hash, "salt": format!("app-secret{id}"), "role": "Cashier" }).to_string();
    imported(&workspace, "ambrosia", &with_salt, &[]);
    std::fs::write(workspace.workdir.file("secret"), "app-secret").unwrap();
    let csv = format!("id,name,pin,role,is_deleted\n{id},Till 3,{hash},Admin,0\n");
    imported(&workspace, "ambrosia", &csv, &["--hash-secret-file", "secret"]);
    assert_fields(
        &account(&workspace, "till 3"),
        &json!({ "uuid": id, "role": "Admin", "hasPin": true, "hasPassword": false }),
    );
    let node = workspace.workdir.serve(&[]);
    for name in ["Till 3", "Till 4"] {
        let sign_in = |pin: &str| node.post("/pin/auth/login", &json!({ "name": name, "pin": pin })).status;
        assert_eq!([sign_in("0001"), sign_in("0000"), sign_in("0000")], [401, 200, 200], "{name}");
    }
}

/// Hashes of `correct horse`.
const FURTHER: [(&str, &str); 11] = [
    (
        "sha512crypt",
        "$6$rounds=1000$TqDBhg8Kw23LqOGa$qis96/XUKzjJVMIBxafxvrY0M4nRFdDU1FsnJouBYjG2Ypmf.dgPSlxElBOVCZ297m7ZeEPQY4KwSpx4JUs6U/",
    ),
    ("sha256crypt", "$5$rounds=1200$dOucVopxR9PeuPY.$ZgX4aFM8cje/.7GzBVOVfGY7/vTkRJge1iixFjNnXQ3"),
    ("md5crypt", "$1$ASHxwf/7$8Cscl24kddMqgJgl5DL1I0"),
    ("ssha", "{SSHA}2Lz3fqG8+1bbL8yY1lAuPVDxjjiXco6R"),
    ("spring", "{bcrypt}$2a$04$82BBAIQW7uyZITkPmrEXGeDompi2KzhnC7Z97nKYtoqPL6R2kMxDK"),
    ("phpass", "$P$5qs0XWdANnJZdCVW8s/CCwkz2h0a2m1"),
    ("wordpress", "$wp$2y$04$nRJG3rSCREQRWcuE/f67ju4yXMJ2k.VV6d.9PXHFlsOkRrkfChEpy"),
    (
        "werkzeug-scrypt",
        "scrypt:1024:8:1$gysuTVJdJTypmoIM$05d6aee2634a211890019f094ebba7964dfebaba69c4989deb8982618423c6343db6af149ed438b7728c0dfbd05fe11c377609796427ebfa335c1458d6f7aca4",
    ),
    (
        "werkzeug-pbkdf2",
        "pbkdf2:sha256:1000$hv4YXAbSWZFlBRFE$7de2636fec296bf36215db189a36e30e9fc89eb24786850ad58099a8a1088bc3",
    ),
    ("asp-net-v2", "AAABAgMEBQYHCAkKCwwNDg+d2FbDdriytxO2vgdAVMuIpGVW4BGF6o0NJn8znGUhaQ=="),
    ("asp-net-v3", "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg/lFQcOA1On2wE5YZhLh7q7ntzP9Krf9NCBoM//wxbovw=="),
];

fn every_hash_scheme_of_a_vendor_signs_in_and_is_rehashed(backend: Backend) {
    let workspace = Workspace::on(backend);
    workspace.succeed(&[], &FURTHER.map(|(name, hash)| json!({ "username": name, "passwordHash": hash })));
    let node = workspace.workdir.serve(&[]);
    for (name, _) in FURTHER {
        assert_eq!([status(&node, name, "correct hors"), status(&node, name, PASSWORD)], [401, 200], "{name}");
        let rehashed = format!("username = '{name}' AND password LIKE 'hmac-bcrypt:%'");
        assert_eq!(workspace.count(&rehashed), 1, "{name}");
        assert_eq!([status(&node, name, "correct hors"), status(&node, name, PASSWORD)], [401, 200], "{name}");
    }
}

fn a_file_of_another_format_is_refused_with_the_place(backend: Backend) {
    let workspace = Workspace::on(backend);
    for (format, content, words) in [
        ("keycloak", "id,username\n1,emily\n", "it is neither a JSON list nor an object (line 1)"),
        ("keycloak", "{\"realm\":\"x\"}", "it has no list \"users\" (line 1)"),
        ("django", "[\n1]", "the list holds something other than objects (line 2)"),
        ("django", "[{\"pk\":1,", "the file ends within an object (line 1)"),
        ("supabase", "id,email\na,b,c\n", "a line has another number of columns than the first (line 2)"),
        ("supabase", "id,email\n\"a,b\n", "columns than the first"),
    ] {
        let ran = import(&workspace, format, content, &[]);
        assert!(!ran.status.success() && ran.stderr.contains(words), "{format} {content:?}: {ran:?}");
    }
    for (format, content, words) in [
        ("supabase", "not json", "0 accounts read"),
        ("auth0", "{\"email\":\"a@b.example\",", "line 1: refused: it is not valid JSON"),
        ("django", "[{\"pk\":1}]", "line 1: refused: it has no fields"),
        ("auth0", "{\"email\":\"not an email\",\"passwordHash\":\"canary\"}", "email must be an email address"),
    ] {
        let ran = import(&workspace, format, content, &[]);
        assert!(ran.stdout.contains(words) && !ran.stdout.contains("canary"), "{format} {content:?}: {ran:?}");
    }
    assert_eq!(workspace.count("TRUE"), 0);
}
