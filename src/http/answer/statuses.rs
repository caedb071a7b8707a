//! The one place that says with which status a code is answered.

use actix_web::http::StatusCode;

use crate::wire::Code;

/// The status of `malformed-request` where the head is too long: the one status that its code alone does not say.
pub const LONG_HEAD: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;

/// The status of a refusal. A refused advance of HEAD is a conflict whatever the reason; the same
/// word elsewhere (`unknown-transaction`, `missing-chunks`) says that something was not found.
pub fn status(code: Code, of_an_advance: bool) -> StatusCode {
    match code {
        Code::UnknownTransaction | Code::MissingChunks if of_an_advance => StatusCode::CONFLICT,
        Code::MalformedRequest
        | Code::MalformedId
        | Code::MalformedJson
        | Code::BadBundle
        | Code::BadQuery
        | Code::InvalidTransaction
        | Code::DigestMismatch
        | Code::BadContentType
        | Code::EmptyBody
        | Code::IncompleteBody => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::UnknownUser | Code::DeleteDisabled | Code::CrossOrigin => StatusCode::FORBIDDEN,
        Code::NotFound
        | Code::UnknownTransaction
        | Code::UnknownChunk
        | Code::NoCheckpoint
        | Code::MissingChunks => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::UnknownParent
        | Code::TransactionExists
        | Code::ChunkExists
        | Code::NotADescendant
        | Code::HasDescendants
        | Code::CheckpointOlder => StatusCode::CONFLICT,
        Code::Gone => StatusCode::GONE,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::WrongHost | Code::WrongShard => StatusCode::MISDIRECTED_REQUEST,
        Code::EncodingUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Range => StatusCode::RANGE_NOT_SATISFIABLE,
        Code::Damaged | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Busy | Code::Moving => StatusCode::SERVICE_UNAVAILABLE,
        Code::NoSpace | Code::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_refusal_with_a_title() {
        for &code in Code::ALL {
            for of_an_advance in [false, true] {
                let status = status(code, of_an_advance);
                assert!(
                    status.is_client_error() || status.is_server_error(),
                    "{code}"
                );
                assert!(status.canonical_reason().is_some(), "{code}");
            }
        }
    }
}
