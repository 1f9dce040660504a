//! External dialect: another wire contract as one file of routes, shapes and refusals, written outside the crate. The
//! core and the other dialects do not know it, and its sessions are ordinary sessions.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};
use doorward::dialect::{
    Dialect, ErrorContext, FieldRule, Fields, GivenSecret, HandlerResult, IdentifierKind, PresentedTokens,
    RefreshToken, Refusal, RequestContext, SignIn, problem, resource,
};

use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, on_both_backends, register};

on_both_backends!(
    an_external_dialect_signs_in_refreshes_and_signs_out,
    it_renders_its_own_refusals,
    its_lifetimes_are_settings_like_the_others,
);

/// Answers in plain text: `ACCESS REFRESH`, or `no: CODE`.
const PLAIN: Dialect =
    Dialect { access_ttl: Some(Duration::from_secs(30)), ..Dialect::new("plain", "/plain", routes, refuse) };

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/in", "POST").route(web::post().to(sign_in)))
        .service(resource("/again", "POST").route(web::post().to(again)))
        .service(resource("/out", "POST").route(web::post().to(sign_out)))
        .service(resource("/who", "GET").route(web::get().to(who)));
}

fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let problem = problem::of(refused.error);
    HttpResponse::build(problem.status).body(format!("no: {}", problem.code))
}

async fn sign_in(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::optional(&context.request, &mut payload).await?;
    let who = fields.text("who").unwrap_or_default();
    if who.is_empty() {
        fields.add_error::<()>("who", FieldRule::Missing);
    }
    let word = GivenSecret::Password(fields.required_secret("word"));
    fields.finish()?;
    let entered = context.sign_in(SignIn::new(vec![(IdentifierKind::Any, who)], word)).await?.issued;
    Ok(HttpResponse::Ok().body(format!("{} {}", entered.access.expose(), entered.refresh.expose())))
}

async fn again(context: RequestContext, token: String) -> HandlerResult {
    let issued = context.refresh(RefreshToken::new(token), None).await?;
    Ok(HttpResponse::Ok().body(format!("{} {}", issued.access.expose(), issued.refresh.expose())))
}

async fn sign_out(context: RequestContext) -> HandlerResult {
    context.sign_out_live(PresentedTokens { access: context.bearer_only()?, refresh: None }).await?;
    Ok(HttpResponse::build(StatusCode::NO_CONTENT).finish())
}

async fn who(context: RequestContext) -> HandlerResult {
    let caller = context.resolve(context.bearer_only()?).await?;
    let account = context.account_of(&caller).await?;
    Ok(HttpResponse::Ok().body(account.username.ok_or(Refusal::AccountNotFound)?))
}

fn words(answer: &Response) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let (access, refresh) = text.split_once(' ').unwrap();
    (access.to_owned(), refresh.to_owned())
}

fn enter(service: &doorward::testing::TestService) -> (String, String) {
    let body = serde_json::json!({ "who": "emily", "word": PASSWORD }).to_string();
    words(&Request::new("POST", "/plain/in").json(&body).send(service.address()))
}

fn an_external_dialect_signs_in_refreshes_and_signs_out(backend: Backend) {
    let service = backend.service().dialect(PLAIN).start();
    register(&service, "emily");
    let (access, refresh) = enter(&service);
    let who = |access: &str| Request::new("GET", "/plain/who").bearer(access).send(service.address());
    assert_eq!(who(&access).text(), "emily");
    let again = Request::new("POST", "/plain/again").body(Some("text/plain"), refresh.clone());
    let (access, next) = words(&again.send(service.address()));
    assert_ne!(refresh, next, "it rotates by the protocol");
    assert_eq!(words(&again.send(service.address())), (access.clone(), next), "and repeats by it");
    assert_eq!(
        Request::new("GET", "/auth/me").bearer(&access).send(service.address()).status,
        200,
        "a session like all"
    );
    assert_eq!(Request::new("POST", "/plain/out").bearer(&access).send(service.address()).status, 204);
    assert_eq!((who(&access).status, who(&access).text().as_str()), (401, "no: session_ended"));
}

fn it_renders_its_own_refusals(backend: Backend) {
    let service = backend.service().dialect(PLAIN).start();
    let send = |request: Request| {
        let answer = request.send(service.address());
        (answer.status, answer.text())
    };
    let shown = |status: u16, code: &str| (status, format!("no: {code}"));
    assert_eq!(send(Request::new("POST", "/plain/in").json("{}")), shown(422, "invalid_fields"));
    assert_eq!(send(Request::new("POST", "/plain/in").json("{")), shown(400, "malformed_body"));
    assert_eq!(send(Request::new("GET", "/plain/in")), shown(405, "method_not_allowed"));
    assert_eq!(send(Request::new("GET", "/plain/nowhere")), shown(404, "route_not_found"));
    assert_eq!(send(Request::new("GET", "/plain/who")), shown(401, "token_missing"));
    let foreign = Request::new("POST", "/plain/in").header("origin", "https://evil.example").json("{}");
    assert_eq!(send(foreign), shown(403, "origin_not_allowed"));
}

fn its_lifetimes_are_settings_like_the_others(backend: Backend) {
    for (setting, lives) in [(None, 30), (Some("5"), 5)] {
        let builder = backend.service().dialect(PLAIN);
        let builder = setting.into_iter().fold(builder, |builder, ttl| builder.set("PLAIN_ACCESS_TTL", ttl));
        let service = builder.start();
        register(&service, "emily");
        let (access, _) = enter(&service);
        let alive = || Request::new("GET", "/plain/who").bearer(&access).send(service.address()).status;
        service.advance(Duration::from_secs(lives - 1));
        assert_eq!(alive(), 200);
        service.advance(Duration::from_secs(1));
        assert_eq!(alive(), 401);
    }
}
