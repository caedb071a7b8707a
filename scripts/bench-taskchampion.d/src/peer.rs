//! A server of TaskChampion's protocol to be measured beside: taskchampion-sync-server itself is in no registry, but
//! its rules (`taskchampion-sync-server-core`) and its storage (`taskchampion-sync-server-storage-sqlite`) are. Over
//! them as they are published this is a plain handler of actix-web, of the same shape as that server's own: a body is
//! read whole, the storage is asked on the worker's thread, and a client that is not known is made.
//!
//!     taskchampion-peer ADDRESS DIR
//!
//! It says no more than that server with its default log, which is nothing.

use std::path::Path;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{BytesMut, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, error, get, middleware, post, web};
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use rusqlite::Connection;
use taskchampion_sync_server_core::{
    AddVersionResult, GetVersionResult, NIL_VERSION_ID, Server, ServerConfig, ServerError,
    SnapshotUrgency,
};
use taskchampion_sync_server_storage_sqlite::SqliteStorage;
use uuid::Uuid;

const CLIENT_ID: &str = "X-Client-Id";
const VERSION_ID: &str = "X-Version-Id";
const PARENT_VERSION_ID: &str = "X-Parent-Version-Id";
const SNAPSHOT_REQUEST: &str = "X-Snapshot-Request";
const HISTORY_SEGMENT: &str = "application/vnd.taskchampion.history-segment";
const SNAPSHOT: &str = "application/vnd.taskchampion.snapshot";

/// The longest body that it takes.
const MOST: usize = 100 << 20;

/// What `PRAGMA synchronous` answers for FULL.
const FULL: i64 = 2;

type State = Data<Arc<Server>>;
type Answer = actix_web::Result<HttpResponse>;

#[actix_web::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().context("the address is missing")?;
    let directory = arguments.next().context("the directory is missing")?;
    let storage = SqliteStorage::new(&directory)?;
    check_durable(Path::new(&directory))?;
    let server = Arc::new(Server::new(ServerConfig::default(), storage));
    HttpServer::new(move || {
        let no_store =
            middleware::DefaultHeaders::new().add(("Cache-Control", "no-store, max-age=0"));
        App::new()
            .app_data(Data::new(server.clone()))
            .wrap(no_store)
            .service(get_child_version)
            .service(add_version)
            .service(get_snapshot)
            .service(add_snapshot)
    })
    .bind(address)?
    .run()
    .await?;
    Ok(())
}

/// Makes sure that what is answered is durable: the storage asks for no mode of syncing, so that each of its
/// connections has the one that a new connection to its file has.
fn check_durable(directory: &Path) -> Result<()> {
    let database = directory.join("taskchampion-sync-server.sqlite3");
    let connection = Connection::open(database)?;
    let ask = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let synchronous = ask("PRAGMA synchronous")?;
    ensure!(synchronous == FULL, "SQLite syncs in mode {synchronous}");
    Ok(())
}

#[get("/v1/client/get-child-version/{parent}")]
async fn get_child_version(request: HttpRequest, state: State, parent: web::Path<Uuid>) -> Answer {
    let client = client_of(&request)?;
    match state.get_child_version(client, *parent).await {
        Ok(GetVersionResult::Success {
            version_id,
            parent_version_id,
            history_segment,
        }) => Ok(HttpResponse::Ok()
            .content_type(HISTORY_SEGMENT)
            .insert_header((VERSION_ID, version_id.to_string()))
            .insert_header((PARENT_VERSION_ID, parent_version_id.to_string()))
            .body(history_segment)),
        Ok(GetVersionResult::NotFound) => Err(error::ErrorNotFound("no such version")),
        Ok(GetVersionResult::Gone) => Err(error::ErrorGone("version has been deleted")),
        Err(error) => Err(failed(error)),
    }
}

#[post("/v1/client/add-version/{parent}")]
async fn add_version(
    request: HttpRequest,
    state: State,
    parent: web::Path<Uuid>,
    body: Payload,
) -> Answer {
    check_media(&request, HISTORY_SEGMENT)?;
    let client = client_of(&request)?;
    let segment = read(body).await?;
    loop {
        return match state.add_version(client, *parent, segment.to_vec()).await {
            Ok((AddVersionResult::Ok(version), urgency)) => {
                let mut answer = HttpResponse::Ok();
                answer.insert_header((VERSION_ID, version.to_string()));
                match urgency {
                    SnapshotUrgency::None => {}
                    SnapshotUrgency::Low => {
                        answer.insert_header((SNAPSHOT_REQUEST, "urgency=low"));
                    }
                    SnapshotUrgency::High => {
                        answer.insert_header((SNAPSHOT_REQUEST, "urgency=high"));
                    }
                }
                Ok(answer.finish())
            }
            Ok((AddVersionResult::ExpectedParentVersion(newest), _)) => {
                let mut answer = HttpResponse::Conflict();
                answer.insert_header((PARENT_VERSION_ID, newest.to_string()));
                Ok(answer.finish())
            }
            Err(ServerError::NoSuchClient) => {
                make_client(&state, client).await?;
                continue;
            }
            Err(error) => Err(failed(error)),
        };
    }
}

#[get("/v1/client/snapshot")]
async fn get_snapshot(request: HttpRequest, state: State) -> Answer {
    let client = client_of(&request)?;
    match state.get_snapshot(client).await {
        Ok(Some((version, data))) => Ok(HttpResponse::Ok()
            .content_type(SNAPSHOT)
            .insert_header((VERSION_ID, version.to_string()))
            .body(data)),
        Ok(None) => Err(error::ErrorNotFound("no snapshot")),
        Err(error) => Err(failed(error)),
    }
}

#[post("/v1/client/add-snapshot/{version}")]
async fn add_snapshot(
    request: HttpRequest,
    state: State,
    version: web::Path<Uuid>,
    body: Payload,
) -> Answer {
    check_media(&request, SNAPSHOT)?;
    let client = client_of(&request)?;
    let snapshot = read(body).await?;
    let added = state
        .add_snapshot(client, *version, snapshot.to_vec())
        .await;
    added.map_err(failed)?;
    Ok(HttpResponse::new(StatusCode::OK))
}

/// Makes a client that is not known yet.
async fn make_client(state: &State, client: Uuid) -> actix_web::Result<()> {
    let mut transaction = state.txn(client).await.map_err(failed)?;
    let made = transaction.new_client(NIL_VERSION_ID).await;
    made.map_err(error::ErrorInternalServerError)?;
    let committed = transaction.commit().await;
    committed.map_err(error::ErrorInternalServerError)
}

fn client_of(request: &HttpRequest) -> actix_web::Result<Uuid> {
    let said = request.headers().get(CLIENT_ID);
    said.and_then(|said| Uuid::parse_str(said.to_str().ok()?).ok())
        .ok_or_else(|| error::ErrorBadRequest("bad x-client-id"))
}

fn check_media(request: &HttpRequest, media: &str) -> actix_web::Result<()> {
    let said = request.headers().get("content-type");
    match said.is_some_and(|said| said == media) {
        true => Ok(()),
        false => Err(error::ErrorBadRequest("Bad content-type")),
    }
}

/// The whole of a body, which has at least one byte.
async fn read(mut payload: Payload) -> actix_web::Result<BytesMut> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece?;
        if body.len() + piece.len() > MOST {
            return Err(error::ErrorBadRequest("overflow"));
        }
        body.extend_from_slice(&piece);
    }
    match body.is_empty() {
        true => Err(error::ErrorBadRequest("Empty body")),
        false => Ok(body),
    }
}

fn failed(error: ServerError) -> actix_web::Error {
    match error {
        ServerError::NoSuchClient => error::ErrorNotFound("no such client"),
        ServerError::Other(error) => error::ErrorInternalServerError(error),
    }
}
