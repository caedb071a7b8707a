//! From a request to its endpoint: the whole route table.

use std::time::Instant;

use actix_http::{Request, Response};
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Version};

use super::answer::access;
use super::answer::error::Error;
use super::answer::outcome::Answer;
use super::answer::problem::Problem;
use super::answer::statuses::LONG_HEAD;
use super::blocking::meet;
use super::connection::framing::announced;
use super::connection::refusal::Refusal;
use super::connection::turns::Turns;
use super::endpoints::{
    about, asked, bundles, checkpoints, chunks, events, heads, missing, module, page, snapshots,
    stores, taskchampion, transactions,
};
use super::metrics::counters::NO_ROUTE;
use super::render::render;
use super::request::bearer::{bearer, client};
use super::request::body::Body;
use super::request::limiters::Who;
use super::request::origins::preflight;
use super::site::Site;
use crate::model::{UserId, limits};
use crate::wire::taskchampion::{HISTORY_SEGMENT, SNAPSHOT};
use crate::wire::{Code, Miss, Route, is_of_a_client, is_user_elsewhere};

/// Answers one request. Before the answer is returned, the rest of the body is drained within a bound; the
/// answer has the headers that all have.
pub async fn respond(
    site: &Site,
    request: &RequestHead,
    payload: Payload,
    turns: &Turns,
) -> HttpResponse {
    let started = Instant::now();
    let route = asked_for(request);
    let user = route.as_ref().ok().and_then(Route::user);
    let who = Who::of(request, user.copied());
    let mut body = Body::new(&site.bodies, payload, request.headers(), who, turns);
    let answered = match admit(site, &route, request) {
        Ok(Asked::Preflight) => Ok(preflight()),
        Ok(Asked::Route(route)) => {
            match about_what_is_there(site, route, request, &mut body).await {
                Ok(answer) => render(request, turns, answer).await,
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| error.noted(&site.store).log().respond());
    tell_apart(site, request, &mut response);
    let record = access::is_on()
        .then(|| record(site, started, request, &route, body.received(), Some(turns)));
    let unread = body.drain().await;
    if unread.is_some() || turns.should_be_last() {
        // The next bytes on this connection belong to this body, or nobody will look at them.
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    finish(request, &mut response);
    count(site, request, &route, &response, started);
    access::on_end(response, record, unread)
}

/// Answers the stand-in for bytes that are no request: 400 or 431 `malformed-request`, 408 `timeout`. Its
/// connection ends.
pub fn refuse(site: &Site, request: &RequestHead, refusal: Refusal, turns: &Turns) -> HttpResponse {
    let started = Instant::now();
    let mut response = match refusal {
        Refusal::Malformed => {
            Problem::new(Code::MalformedRequest, "this is no request of HTTP/1.1").respond()
        }
        Refusal::TooLong => {
            let detail = "the request has more of a head than is taken";
            Problem::new(Code::MalformedRequest, detail).respond_with(LONG_HEAD)
        }
        Refusal::InTheClear => {
            let detail = "only TLS is spoken at this port; the address begins with https://";
            Problem::new(Code::MalformedRequest, detail).respond()
        }
        Refusal::TooSlow => {
            let detail = "the head of the request did not come in time";
            Problem::new(Code::Timeout, detail).respond()
        }
    };
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    finish(request, &mut response);
    count(site, request, &Err(Miss::NotFound), &response, started);
    let record = access::is_on().then(|| access::Record {
        method: NO_ROUTE,
        ..record(site, started, request, &Err(Miss::NotFound), 0, Some(turns))
    });
    access::on_end(response, record, None)
}

/// Looks at a request whose client waits for `100 Continue` before it sends the body. A request that is refused
/// whatever its body is, is answered at once where the body would not be read to its end. Otherwise it is
/// answered after the body: a proxy that goes on sending would take an answer before that for the
/// connection's failure.
///
/// # Errors
/// The answer to a request that is refused at once; its connection ends.
pub fn before_the_body(site: &Site, mut request: Request) -> Result<Request, Response<BoxBody>> {
    if announced(&request.head().headers).is_none_or(|bytes| bytes <= limits::DRAIN_BYTES) {
        return Ok(request);
    }
    let started = Instant::now();
    let route = asked_for(request.head());
    let Err(error) = admit(site, &route, request.head()) else {
        return Ok(request);
    };
    let mut response = error.noted(&site.store).log().respond();
    tell_apart(site, request.head(), &mut response);
    finish(request.head(), &mut response);
    // The client may send the body even so, and nothing would tell it from the next request.
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    count(site, request.head(), &route, &response, started);
    let record = access::is_on().then(|| record(site, started, request.head(), &route, 0, None));
    let unread = request.take_payload();
    Err(access::on_end(response, record, Some(unread)).into())
}

/// The meaning of a request that is let in.
enum Asked<'a> {
    /// The question that this route stands for.
    Route(&'a Route),
    /// The question what a page may ask.
    Preflight,
}

/// The route of a request; where the path leaves its user open, `Authorization` says who it is, or what
/// TaskChampion's client has for that.
fn asked_for(request: &RequestHead) -> Result<Route, Miss> {
    let path = request.uri.path();
    Route::parse_with(path, || match is_of_a_client(path) {
        true => client(request.headers()),
        false => bearer(request.headers()),
    })
}

/// Refuses a method that the route does not take.
///
/// # Errors
/// 405 `method-not-allowed`
fn check_method(route: &Route, request: &RequestHead) -> Result<(), Problem> {
    let allow = route.allow();
    let mut methods = allow.split(", ");
    match methods.any(|method| method == request.method.as_str()) {
        true => Ok(()),
        false => Err(Problem::method_not_allowed(allow)),
    }
}

/// Refuses what can be refused before a byte of the body is read: 421 `wrong-host` and 403 `cross-origin` of a page
/// that may not ask (see [`Origins::admit`](super::request::origins::Origins::admit)), 401 `unauthorized`, 404 `not-found` and 400 `malformed-id` for
/// a path without a route, 405 `method-not-allowed`, 421 `wrong-shard` for a user whom another box is for, 415 `encoding-unsupported` for any
/// `Content-Encoding` but `identity` (bytes are stored as they are sent), 413 `too-large` (400
/// `invalid-transaction` of a transaction) by the announced length, and 507 `no-space` and
/// `quota-exceeded` of a chunk.
fn admit<'a>(
    site: &Site,
    route: &'a Result<Route, Miss>,
    request: &RequestHead,
) -> Result<Asked<'a>, Error> {
    let origins = &site.settings.origins;
    origins.admit(request)?;
    if origins.is_preflight(request) {
        return Ok(Asked::Preflight);
    }
    let route = match route {
        Ok(route) => route,
        Err(miss) => {
            // What a path takes is the same for anybody, so it goes before who asks.
            let of_anybody =
                Route::parse_with(request.uri.path(), || Ok(UserId::from_bytes([0; 16])));
            of_anybody.map_or(Ok(()), |route| check_method(&route, request))?;
            return Err(Problem::from(*miss).into());
        }
    };
    check_method(route, request)?;
    if let Some(user) = route.user() {
        site.store.user(*user).check_shard()?;
    }
    if is_encoded(request) {
        let detail = "no Content-Encoding is taken; send the bytes as they are";
        return Err(Problem::new(Code::EncodingUnsupported, detail).into());
    }
    match route {
        Route::AddVersion(..) => taskchampion::check_media(request, HISTORY_SEGMENT)?,
        Route::AddSnapshot(..) => taskchampion::check_media(request, SNAPSHOT)?,
        _ => {}
    }
    let (most, over): (u64, fn(u64) -> Problem) = match route {
        Route::AddVersion(..) | Route::AddSnapshot(..) => {
            (site.store.options().chunk_bytes, Problem::too_large)
        }
        _ if request.method != Method::PUT => return Ok(Asked::Route(route)),
        Route::Head(_) => (limits::HEAD_BODY_BYTES as u64, Problem::too_large),
        Route::Transaction(..) => (limits::TRANSACTION_BYTES as u64, transactions::too_long),
        Route::Checkpoint(_) => (limits::TRANSACTION_BYTES as u64, Problem::too_large),
        Route::Chunk(..) => (site.store.options().chunk_bytes, Problem::too_large),
        _ => return Ok(Asked::Route(route)),
    };
    match announced(request.headers()) {
        Some(bytes) if bytes > most => Err(over(most).into()),
        announced => {
            match route {
                Route::Chunk(user, id) => site.store.user(*user).foresee_chunk(id, announced)?,
                Route::AddVersion(user, _) | Route::AddSnapshot(user, _) => {
                    site.store.user(*user).foresee_file(announced)?;
                }
                _ => {}
            }
            Ok(Asked::Route(route))
        }
    }
}

/// Whether there is a `Content-Encoding` that is one: `identity` stands for none (RFC 9110, 8.4).
fn is_encoded(request: &RequestHead) -> bool {
    let values = request.headers().get_all(header::CONTENT_ENCODING);
    let mut codings = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// Answers about a user only where the store is there, and the user's files are durable (see [`meet`]). Writes
/// into a store that was moved away meanwhile are not acknowledged.
async fn about_what_is_there(
    site: &Site,
    route: &Route,
    request: &RequestHead,
    body: &mut Body,
) -> Result<Answer, Error> {
    let Some(user) = route.user() else {
        return endpoint(site, route, request, body).await;
    };
    let theirs = site.store.user(*user);
    // A frozen user can be deleted: that has its own look at how frozen.
    let deletes = matches!(route, Route::Store(_)) && request.method == Method::DELETE;
    match deletes {
        true => meet(site, theirs.though_frozen()).await?,
        false => meet(site, theirs.clone()).await?,
    }
    let answered = endpoint(site, route, request, body).await;
    let reads = matches!(request.method, Method::GET | Method::HEAD)
        || matches!(route, Route::Missing(_) | Route::Asked(_));
    // What was read when it moved elsewhere is told to nobody. A write was made under the lock, and is told as it ended; but what
    // it met of one who is gone is no damage.
    if reads || matches!(answered, Err(Error::Store(_))) && !deletes {
        theirs.check_serves()?;
    }
    let answer = answered?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        site.store.is_there()?;
    }
    Ok(answer)
}

/// The route table, after [`admit`].
async fn endpoint(
    site: &Site,
    route: &Route,
    request: &RequestHead,
    body: &mut Body,
) -> Result<Answer, Error> {
    let get = matches!(request.method, Method::GET | Method::HEAD);
    let put = request.method == Method::PUT;
    let post = request.method == Method::POST;
    let delete = request.method == Method::DELETE;
    match *route {
        Route::Index if get && page::is_for_it(site, request) => Ok(page::page()),
        Route::Index if get => Ok(about::index(site)),
        Route::PageFile(file) if get => Ok(page::file(site, file)?),
        Route::Document if get => Ok(about::document()),
        Route::Module if get => Ok(module::get(request)),
        Route::LoadBalancerHeartbeat if get => Ok(about::load_balancer_heartbeat()),
        Route::Heartbeat if get => about::heartbeat(site).await,
        Route::Version if get => Ok(about::version()),
        Route::Store(user) if get => stores::get(site, user).await,
        Route::Store(user) if delete => stores::delete(site, user).await,
        Route::Head(user) if get => heads::get(site, request, user).await,
        Route::Head(user) if put => heads::put(site, request, body, user).await,
        Route::Checkpoint(user) if get => checkpoints::get(site, user).await,
        Route::Checkpoint(user) if put => checkpoints::put(site, request, body, user).await,
        Route::Events(user) if get => events::get(site, request, user).await,
        Route::Transactions(user) if get => transactions::list(site, request, user).await,
        Route::Transaction(user, id) if get => transactions::get(site, user, id).await,
        Route::Transaction(user, id) if put => transactions::put(site, body, user, id).await,
        Route::Chunk(user, id) if get => chunks::get(site, user, id).await,
        Route::Chunk(user, id) if put => chunks::put(site, body, user, id).await,
        Route::Missing(user) if post => missing::post(site, request, body, user).await,
        Route::Asked(user) if post => asked::post(site, request, body, user).await,
        Route::Bundle(user) if get => bundles::get(site, request, user).await,
        Route::Bundle(user) if post => bundles::post(site, body, user).await,
        Route::AddVersion(user, parent) if post => {
            taskchampion::add(site, body, user, parent).await
        }
        Route::AddSnapshot(user, version) if post => {
            snapshots::add(site, body, user, version).await
        }
        Route::Snapshot(user) if get => snapshots::get(site, user).await,
        Route::ChildVersion(user, parent) if get => taskchampion::child(site, user, parent).await,
        _ => Err(Problem::method_not_allowed(route.allow()).into()),
    }
}

/// Counts an answer, where anybody wants to know.
fn count(
    site: &Site,
    request: &RequestHead,
    route: &Result<Route, Miss>,
    response: &HttpResponse,
    started: Instant,
) {
    let Some(counters) = &site.counters else {
        return;
    };
    // What a client chose to wait says nothing of the server.
    let waits = |query: &str| query.contains("wait=");
    let waited = matches!(route, Ok(Route::Head(_))) && request.uri.query().is_some_and(waits);
    let took = (!waited).then(|| started.elapsed());
    let pattern = route.as_ref().map_or(NO_ROUTE, Route::pattern);
    counters.answered(pattern, response.status().as_u16(), took);
}

fn record(
    site: &Site,
    started: Instant,
    request: &RequestHead,
    route: &Result<Route, Miss>,
    received: u64,
    turns: Option<&Turns>,
) -> access::Record {
    let route = route.as_ref().ok();
    access::Record {
        started,
        method: access::method_name(&request.method),
        pattern: route.map_or(NO_ROUTE, Route::pattern),
        user: route.and_then(Route::user).map(UserId::short),
        client: site.settings.clients.of(request),
        received,
        turns: turns.cloned(),
    }
}

/// Adds what tells caches, and browsers, for whom this answer is.
fn tell_apart(site: &Site, request: &RequestHead, response: &mut HttpResponse) {
    let headers = response.headers_mut();
    site.settings.origins.open(request, headers);
    if is_user_elsewhere(request.uri.path()) {
        // The same address is another user's as well.
        headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    }
    if is_of_a_client(request.uri.path()) {
        let both = HeaderValue::from_static("X-Client-Id, Authorization");
        headers.append(header::VARY, both);
    }
}

/// Sets the headers that all answers have. The address holds the user's id: it goes into no `Referer`, and
/// no browser takes a chunk for a page.
fn finish(request: &RequestHead, response: &mut HttpResponse) {
    let headers = response.headers_mut();
    let no_referrer = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, no_referrer);
    let as_it_says = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, as_it_says);
    if request.version == Version::HTTP_10 && response.body().size() == BodySize::Stream {
        // HTTP/1.0 has no chunked bodies: the end of the connection is the end of the body (RFC 9112, 6.1).
        let head = response.head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    if request.method == Method::CONNECT || response.status() == StatusCode::REQUEST_TIMEOUT {
        // The bytes that follow on this connection may be no request.
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
}
