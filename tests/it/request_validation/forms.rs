//! Bodies of forms, where the original contracts read them: urlencoded and multipart. Elsewhere they are refused, since other
//! sites can send them without a preflight.

use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::{Backend, code, on_both_backends, register};

on_both_backends!(
    store_reads_a_scripts_form_data,
    a_malformed_multipart_form_is_refused,
    flat_refreshes_by_a_form,
    no_cookie_route_reads_a_multipart_form,
    a_refresh_query_with_two_tokens_is_refused,
    a_generated_username_has_no_blanks,
);

const BOUNDARY: &str = "----WebKitFormBoundaryAbC123";

/// A body as browsers make it of a FormData.
fn multipart(fields: &[(&str, &str)]) -> String {
    let parts = fields.iter().map(|(name, value)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    });
    format!("{}--{BOUNDARY}--\r\n", parts.collect::<String>())
}

fn send_form(address: std::net::SocketAddr, path: &str, body: impl Into<Vec<u8>>) -> Response {
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::new("POST", path).body(Some(&media_type), body).send(address)
}

const EMILY: [(&str, &str); 5] = [
    ("firstName", "Emily"),
    ("lastName", "Johnson"),
    ("login", "emily"),
    ("email", "emily@example.com"),
    ("password", "harbour lantern 7"),
];

fn store_reads_a_scripts_form_data(backend: Backend) {
    let service = backend.service().start();
    let signed_up = send_form(service.address(), "/store/auth/signup", multipart(&EMILY));
    assert_eq!(signed_up.status, 200, "{}", signed_up.text());
    let signed_in = send_form(service.address(), "/store/auth/signin", multipart(&[EMILY[2], EMILY[4]]));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert!(signed_in.json()["access_token"].is_string());
    let wrong = send_form(service.address(), "/store/auth/signin", multipart(&[EMILY[2], ("password", "ünläutern")]));
    assert_eq!((wrong.status, &wrong.json()["message"]), (400, &json!("The login or password is incorrect")));
    let missing = send_form(service.address(), "/store/auth/signin", multipart(&[EMILY[2]]));
    assert_eq!(missing.json()["message"][0], "password must be longer than or equal to 8 characters");
}

fn a_malformed_multipart_form_is_refused(backend: Backend) {
    let service = backend.service().start();
    let file = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"login\"; filename=\"a.txt\"\r\n\r\nemily\r\n--{BOUNDARY}--\r\n"
    );
    let not_utf8 = [
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"login\"\r\n\r\n").as_bytes(),
        b"\xff\xfe\r\n",
        format!("--{BOUNDARY}--\r\n").as_bytes(),
    ]
    .concat();
    let cases: [(&str, Vec<u8>); 7] = [
        ("twice", multipart(&[EMILY[2], EMILY[2], EMILY[4]]).into()),
        ("truncated", multipart(&EMILY).split_off(40).into()),
        ("no end", multipart(&[EMILY[2], EMILY[4]]).trim_end_matches("--\r\n").into()),
        ("no name", format!("--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n--{BOUNDARY}--\r\n").into()),
        ("a file", file.into()),
        ("not UTF-8", not_utf8),
        ("empty", Vec::new()),
    ];
    for (name, body) in cases {
        let answer = send_form(service.address(), "/store/auth/signin", body);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert!(answer.json()["statusCode"] == 400 && !answer.text().contains("harbour"), "{name}: {}", answer.text());
    }
    let large = send_form(service.address(), "/store/auth/signin", multipart(&[("login", &"a".repeat(17_000))]));
    assert_eq!(large.status, 413);
    for media_type in ["multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary="] {
        let request = Request::new("POST", "/store/auth/signin").body(Some(media_type), multipart(&EMILY));
        let status = request.send(service.address()).status;
        assert!([400, 415].contains(&status), "{media_type}: {status}");
    }
}

fn flat_refreshes_by_a_form(backend: Backend) {
    let service = backend.service().demo().start();
    let login = json!({ "username": "emilys", "password": "emilyspass" }).to_string();
    let login = Request::new("POST", "/flat/auth/login").json(&login).send(service.address());
    let token = login.json()["refreshToken"].as_str().unwrap().to_owned();
    let post = |body: String| {
        let request = Request::new("POST", "/flat/auth/refresh");
        request.body(Some("application/x-www-form-urlencoded"), body).send(service.address())
    };
    let refreshed = post(format!("refreshToken={token}&expiresInMins=30"));
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(post(format!("refreshToken={token}&expiresInMins=0")).status, 400);
    assert_eq!(post("refreshToken=x".to_owned()).status, 403);
    assert_eq!(post(String::new()).status, 401);
}

fn no_cookie_route_reads_a_multipart_form(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    for path in ["/auth/login", "/auth/register", "/flat/auth/login", "/pin/auth/login", "/envelope/auth/login"] {
        let answer = send_form(service.address(), path, multipart(&EMILY));
        assert_eq!(answer.status, 415, "{path}: {}", answer.text());
    }
    assert_eq!(send_form(service.address(), "/login", multipart(&EMILY)).status, 415);
}

fn a_refresh_query_with_two_tokens_is_refused(backend: Backend) {
    let service = backend.service().start();
    let signed_up = send_form(service.address(), "/store/auth/signup", multipart(&EMILY));
    let token = signed_up.json()["refresh_token"].as_str().unwrap().to_owned();
    for query in [format!("rt={token}&rt={token}"), format!("rt={token}&rt="), format!("rt=x&a=b&rt={token}")] {
        let answer = Request::new("POST", &format!("/store/auth/refresh?{query}")).send(service.address());
        assert_eq!((answer.status, &answer.json()["message"]), (400, &json!(["rt must be a string"])), "{query}");
        assert!(!answer.text().contains(&token), "{}", answer.text());
    }
    let once = Request::new("POST", &format!("/store/auth/refresh?rt={token}&a=b")).send(service.address());
    assert_eq!(once.status, 200, "{}", once.text());
}

fn a_generated_username_has_no_blanks(backend: Backend) {
    let service = backend.service().start();
    let post = |path: &str, body: serde_json::Value| {
        let answer = Request::new("POST", path).json(&body.to_string()).send(service.address());
        assert!(answer.status < 300, "{}", answer.text());
        answer.json()["user"]["username"].as_str().unwrap().to_owned()
    };
    for (number, (given, made)) in
        [("Ada Lovelace", "Ada.Lovelace"), (" Grace  B. Hopper ", "Grace.B..Hopper"), ("emily", "emily")]
            .iter()
            .enumerate()
    {
        let body = json!({
            "email": format!("a{number}@example.com"), "password": "harbour lantern 7", "first_name": "A", "last_name": "B",
            "username": given
        });
        assert_eq!(post("/signin/api/v1/auths/sign-up", body), *made);
        let sign_in = json!({ "username": given, "password": "harbour lantern 7" });
        assert_eq!(post("/signin/api/v1/auths/sign-in", sign_in), *made);
    }
    let taken = json!({
        "email": "x@example.com", "password": "harbour lantern 7", "first_name": "A", "last_name": "B", "username": "ada lovelace"
    });
    let answer = Request::new("POST", "/signin/api/v1/auths/sign-up").json(&taken.to_string()).send(service.address());
    assert_eq!((answer.status, &answer.json()["message"]), (409, &json!("Username already taken")));
    let native = Request::new("POST", "/auth/register").json(r#"{"username":"a b","password":"harbour lantern 7"}"#);
    assert_eq!(code(&native.send(service.address())), "invalid_fields");
}
