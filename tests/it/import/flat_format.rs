//! Import of the user list that belongs to the `flat` contract, in its original format: its users sign in at that mount
//! and see their fields.

use serde_json::{Value, json};

use super::{Workspace, me};
use crate::support::process::Node;
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    imported_users_sign_in_and_see_their_fields,
    payment_and_identity_data_are_not_imported,
    a_rejected_user_is_reported_by_its_first_line,
);

fn users() -> Value {
    json!([
        {
            "id": 1, "firstName": "Ada", "lastName": "Byron", "maidenName": "", "age": 36, "gender": "female",
            "email": "ada.byron@x.mail.example", "phone": "+44 555-0101", "username": "adab", "password": "adabpass",
            "birthDate": "1815-12-10", "image": "https://mail.example/icon/adab/128", "bloodGroup": "O-",
            "height": 193.24, "weight": 63.16, "eyeColor": "Green", "hair": { "color": "Brown", "type": "Curly" },
            "address": { "city": "London", "coordinates": { "lat": -77.25, "lng": -92.125 } },
            "university": "none", "company": { "name": "Engines", "address": { "city": "London" } }, "role": "admin"
        },
        {
            "id": 17, "firstName": "Bo", "lastName": "Li", "gender": "male", "email": "bo.li@x.mail.example",
            "phone": "", "username": "bol", "password": "bolpass", "image": "https://mail.example/icon/bol/128", "role": "moderator"
        },
        { "id": 18, "username": "cyc", "password": "cycpass", "email": "cy.c@x.mail.example" }
    ])
}

fn import(workspace: &Workspace, users: &str, arguments: &[&str]) -> String {
    std::fs::write(workspace.workdir.file("users.json"), users).unwrap();
    workspace.workdir.succeed(&[&["import", "users.json", "--format", "flat"], arguments].concat(), "")
}

fn login(node: &Node, username: &str, password: &str) -> Value {
    let answer = node.post("/flat/auth/login", &json!({ "username": username, "password": password }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn imported_users_sign_in_and_see_their_fields(backend: Backend) {
    let workspace = Workspace::on(backend);
    let output = import(&workspace, &serde_json::to_string_pretty(&users()).unwrap(), &["--role", "user"]);
    assert!(output.starts_with("3 accounts read: 3 added, 0 already exist, 0 refused\n"), "{output}");
    assert_eq!(workspace.count("password LIKE 'hmac-bcrypt:%:$2b$04$%'"), 3);
    let node = workspace.workdir.serve(&[]);
    for user in users().as_array().unwrap() {
        let username = user["username"].as_str().unwrap();
        let entered = login(&node, username, &format!("{username}pass"));
        for field in ["id", "username", "email", "firstName", "lastName", "gender", "image"] {
            let expected = user.get(field).cloned().unwrap_or_else(|| "".into());
            assert_eq!(entered[field], expected, "{username} {field}");
        }
        let shown = me(&node, "/flat", &entered["accessToken"]);
        for (field, value) in user.as_object().unwrap() {
            if field == "password" {
                assert!(shown.get(field).is_none(), "{shown}");
            } else {
                assert_eq!(&shown[field], value, "{username} {field}");
            }
        }
        let role = user.get("role").cloned().unwrap_or_else(|| "user".into());
        assert_eq!(shown["role"], role);
    }
    let profile = r#"profile LIKE '{"maidenName":"","age":36,"birthDate":"1815-12-10","bloodGroup":%'"#;
    assert_eq!(workspace.count(profile), 1, "in the order in which they stand");
    let wrong = node.post("/flat/auth/login", &json!({ "username": "adab", "password": "adabpas" }));
    assert_eq!((wrong.status, wrong.json()["message"].as_str()), (400, Some("Invalid credentials")));
    let again = import(&workspace, &users().to_string(), &[]);
    assert!(again.contains("3 accounts read: 0 added, 3 already exist, 0 refused"), "{again}");
}

fn payment_and_identity_data_are_not_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let user = json!({
        "username": "adab", "password": "adabpass", "ssn": "canary", "ein": "canary", "ip": "canary", "macAddress": "canary",
        "userAgent": "canary", "bank": { "cardNumber": "canary" }, "crypto": { "wallet": "canary" }, "age": 36
    });
    import(&workspace, &json!({ "users": [user], "total": 1 }).to_string(), &[]);
    assert_eq!(workspace.count("profile = '{\"age\":36}'"), 1);
    let node = workspace.workdir.serve(&[]);
    let entered = login(&node, "adab", "adabpass");
    assert!(!me(&node, "/flat", &entered["accessToken"]).to_string().contains("canary"));
}

fn a_rejected_user_is_reported_by_its_first_line(backend: Backend) {
    let workspace = Workspace::on(backend);
    let users = "[\n {\n  \"username\": \"adab\",\n  \"password\": \"adabpass\"\n },\n {\n  \"username\": \"bad name\",\n  \"password\": 5\n }\n]\n";
    std::fs::write(workspace.workdir.file("users.json"), users).unwrap();
    let ran = workspace.workdir.run(&["import", "users.json", "--format", "flat"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stdout.starts_with("line 6: refused: password must be text\n2 accounts read: 1 added"), "{ran:?}");
}
