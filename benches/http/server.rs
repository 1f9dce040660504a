//! This program as a server: doorward as a library, and in the same process and with as many workers actix with a
//! handler that answers an empty 200 with the headers of a check. The difference is the cost of a check.

use std::collections::BTreeMap;
use std::net::TcpListener;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use doorward::settings::Settings;
use doorward::web::service::Doorward;
use doorward::web::{Server, dialects};

/// The variable with the header lines of the empty answer.
pub const EMPTY_HEADERS: &str = "EMPTY_HEADERS";

/// Answers until it is killed.
pub fn serve() {
    let mut vars: BTreeMap<String, String> = std::env::vars().collect();
    let lines = vars.remove(EMPTY_HEADERS).unwrap_or_default();
    let headers: Vec<(HeaderName, HeaderValue)> = lines
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    vars.retain(|name, _| !["PATH", "RUST_LOG"].contains(&name.as_str()));
    let known = dialects::known();
    let settings = Settings::from_vars(&vars, &known).unwrap();
    let (service, _) = Doorward::open(&settings).unwrap();
    let workers = std::thread::available_parallelism().unwrap().get();
    actix_web::rt::System::new().block_on(async {
        let server = Server::bind(&service, &settings, |_| {}).unwrap();
        let nothing = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("doorward {}\nempty {}", server.address(), nothing.local_addr().unwrap());
        let app = move || App::new().app_data(web::Data::new(headers.clone())).route("/{any:.*}", web::get().to(empty));
        let beside = HttpServer::new(app).workers(workers).disable_signals().listen(nothing).unwrap();
        actix_web::rt::spawn(beside.run());
        server.run().await.unwrap();
    });
}

async fn empty(headers: web::Data<Vec<(HeaderName, HeaderValue)>>) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    for (name, value) in headers.iter() {
        answer.append_header((name.clone(), value.clone()));
    }
    answer.finish()
}
