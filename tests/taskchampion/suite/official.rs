use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use taskchampion::Uuid;
use taskchampion_sync_server_core::{
    AddVersionResult, GetVersionResult, ServerConfig, ServerError, SnapshotUrgency, Storage,
    StorageTxn,
};
use taskchampion_sync_server_storage_sqlite::SqliteStorage;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::lossy::message;

/// taskchampion-sync-server: its rules and its storage, as they are published, behind a few lines of HTTP, since its own
/// are in no package.
pub struct Official {
    pub url: String,
    directory: TempDir,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

impl Official {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let storage = SqliteStorage::new(directory.path()).expect("a fresh file");
        let server = taskchampion_sync_server_core::Server::new(ServerConfig::default(), storage);
        let server = Arc::new(server);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has an address");
        // It ends with the process.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                thread::spawn(move || serve(connection, &server));
            }
        });
        Self {
            url: format!("http://{address}"),
            directory,
        }
    }

    /// The directory of its file.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its file.
    pub fn file(&self) -> PathBuf {
        self.directory().join("taskchampion-sync-server.sqlite3")
    }

    /// Another use of its file, by the same storage.
    pub fn storage(&self) -> SqliteStorage {
        SqliteStorage::new(self.directory()).expect("its file")
    }
}

/// Makes a client without versions; while what is returned lives, the file stays open, and so SQLite leaves what comes in
/// the file beside it.
pub fn known<'a>(storage: &'a SqliteStorage, client: &str) -> Box<dyn StorageTxn + 'a> {
    let client = client.parse().expect("it is a uuid");
    runtime().block_on(async {
        let mut work = storage.txn(client).await.expect("it can be written");
        let made = work.new_client(Uuid::nil()).await;
        made.expect("it is new");
        work.commit().await.expect("it can be written");
        work
    })
}

/// Answers the requests of one connection.
fn serve(mut connection: TcpStream, server: &taskchampion_sync_server_core::Server) -> Option<()> {
    let (runtime, mut buffer) = (runtime(), vec![0; 1 << 16]);
    loop {
        let request = message(&mut connection, &mut buffer)?;
        let end = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&request[..end]).into_owned();
        let (status, headers, body) = runtime
            .block_on(answer(server, &head, &request[end..]))
            .expect("it works");
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n");
        connection
            .write_all(&[head.into_bytes(), body].concat())
            .ok()?;
    }
}

/// The status, the headers and the body, as its `api` has them.
async fn answer(
    server: &taskchampion_sync_server_core::Server,
    head: &str,
    body: &[u8],
) -> Result<(u16, String, Vec<u8>), ServerError> {
    let path = head.split(' ').nth(1).expect("there is a path");
    let mut parts = path.trim_start_matches("/v1/client/").split('/');
    let what = parts.next().expect("there is one");
    let id = parts.next().map(|id| id.parse().expect("it is a uuid"));
    let client = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-client-id").then_some(value)
    });
    let client: Uuid = client.expect("it says who").parse().expect("it is a uuid");
    let media = |kind: &str| format!("content-type: application/vnd.taskchampion.{kind}\r\n");
    let empty = |status| Ok((status, String::new(), Vec::new()));
    match (what, id) {
        ("add-version", Some(parent)) => {
            if let Err(ServerError::NoSuchClient) = server.get_snapshot(client).await {
                let mut work = server.txn(client).await?;
                work.new_client(Uuid::nil()).await?;
                work.commit().await?;
            }
            let added = server.add_version(client, parent, body.to_vec()).await?;
            let (status, mut headers) = match added.0 {
                AddVersionResult::Ok(id) => (200, format!("x-version-id: {id}\r\n")),
                AddVersionResult::ExpectedParentVersion(id) => {
                    (409, format!("x-parent-version-id: {id}\r\n"))
                }
            };
            headers += match added.1 {
                SnapshotUrgency::None => "",
                SnapshotUrgency::Low => "x-snapshot-request: urgency=low\r\n",
                SnapshotUrgency::High => "x-snapshot-request: urgency=high\r\n",
            };
            Ok((status, headers, Vec::new()))
        }
        ("get-child-version", Some(parent)) => {
            match server.get_child_version(client, parent).await {
                Ok(GetVersionResult::Success {
                    version_id,
                    parent_version_id,
                    history_segment,
                }) => {
                    let ids = format!(
                        "x-version-id: {version_id}\r\nx-parent-version-id: {parent_version_id}\r\n"
                    );
                    Ok((200, media("history-segment") + &ids, history_segment))
                }
                Ok(GetVersionResult::Gone) => empty(410),
                Ok(GetVersionResult::NotFound) | Err(ServerError::NoSuchClient) => empty(404),
                Err(error) => Err(error),
            }
        }
        ("add-snapshot", Some(version)) => {
            let added = server.add_snapshot(client, version, body.to_vec());
            added.await?;
            empty(200)
        }
        ("snapshot", None) => match server.get_snapshot(client).await {
            Ok(Some((id, bytes))) => Ok((
                200,
                media("snapshot") + &format!("x-version-id: {id}\r\n"),
                bytes,
            )),
            Ok(None) | Err(ServerError::NoSuchClient) => empty(404),
            Err(error) => Err(error),
        },
        _ => panic!("{path}"),
    }
}
