//! Panics: a panic is one request's 500 in the shape of its dialect, and the worker continues. The dialect here is a
//! test's own, with an unmistakable error shape.

use actix_web::HttpResponse;
use actix_web::web::{self, Payload, ServiceConfig};
use doorward::core::error::Error;
use doorward::testing::TestService;
use doorward::web::request::body::Fields;
use doorward::web::request::context::RequestContext;
use doorward::web::response::error::{ErrorContext, HandlerResult};
use doorward::web::response::problem;
use doorward::web::response::routing::resource;
use doorward::web::service::mount::Dialect;
use serde_json::{Value, json};

use crate::support::http::{Request, Response, exchange_raw};
use crate::support::{Backend, code, on_both_backends};

on_both_backends!(
    a_panicking_handler_is_a_500_in_its_dialects_shape,
    a_panic_in_the_pool_is_a_500_and_the_pool_survives,
    the_worker_that_panicked_answers_the_next_requests,
    every_error_under_a_mount_has_its_dialects_shape,
    a_dialect_does_not_change_the_shape_of_others,
    a_panic_outside_every_mount_is_a_500_problem,
);

/// A dialect whose errors are `{"oops": code, "id": …}`.
pub const TOY: Dialect = Dialect::new("toy", "/toy", routes, refuse);

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/panic", "GET").route(web::get().to(panics)))
        .service(resource("/panic-in-the-pool", "GET").route(web::get().to(panics_in_the_pool)))
        .service(resource("/read", "POST").route(web::post().to(read)))
        .service(resource("/read-by-the-framework", "POST").route(web::post().to(read_by_the_framework)))
        .service(resource("/thread", "GET").route(web::get().to(thread)));
}

fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let problem = problem::of(refused.error);
    let mut answer = HttpResponse::build(problem.status);
    for (name, value) in &problem.headers {
        answer.insert_header((name.clone(), value.as_str()));
    }
    answer.json(json!({ "oops": problem.code, "id": refused.id.as_str() }))
}

/// A handler with a defect.
async fn panics() -> HttpResponse {
    std::panic::panic_any("on purpose, with canary-hunter2 in it")
}

async fn panics_in_the_pool(context: RequestContext) -> HandlerResult {
    let nothing: Result<(), Error> =
        context.service.run_blocking(|_| std::panic::panic_any("on purpose, canary-hunter2")).await;
    nothing?;
    Ok(HttpResponse::Ok().finish())
}

async fn read(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::required(&context.request, &mut payload).await?;
    let text = fields.text("text");
    fields.deny_unknown_fields()?;
    Ok(HttpResponse::Ok().json(json!({ "text": text })))
}

async fn read_by_the_framework(body: web::Json<Value>) -> HttpResponse {
    HttpResponse::Ok().json(body.into_inner())
}

async fn thread() -> String {
    format!("{:?}", std::thread::current().id())
}

fn service(backend: Backend, workers: u8) -> TestService {
    backend.service().dialect(TOY).set("WORKERS", workers.to_string()).start()
}

fn assert_toy(answer: &Response, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!((answer.status, body["oops"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(body["id"].as_str(), answer.header("x-request-id"), "{body}");
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.headers_named("x-request-id").len(), 1);
    assert!(!answer.text().contains("hunter2"), "{body}");
}

fn get(service: &TestService, path: &str) -> Response {
    Request::new("GET", path).send(service.address())
}

fn a_panicking_handler_is_a_500_in_its_dialects_shape(backend: Backend) {
    let service = service(backend, 2);
    for _ in 0..10 {
        assert_toy(&get(&service, "/toy/panic"), 500, "internal_error");
    }
    assert_eq!(get(&service, "/healthz").status, 200);
}

fn a_panic_in_the_pool_is_a_500_and_the_pool_survives(backend: Backend) {
    let service = service(backend, 2);
    // More panics than the pool has threads.
    for _ in 0..20 {
        assert_toy(&get(&service, "/toy/panic-in-the-pool"), 500, "internal_error");
    }
    let ready = get(&service, "/readyz");
    assert_eq!((ready.status, ready.json()["database"].as_str()), (200, Some("ok")));
    crate::support::register(&service, "emily");
}

fn the_worker_that_panicked_answers_the_next_requests(backend: Backend) {
    let service = service(backend, 1);
    let before = get(&service, "/toy/thread").text();
    assert_toy(&get(&service, "/toy/panic"), 500, "internal_error");
    for number in 0..50 {
        let answer = get(&service, "/toy/thread");
        assert_eq!((answer.status, answer.text()), (200, before.clone()), "request {number} after the panic");
    }
    crate::support::register(&service, "emily");
}

fn every_error_under_a_mount_has_its_dialects_shape(backend: Backend) {
    let service = service(backend, 2);
    let post = |path: &str| Request::new("POST", path);
    for (request, status, code) in [
        (Request::new("GET", "/toy/nowhere"), 404, "route_not_found"),
        (Request::new("GET", "/toy"), 404, "route_not_found"),
        (Request::new("GET", "/toy/"), 404, "route_not_found"),
        (post("/toy/panic"), 405, "method_not_allowed"),
        (Request::new("GET", "/toy/read"), 405, "method_not_allowed"),
        (post("/toy/read").json("{\"text\":canary-hunter2}"), 400, "malformed_body"),
        (post("/toy/read").json(""), 400, "malformed_body"),
        (post("/toy/read").json("[]"), 422, "invalid_fields"),
        (post("/toy/read").json("{\"text\":1}"), 422, "invalid_fields"),
        (post("/toy/read").body(Some("text/plain"), "{}"), 415, "unsupported_media_type"),
        (post("/toy/read").json(&" ".repeat(20_000)), 413, "body_too_large"),
        (post("/toy/read").json("{}").header("Origin", "https://evil.example"), 403, "origin_not_allowed"),
        (post("/toy/read-by-the-framework").json("{\"a\":canary-hunter2}"), 400, "malformed_body"),
        (post("/toy/read-by-the-framework").json(""), 400, "malformed_body"),
    ] {
        assert_toy(&request.send(service.address()), status, code);
    }
    let wrong = post("/toy/panic").send(service.address());
    assert_eq!(wrong.header("Allow"), Some("GET"));
    let read = post("/toy/read").json("{\"text\":\"ü\"}").send(service.address());
    assert_eq!((read.status, read.json()["text"].as_str()), (200, Some("ü")));
}

fn a_dialect_does_not_change_the_shape_of_others(backend: Backend) {
    let service = service(backend, 2);
    for path in ["/toyota", "/toy-panic", "/auth/toy/panic", "/TOY/panic"] {
        let answer = get(&service, path);
        assert_eq!((answer.status, code(&answer).as_str()), (404, "route_not_found"), "{path}");
    }
    assert_toy(&get(&service, "/toy/panic"), 500, "internal_error");
    let me = get(&service, "/auth/me");
    assert_eq!((me.status, code(&me).as_str()), (401, "token_missing"));
}

/// Routes that an embedding service adds, and our own health.
fn a_panic_outside_every_mount_is_a_500_problem(backend: Backend) {
    let service = backend.service().set("WORKERS", "1").routes(|app| {
        app.route("/beside", web::get().to(panics)).route("/thread", web::get().to(thread));
    });
    let service = service.start();
    let before = get(&service, "/thread").text();
    // Sent raw: an uncaught panic would show as a closed connection without an answer.
    let request = b"GET /beside HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8_lossy(&exchange_raw(service.address(), request)).into_owned();
    assert_eq!(get(&service, "/thread").text(), before, "the worker lives");
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("application/problem+json"), "{answer:?}");
}
