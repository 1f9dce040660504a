//! An embedding service: notes for signed-in users, and a count of them for administrators. doorward is mounted in the same
//! process under /, its middleware guards the routes, its extractor identifies the caller.
//!
//!     cargo run --example protected_app

#![expect(clippy::print_stdout, reason = "a script learns the port here")]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Json};
use actix_web::{App, HttpServer, Responder};
use doorward::{AccountUuid, Caller, Doorward, Settings, WebError, require_role, require_session};

type Notes = Mutex<HashMap<AccountUuid, Vec<String>>>;

async fn list(caller: Caller, notes: Data<Notes>) -> impl Responder {
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    Json(notes.get(&caller.account).cloned().unwrap_or_default())
}

async fn add(caller: Caller, notes: Data<Notes>, service: Data<Doorward>, note: String) -> Result<String, WebError> {
    let identity = service.identity(&caller).await?;
    notes.lock().unwrap_or_else(PoisonError::into_inner).entry(caller.account).or_default().push(note);
    Ok(format!("noted for {} <{}>\n", identity.user, identity.email))
}

async fn count(notes: Data<Notes>) -> impl Responder {
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    notes.values().map(Vec::len).sum::<usize>().to_string()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // From the environment, like the binary. In code: Settings::builder().database_url("sqlite://notes.db").build()?
    let settings = Settings::load()?;
    let (service, _) = Doorward::open(&settings)?;
    let notes: Data<Notes> = Data::new(Mutex::default());
    let server = HttpServer::new(move || {
        let own = web::scope("/notes").wrap(from_fn(require_session));
        let own = own.route("", web::get().to(list)).route("", web::post().to(add));
        App::new()
            .app_data(notes.clone())
            .configure(service.configure())
            .service(own)
            .service(web::resource("/count").wrap(require_role("ADMIN")).route(web::get().to(count)))
            .wrap(service.cors())
    });
    let server = server.bind(settings.web.bind)?;
    server.addrs().iter().for_each(|address| println!("listening on http://{address}"));
    Ok(server.run().await?)
}
