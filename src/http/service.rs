//! From an accepted connection to the answers of its requests: the service that a worker has actix run.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_service::boxed::{self, BoxServiceFactory};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::App;
use actix_web::dev::{AppConfig, RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::connection::open::Open;
use super::connection::socket::Socket;
use super::connection::stream::Connection;
use super::connection::turns::Turns;
use super::connection::waits::Patience;
use super::connection::workers::Services;
use super::dispatch;
use super::request::door::Door;
use super::request::limiters::Permit;
use super::site::Site;

/// The services of one worker, for TCP, plain and with TLS, and for sockets in the file system.
///
/// # Errors
/// When actix cannot make them, which it does not explain.
pub async fn services(
    site: Arc<Site>,
    door: Arc<Door>,
    open: Open,
    patience: Patience,
) -> Result<Services, ()> {
    Ok(Services {
        tcp: (service(&site, &door, &open, patience).new_service(())).await?,
        tls: (service(&site, &door, &open, patience).new_service(())).await?,
        unix: (service(&site, &door, &open, patience).new_service(())).await?,
    })
}

/// The service of accepted connections over one kind of socket: lets each in by the door, and has actix read
/// it as a [`Connection`].
fn service<S: Socket + 'static>(
    site: &Arc<Site>,
    door: &Arc<Door>,
    open: &Open,
    patience: Patience,
) -> BoxServiceFactory<(), S, (), DispatchError, ()> {
    let (open, door) = (open.clone(), Arc::clone(door));
    let accepted = fn_service(move |stream: S| {
        let (open, door) = (open.clone(), Arc::clone(&door));
        async move {
            let peer = stream.prepare();
            let (stream, permit) = door.admit(stream, peer).await?;
            let connection = Connection::new(stream, patience, &open, permit);
            Ok((connection, Protocol::Http1, peer))
        }
    });
    let (app, early) = (Arc::clone(site), Arc::clone(site));
    let app = App::new().default_service(fn_service(move |request: ServiceRequest| {
        let site = Arc::clone(&app);
        async move { Ok(answer(&site, request).await) }
    }));
    let app = map_config(app.into_factory(), |()| AppConfig::default());
    let http = HttpService::build()
        // A `Connection` times all of these; dispatch drains the rest of a body.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(Duration::ZERO)
        .keep_alive(KeepAlive::Os)
        .on_connect_ext(|connection: &Connection<S, Permit>, data| {
            data.insert(connection.turns());
        })
        .expect(fn_service(move |request: Request| {
            ready(dispatch::before_the_body(&early, request))
        }))
        .finish(app.map_err(|error| error.error_response()));
    boxed::factory(accepted.and_then(http))
}

/// Answers a request, and then gives the turn to the next on its connection.
async fn answer(site: &Site, mut request: ServiceRequest) -> ServiceResponse {
    if request.path().ends_with("/head") && !request.query_string().is_empty() {
        own(request.head_mut());
    }
    let (request, payload) = request.into_parts();
    let turns = request.conn_data::<Turns>();
    let turns = turns.expect("every connection has brought its own");
    let response = match turns.begin(request.head()) {
        None => dispatch::respond(site, request.head(), payload, turns).await,
        Some(refusal) => dispatch::refuse(site, request.head(), refusal, turns),
    };
    let response = turns.end(request.head(), response);
    ServiceResponse::new(request, response)
}

/// Copies the parts of a request's head that borrow from the connection's read buffer. A request that waits
/// would otherwise keep that buffer, and its connection get a second one: 8 KiB a waiter.
fn own(head: &mut RequestHead) {
    if let Ok(uri) = Uri::try_from(head.uri.to_string()) {
        head.uri = uri;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    head.headers = headers;
}
