//! From a request to its endpoint: the whole route table.

use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use super::body::Body;
use super::problem::Problem;
use super::{Answer, Site, about, access, chunks, events, heads, stores, transactions};
use crate::wire::{Code, Miss, Route};

/// The pattern that the access log shows for a path without a route.
const NO_ROUTE: &str = "-";

/// Answers one request. Whatever comes of it, what is left of the body is drained within a bound
/// first, and the answer has the headers that all have.
pub async fn respond(site: &Site, request: &HttpRequest, payload: Payload) -> HttpResponse {
    let started = Instant::now();
    let route = Route::parse(request.uri().path());
    let mut body = Body::new(payload, request.headers(), site.settings.body_stall);
    let answer = match &route {
        Ok(route) => endpoint(site, route, request, &mut body).await,
        Err(miss) => Err(Problem::from(*miss)),
    };
    let mut response = answer.unwrap_or_else(Problem::respond);
    let record = access::is_on().then(|| record(started, request, &route, &body));
    let unread = body.drain().await;
    finish(request, &mut response);
    access::on_end(response, record, unread)
}

/// The route table. 405 `method-not-allowed` for a method that is not in it, 415
/// `encoding-unsupported` for any `Content-Encoding`: what is stored is what was sent.
async fn endpoint(site: &Site, route: &Route, request: &HttpRequest, body: &mut Body) -> Answer {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let detail = "no Content-Encoding is taken; send the bytes as they are";
        return Err(Problem::new(Code::EncodingUnsupported, detail));
    }
    // The names of the methods are values, not patterns.
    let (get, put, delete) = match *request.method() {
        Method::GET | Method::HEAD => (true, false, false),
        Method::PUT => (false, true, false),
        Method::DELETE => (false, false, true),
        _ => (false, false, false),
    };
    match *route {
        Route::Index if get => Ok(about::index(site)),
        Route::LoadBalancerHeartbeat if get => Ok(about::load_balancer_heartbeat()),
        Route::Heartbeat if get => about::heartbeat(site).await,
        Route::Version if get => Ok(about::version()),
        Route::Store(user) if get => stores::get(site, user).await,
        Route::Store(user) if delete => stores::delete(site, user).await,
        Route::Head(user) if get => heads::get(site, request, user).await,
        Route::Head(user) if put => heads::put(site, body, user).await,
        Route::Events(user) if get => events::get(site, request, user).await,
        Route::Transactions(user) if get => transactions::list(site, request, user).await,
        Route::Transaction(user, id) if get => transactions::get(site, request, user, id).await,
        Route::Transaction(user, id) if put => transactions::put(site, body, user, id).await,
        Route::Chunk(user, id) if get => chunks::get(site, request, user, id).await,
        Route::Chunk(user, id) if put => chunks::put(site, body, user, id).await,
        _ => Err(Problem::method_not_allowed(route.allow())),
    }
}

fn record(
    started: Instant,
    request: &HttpRequest,
    route: &Result<Route, Miss>,
    body: &Body,
) -> access::Record {
    let route = route.as_ref().ok();
    access::Record {
        started,
        method: access::method_name(request.method()),
        pattern: route.map_or(NO_ROUTE, Route::pattern),
        user: route.and_then(Route::user).map(|user| user.short()),
        received: body.received(),
    }
}

/// What all answers have in common. The address holds the user's id: it goes into no `Referer`, and
/// no browser takes a chunk for a page.
fn finish(request: &HttpRequest, response: &mut HttpResponse) {
    let headers = response.headers_mut();
    let no_referrer = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, no_referrer);
    let as_it_says = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, as_it_says);
    if request.method() == Method::CONNECT || response.status() == StatusCode::REQUEST_TIMEOUT {
        // Nobody knows what would come next on this connection.
        response
            .head_mut()
            .set_connection_type(actix_web::http::ConnectionType::Close);
    }
}
