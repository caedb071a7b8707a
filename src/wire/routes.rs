//! The routes: what a path stands for, and with which methods it may be asked.

use std::fmt;

use super::taskchampion;
use crate::model::{ChunkId, MalformedId, TransactionId, UserId};

/// The meaning of a path. Nothing unparsed goes past here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Index,
    Document,
    Module,
    PageFile(PageFile),
    LoadBalancerHeartbeat,
    Heartbeat,
    Version,
    Store(UserId),
    Head(UserId),
    Checkpoint(UserId),
    Events(UserId),
    Transactions(UserId),
    Transaction(UserId, TransactionId),
    Chunk(UserId, ChunkId),
    Missing(UserId),
    Asked(UserId),
    Bundle(UserId),
    AddVersion(UserId, TransactionId),
    ChildVersion(UserId, TransactionId),
    AddSnapshot(UserId, TransactionId),
    Snapshot(UserId),
}

/// A file of the page for a person, beside the page itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFile {
    Script,
    Style,
    /// The part of the module for pages that the page uses, without its comments.
    Module,
}

impl PageFile {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Script, Self::Style, Self::Module];

    /// The name in the path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Script => "page.js",
            Self::Style => "page.css",
            Self::Module => "mentat-sync.js",
        }
    }
}

/// A path that stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route looks like this.
    NotFound,
    /// Nor like this, in which two slashes stand side by side: an address and a path were joined badly.
    TwoSlashes,
    /// A route does, but not with ids spelled like this.
    MalformedId(MalformedId),
    /// Percent-encoded where no id needs to be.
    PercentEncoded,
    /// The path leaves the user to somebody who does not name one.
    NoUser,
    /// So does a path of TaskChampion's, whose client names the user in a header of its own.
    NoClient,
}

impl From<MalformedId> for Miss {
    fn from(malformed: MalformedId) -> Self {
        Miss::MalformedId(malformed)
    }
}

/// The word that stands in a path in the place of a user's id, which is said elsewhere then.
const ELSEWHERE: &str = "-";

/// Whether this path leaves its user to be said elsewhere: what is answered depends on who that is.
pub fn is_user_elsewhere(path: &str) -> bool {
    let user = path
        .strip_prefix("/0.1/")
        .and_then(|rest| rest.split('/').next());
    user == Some(ELSEWHERE)
}

/// The start of the paths that TaskChampion's client asks, none of which names its user.
const CLIENT: &str = "/v1/client/";

/// Whether this path is TaskChampion's: its user is said in a header.
pub fn is_of_a_client(path: &str) -> bool {
    path.starts_with(CLIENT)
}

impl Route {
    /// The patterns that there are.
    pub const PATTERNS: [&str; 21] = [
        "/",
        "/openapi.json",
        "/mentat-sync.js",
        "/page/{file}",
        "/__lbheartbeat__",
        "/__heartbeat__",
        "/__version__",
        "/0.1/{user}/",
        "/0.1/{user}/head",
        "/0.1/{user}/checkpoint",
        "/0.1/{user}/events",
        "/0.1/{user}/transactions",
        "/0.1/{user}/transactions/{transaction}",
        "/0.1/{user}/chunks/{chunk}",
        "/0.1/{user}/chunks/missing",
        "/0.1/{user}/chunks/get",
        "/0.1/{user}/bundle",
        "/v1/client/add-version/{parent}",
        "/v1/client/get-child-version/{parent}",
        "/v1/client/add-snapshot/{version}",
        "/v1/client/snapshot",
    ];

    /// Reads the path of a request that says its user nowhere else, as [`Route::parse_with`] does.
    pub fn parse(path: &str) -> Result<Self, Miss> {
        Self::parse_with(path, || Err(Miss::NoUser))
    }

    /// Reads the path of a request as it stands on the wire. It is not percent-decoded: no id needs
    /// it, so below `/0.1/` a `%` makes whatever it stands in malformed. Where the path has `-` in the place of
    /// the user, or none, `elsewhere` says who it is.
    pub fn parse_with(
        path: &str,
        elsewhere: impl FnOnce() -> Result<UserId, Miss>,
    ) -> Result<Self, Miss> {
        if path.contains("//") {
            return Err(Miss::TwoSlashes);
        }
        if let Some(rest) = path.strip_prefix(CLIENT) {
            return Self::of_a_client(rest, elsewhere);
        }
        if let Some(name) = path.strip_prefix("/page/") {
            let file = PageFile::ALL.into_iter().find(|file| file.name() == name);
            return file.map(Route::PageFile).ok_or(Miss::NotFound);
        }
        let Some(rest) = path.strip_prefix("/0.1/") else {
            return match path {
                "/" => Ok(Route::Index),
                "/openapi.json" => Ok(Route::Document),
                "/mentat-sync.js" => Ok(Route::Module),
                "/__lbheartbeat__" => Ok(Route::LoadBalancerHeartbeat),
                "/__heartbeat__" => Ok(Route::Heartbeat),
                "/__version__" => Ok(Route::Version),
                _ => Err(Miss::NotFound),
            };
        };
        if rest.is_empty() {
            return Err(Miss::NotFound);
        }
        let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let user = match user {
            ELSEWHERE => elsewhere()?,
            id => id.parse()?,
        };
        match rest.split_once('/') {
            None => match rest {
                "" => Ok(Route::Store(user)),
                "head" => Ok(Route::Head(user)),
                "checkpoint" => Ok(Route::Checkpoint(user)),
                "events" => Ok(Route::Events(user)),
                "transactions" => Ok(Route::Transactions(user)),
                "bundle" => Ok(Route::Bundle(user)),
                _ => Err(unknown(rest)),
            },
            Some(("transactions", id)) => Ok(Route::Transaction(user, id.parse()?)),
            Some(("chunks", "missing")) => Ok(Route::Missing(user)),
            Some(("chunks", "get")) => Ok(Route::Asked(user)),
            Some(("chunks", id)) => Ok(Route::Chunk(user, id.parse()?)),
            Some(_) => Err(unknown(rest)),
        }
    }

    /// Reads what follows in a path of TaskChampion's.
    fn of_a_client(
        rest: &str,
        elsewhere: impl FnOnce() -> Result<UserId, Miss>,
    ) -> Result<Self, Miss> {
        match rest.split_once('/') {
            Some(("add-version", id)) => Ok(Route::AddVersion(elsewhere()?, taskchampion::id(id)?)),
            Some(("add-snapshot", id)) => {
                Ok(Route::AddSnapshot(elsewhere()?, taskchampion::id(id)?))
            }
            None if rest == "snapshot" => Ok(Route::Snapshot(elsewhere()?)),
            Some(("get-child-version", id)) => {
                Ok(Route::ChildVersion(elsewhere()?, taskchampion::id(id)?))
            }
            _ => Err(unknown(rest)),
        }
    }

    /// The route as documents write it: what a log line shows, since a path holds the user's id.
    pub const fn pattern(&self) -> &'static str {
        match self {
            Route::Index => "/",
            Route::Document => "/openapi.json",
            Route::Module => "/mentat-sync.js",
            Route::PageFile(_) => "/page/{file}",
            Route::LoadBalancerHeartbeat => "/__lbheartbeat__",
            Route::Heartbeat => "/__heartbeat__",
            Route::Version => "/__version__",
            Route::Store(_) => "/0.1/{user}/",
            Route::Head(_) => "/0.1/{user}/head",
            Route::Checkpoint(_) => "/0.1/{user}/checkpoint",
            Route::Events(_) => "/0.1/{user}/events",
            Route::Transactions(_) => "/0.1/{user}/transactions",
            Route::Transaction(..) => "/0.1/{user}/transactions/{transaction}",
            Route::Chunk(..) => "/0.1/{user}/chunks/{chunk}",
            Route::Missing(_) => "/0.1/{user}/chunks/missing",
            Route::Asked(_) => "/0.1/{user}/chunks/get",
            Route::Bundle(_) => "/0.1/{user}/bundle",
            Route::AddVersion(..) => "/v1/client/add-version/{parent}",
            Route::ChildVersion(..) => "/v1/client/get-child-version/{parent}",
            Route::AddSnapshot(..) => "/v1/client/add-snapshot/{version}",
            Route::Snapshot(_) => "/v1/client/snapshot",
        }
    }

    /// The methods it takes, as the `Allow` header lists them.
    pub const fn allow(&self) -> &'static str {
        match self {
            Route::Index
            | Route::Document
            | Route::Module
            | Route::PageFile(_)
            | Route::LoadBalancerHeartbeat
            | Route::Heartbeat
            | Route::Version
            | Route::Events(_)
            | Route::Transactions(_)
            | Route::ChildVersion(..)
            | Route::Snapshot(_) => "GET, HEAD",
            Route::Store(_) => "GET, HEAD, DELETE",
            Route::Bundle(_) => "GET, HEAD, POST",
            Route::Missing(_)
            | Route::Asked(_)
            | Route::AddVersion(..)
            | Route::AddSnapshot(..) => "POST",
            Route::Head(_) | Route::Checkpoint(_) | Route::Transaction(..) | Route::Chunk(..) => {
                "GET, HEAD, PUT"
            }
        }
    }

    /// The user whose data the route is about, if it is any.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Route::Index
            | Route::Document
            | Route::Module
            | Route::PageFile(_)
            | Route::LoadBalancerHeartbeat
            | Route::Heartbeat
            | Route::Version => None,
            Route::Store(user)
            | Route::Head(user)
            | Route::Checkpoint(user)
            | Route::Events(user)
            | Route::Transactions(user)
            | Route::Transaction(user, _)
            | Route::Chunk(user, _)
            | Route::Missing(user)
            | Route::Asked(user)
            | Route::Bundle(user)
            | Route::AddVersion(user, _)
            | Route::ChildVersion(user, _)
            | Route::AddSnapshot(user, _)
            | Route::Snapshot(user) => Some(user),
        }
    }
}

/// The path, which [`Route::parse_with`] reads back.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Index
            | Route::Document
            | Route::Module
            | Route::LoadBalancerHeartbeat
            | Route::Heartbeat
            | Route::Version => f.write_str(self.pattern()),
            Route::PageFile(file) => write!(f, "/page/{}", file.name()),
            Route::Store(user) => write!(f, "/0.1/{user}/"),
            Route::Head(user) => write!(f, "/0.1/{user}/head"),
            Route::Checkpoint(user) => write!(f, "/0.1/{user}/checkpoint"),
            Route::Events(user) => write!(f, "/0.1/{user}/events"),
            Route::Transactions(user) => write!(f, "/0.1/{user}/transactions"),
            Route::Transaction(user, id) => write!(f, "/0.1/{user}/transactions/{id}"),
            Route::Chunk(user, id) => write!(f, "/0.1/{user}/chunks/{id}"),
            Route::Missing(user) => write!(f, "/0.1/{user}/chunks/missing"),
            Route::Asked(user) => write!(f, "/0.1/{user}/chunks/get"),
            Route::Bundle(user) => write!(f, "/0.1/{user}/bundle"),
            Route::AddVersion(_, id) => write!(f, "{CLIENT}add-version/{id}"),
            Route::ChildVersion(_, id) => write!(f, "{CLIENT}get-child-version/{id}"),
            Route::AddSnapshot(_, id) => write!(f, "{CLIENT}add-snapshot/{id}"),
            Route::Snapshot(_) => write!(f, "{CLIENT}snapshot"),
        }
    }
}

fn unknown(rest: &str) -> Miss {
    if rest.contains('%') {
        Miss::PercentEncoded
    } else {
        Miss::NotFound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn every_route_is_read_back_from_its_path() {
        let (user, id) = (USER.parse().unwrap(), USER.parse().unwrap());
        let routes = [
            Route::Index,
            Route::Document,
            Route::Module,
            Route::PageFile(PageFile::Script),
            Route::PageFile(PageFile::Style),
            Route::PageFile(PageFile::Module),
            Route::LoadBalancerHeartbeat,
            Route::Heartbeat,
            Route::Version,
            Route::Store(user),
            Route::Head(user),
            Route::Checkpoint(user),
            Route::Events(user),
            Route::Transactions(user),
            Route::Transaction(user, id),
            Route::Chunk(user, DIGEST.parse().unwrap()),
            Route::Chunk(user, USER.parse().unwrap()),
            Route::Missing(user),
            Route::Asked(user),
            Route::Bundle(user),
            Route::AddVersion(user, id),
            Route::ChildVersion(user, id),
            Route::AddSnapshot(user, id),
            Route::Snapshot(user),
        ];
        for route in routes {
            let read = Route::parse_with(&route.to_string(), || Ok(user));
            assert_eq!(read, Ok(route));
            assert!(!route.pattern().contains(USER));
            assert!(Route::PATTERNS.contains(&route.pattern()), "{route}");
        }
        assert_eq!(
            Route::parse(&format!("/0.1/{USER}")),
            Ok(Route::Store(user))
        );
    }

    #[test]
    fn a_path_without_a_route_is_not_found() {
        for path in [
            "",
            "*",
            "/x",
            "/0.1",
            "/0.1/",
            "/0.2/",
            "/__version__/",
            "/openapi.json/",
            "/page",
            "/page/",
            "/page/page.html",
            "/page/../page/page.js",
            &format!("/0.1/{USER}/heads"),
            &format!("/0.1/{USER}/head/"),
            &format!("/0.1/{USER}/../x"),
            &format!("/0.1/{USER}/chunks"),
        ] {
            assert_eq!(Route::parse(path), Err(Miss::NotFound), "{path}");
        }
    }

    #[test]
    fn a_path_may_leave_its_user_to_be_said_elsewhere() {
        let user: UserId = USER.parse().unwrap();
        for rest in [
            "",
            "/",
            "/head",
            "/bundle",
            "/chunks/missing",
            "/chunks/get",
        ] {
            let (path, named) = (format!("/0.1/-{rest}"), format!("/0.1/{USER}{rest}"));
            assert_eq!(Route::parse(&path), Err(Miss::NoUser), "{path}");
            assert_eq!(Route::parse_with(&path, || Ok(user)), Route::parse(&named));
            assert!(
                is_user_elsewhere(&path) && !is_user_elsewhere(&named),
                "{path}"
            );
            let unasked = || panic!("the path says who it is");
            assert_eq!(Route::parse_with(&named, unasked), Route::parse(&named));
        }
        for path in ["/0.1/--/head", "/0.1/-x", "/0.1/%2d/head"] {
            let read = Route::parse_with(path, || Ok(user));
            assert!(matches!(read, Err(Miss::MalformedId(_))), "{path}");
        }
        assert!(!is_user_elsewhere("/-"));
    }

    #[test]
    fn a_path_of_taskchampions_never_says_its_user() {
        let user: UserId = USER.parse().unwrap();
        let read = |path: &str| Route::parse_with(path, || Ok(user));
        for verb in ["add-version", "get-child-version", "add-snapshot"] {
            let path = format!("/v1/client/{verb}/{USER}");
            assert!(is_of_a_client(&path) && !is_user_elsewhere(&path));
            assert!(read(&path).unwrap().user() == Some(&user));
            let unsaid = Route::parse_with(&path, || Err(Miss::NoClient));
            assert_eq!(unsaid, Err(Miss::NoClient));
            let upper = path.to_uppercase().replace("/V1/CLIENT", "/v1/client");
            let upper = upper.replace(&verb.to_uppercase(), verb);
            assert_eq!(read(&upper), read(&path));
            for malformed in [&format!("{path}/"), &path[..path.len() - 1]] {
                let read = read(malformed);
                assert!(matches!(read, Err(Miss::MalformedId(_))), "{malformed}");
            }
            assert_eq!(read(&format!("/v1/client/{verb}")), Err(Miss::NotFound));
        }
        for path in [
            "/v1/client/",
            "/v1/client",
            "/v1/client/x",
            "/v1/clients/snapshot",
        ] {
            assert_eq!(read(path), Err(Miss::NotFound), "{path}");
        }
        let encoded = read("/v1/client/add%2dversion/x");
        assert_eq!(encoded, Err(Miss::PercentEncoded));
    }

    #[test]
    fn no_path_has_two_slashes_side_by_side() {
        for path in [
            "//",
            "/0.1//head",
            &format!("/0.1/{USER}//"),
            &format!("/0.1/{USER}//head"),
            &format!("/0.1/{USER}/chunks//{DIGEST}"),
            &format!("//0.1/{USER}/head"),
            &format!("/0.1/{USER}/head//"),
        ] {
            assert_eq!(Route::parse(path), Err(Miss::TwoSlashes), "{path}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let upper = USER.to_uppercase();
        let encoded = USER.replace('-', "%2d");
        for path in [
            format!("/0.1/{upper}/head"),
            format!("/0.1/{encoded}/head"),
            format!("/0.1/{{{USER}}}/"),
            format!("/0.1/urn:uuid:{USER}/"),
            format!("/0.1/{}/", USER.replace('-', "")),
            "/0.1/x".to_owned(),
            "/0.1/..%2fx/head".to_owned(),
            "/0.1/%00".to_owned(),
            format!("/0.1/{USER}/transactions/"),
            format!("/0.1/{USER}/transactions/{upper}"),
            format!("/0.1/{USER}/transactions/{USER}/"),
            format!("/0.1/{USER}/transactions/{USER}%00"),
            format!("/0.1/{USER}/transactions/{DIGEST}"),
            format!("/0.1/{USER}/chunks/"),
            format!("/0.1/{USER}/chunks/.."),
            format!("/0.1/{USER}/chunks/../../x"),
            format!("/0.1/{USER}/chunks/{}", DIGEST.to_uppercase()),
            format!("/0.1/{USER}/chunks/{}", &DIGEST[1..]),
            format!("/0.1/{USER}/chunks/{DIGEST}/"),
            format!("/0.1/{USER}/chunks/{DIGEST}%2f"),
        ] {
            assert!(
                matches!(Route::parse(&path), Err(Miss::MalformedId(_))),
                "{path}"
            );
        }
        for path in ["%68ead", "x/%2e%2e"] {
            let path = format!("/0.1/{USER}/{path}");
            assert_eq!(Route::parse(&path), Err(Miss::PercentEncoded), "{path}");
        }
    }
}
