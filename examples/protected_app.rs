//! A notes service whose routes only the signed-in reach: doorward is mounted in the same process under /, its middleware
//! guards /notes, and its extractor says who asks.
//!
//! ```text
//! cargo run --example protected_app
//! ```
//!
//! Register or sign in under `/auth/…`, then `GET /notes` with the cookies. Without them it is 401; after a logout too.

#![expect(clippy::print_stdout, reason = "a script learns the port here")]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Json};
use actix_web::{App, HttpServer, Responder};
use doorward::web::dialects;
use doorward::{Caller, Doorward, Settings, require_session};

/// Notes by account number.
type Notes = Mutex<HashMap<i64, Vec<String>>>;

/// Every signed-in person has notes of their own.
async fn list(caller: Caller, notes: Data<Notes>) -> impl Responder {
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    Json(notes.get(&caller.account.0).cloned().unwrap_or_default())
}

/// Adds one to the caller's own.
async fn add(caller: Caller, notes: Data<Notes>, note: String) -> impl Responder {
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    notes.entry(caller.account.0).or_default().push(note);
    format!("noted for account {} ({})\n", caller.account, caller.role)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The same settings as the service's own: DATABASE_URL, KEYS_FILE, BIND … Given the same database and keys, this app
    // and a doorward elsewhere know the same sessions, and a logout at one is a logout at both.
    let settings = Settings::from_environment(&dialects::known())?;
    let (service, _) = Doorward::open(&settings)?;
    let notes: Data<Notes> = Data::new(Mutex::new(HashMap::new()));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(service.clone()))
            .app_data(notes.clone())
            .service(
                web::scope("/notes")
                    .wrap(from_fn(require_session))
                    .route("", web::get().to(list))
                    .route("", web::post().to(add)),
            )
            .configure(service.configure())
            .wrap(service.cors())
    })
    .bind(settings.web.bind)?;
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    Ok(server.run().await?)
}
