//! The hosted pages: sign-in, registration, account and sign-out, rendered on the server, without scripts. This file decides the
//! routes and the middleware of the pages. Like a dialect they call core, which decides about accounts and sessions.

mod account;
mod confirm;
mod csrf_form;
pub(in crate::web) mod current_user;
mod device;
pub(in crate::web) mod layout;
mod redirect_loop;
pub(in crate::web) mod refusals;
mod register;
mod sign_in;
mod sign_in_fields;
mod sign_out;

use std::future::ready;

use actix_web::dev::HttpServiceFactory;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use super::dialects::native;
use super::request::context::RequestContext;
use super::response::middleware::render_errors;
use super::response::routing::resource;
use crate::core::session::TokenPolicy;
use crate::settings::Settings;
use crate::web::forward_auth::access_denied;
use crate::web::service::Doorward;
use crate::web::service::mount::{Dialect, Mounted};

/// The pages as a dialect: errors are rendered as pages, and cookies set as native sets them.
const PAGES: Dialect = Dialect::new("pages", "/", |_| {}, refusals::refuse);

/// The pages as a mount. Their sessions have the token policy of native, if native is mounted.
pub fn mounted(settings: &Settings, mounts: &[Mounted]) -> Mounted {
    let native = mounts.iter().find(|mounted| mounted.dialect.name == native::DIALECT.name);
    let policy = native.map_or_else(
        || TokenPolicy {
            dialect: PAGES.name.to_owned(),
            access_ttl: settings.tokens.access_ttl,
            refresh_ttl: settings.tokens.refresh_ttl,
            rotates: true,
            revokes_on_rotation: false,
            opaque_refresh: false,
            access_ttl_max: settings.tokens.access_ttl,
            returns_refresh_token: true,
        },
        |native| native.policy.clone(),
    );
    Mounted { dialect: PAGES, prefix: "/".to_owned(), policy }
}

/// The supported language that a request's client prefers.
pub fn language_of(context: &RequestContext) -> &'static str {
    layout::Layout::of(context).t.lang
}

/// Adds `/auth/continue`, `/access-denied` and the static files, and the pages unless PAGES is `false`.
pub fn routes(service: &Doorward, mounted: &Mounted, app: &mut ServiceConfig) {
    let wrap = |resource: Resource| wrap(resource, mounted);
    app.service(wrap(resource("/auth/continue", "GET").route(web::get().to(redirect_loop::continue_to_target))));
    // A proxy shows it in place of its own 403, so that without pages it must be a 403 too.
    let denied = resource("/access-denied", "GET, HEAD").route(web::get().to(access_denied::show));
    app.service(wrap(denied.route(web::head().to(access_denied::show))));
    for file in service.theme().files() {
        let serve = resource(&file.path, "GET, HEAD").route(web::get().to(layout::static_files::file));
        app.service(wrap(serve.route(web::head().to(layout::static_files::file))));
    }
    if !service.theme().serves_pages {
        return;
    }
    let page = |path: &str| resource(path, "GET, HEAD, POST");
    let sign_in = page("/login").route(web::get().to(sign_in::show)).route(web::head().to(sign_in::show));
    let register = page("/register").route(web::get().to(register::show)).route(web::head().to(register::show));
    let confirm = page("/register/confirm").route(web::get().to(confirm::show)).route(web::head().to(confirm::show));
    let sign_out = page("/logout").route(web::get().to(sign_out::show)).route(web::head().to(sign_out::show));
    let account = resource("/account", "GET, HEAD").route(web::get().to(account::show));
    app.service(wrap(sign_in.route(web::post().to(sign_in::submit))))
        .service(wrap(register.route(web::post().to(register::submit))))
        .service(wrap(confirm.route(web::post().to(confirm::submit))))
        .service(wrap(sign_out.route(web::post().to(sign_out::submit))))
        .service(wrap(account.route(web::head().to(account::show))));
    let action = |path: &str, route: Route| wrap(resource(path, "POST").route(route));
    app.service(action("/account/password", web::post().to(account::change_password)))
        .service(action("/account/sessions/{id}", web::post().to(account::end_session)))
        .service(action("/account/sessions/{id}/name", web::post().to(account::name_device)))
        .service(action("/account/sign-out-everywhere", web::post().to(account::sign_out_everywhere)));
    for page in ["/login", "/register", "/account", "/logout", "/access-denied"] {
        let slash = format!("{page}/");
        app.service(wrap(
            resource(&slash, "GET").route(web::get().to(move |context| ready(redirect_to_page(&context, page)))),
        ));
    }
    // Password managers lead people there (the W3C's well-known URL for changing passwords).
    let change_password = resource("/.well-known/change-password", "GET");
    app.service(wrap(change_password.route(web::get().to(|context| ready(redirect_to_page(&context, "/account"))))));
}

/// Adds `/`, which leads to the account, and from there a stranger to the sign-in: for a server of its own, where no app has `/`.
pub fn entrance(service: &Doorward, mounted: &Mounted, app: &mut ServiceConfig) {
    if service.theme().serves_pages {
        let entrance =
            resource("/", "GET").route(web::get().to(|context| ready(redirect_to_page(&context, "/account"))));
        app.service(wrap(entrance, mounted));
    }
}

/// With the query, in which the return URL may be.
fn redirect_to_page(context: &RequestContext, page: &'static str) -> HttpResponse {
    match context.request.query_string() {
        "" => layout::redirect(page),
        query => layout::redirect(&format!("{page}?{query}")),
    }
}

/// Adds the middleware of a page: limits of the head, the origin check, and errors rendered as pages.
fn wrap(resource: Resource, mounted: &Mounted) -> impl HttpServiceFactory + use<> {
    resource.app_data(Data::new(mounted.clone())).wrap(from_fn(render_errors))
}
