//! Sending a part of a file behind what was written to a connection, by sendfile(2).

use std::io;
use std::task::{Context, Poll, Waker, ready};

use super::socket::Socket;
use crate::disk::Handle;

/// The part of a file that is to follow the bytes which actix has written.
///
/// The body of an answer orders it and waits ([`FilePart::poll_done`]); the connection sends it when actix
/// flushes ([`FilePart::poll_send`]).
#[derive(Default)]
pub enum FilePart {
    /// No file is being sent.
    #[default]
    None,
    /// `left` bytes from `offset` on are still to be sent.
    Going {
        /// The file, which stays open until the part is done.
        file: Handle,
        /// The place in the file of the next byte.
        offset: u64,
        /// The number of bytes to send.
        left: usize,
        /// Wakes the body that waits for the end.
        body: Option<Waker>,
    },
    /// Done; sendfile refused the last `left` bytes.
    Done {
        /// The number of bytes that are not sent.
        left: usize,
    },
}

impl FilePart {
    /// The part of this file from `offset` on, `length` bytes long, all of it to be sent.
    pub fn new(file: Handle, offset: u64, length: usize) -> Self {
        Self::Going {
            file,
            offset,
            left: length,
            body: None,
        }
    }

    /// Whether bytes of a file are still to follow what is written now.
    pub fn is_going(&self) -> bool {
        matches!(self, Self::Going { .. })
    }

    /// Ready when the part of `length` bytes is done, with the number of its last bytes that sendfile refused.
    pub fn poll_done(&mut self, length: usize, context: &mut Context<'_>) -> Poll<usize> {
        match self {
            Self::Going { body, .. } => {
                *body = Some(context.waker().clone());
                Poll::Pending
            }
            Self::Done { left } => Poll::Ready(*left),
            Self::None => Poll::Ready(length),
        }
    }

    /// Sends some more of the part, and wakes the body once it is done. Ready with the number of bytes sent,
    /// which is 0 where there is no part, or where the system cannot send this file so.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file has become shorter since it was opened: the answer must not look whole.
    /// Otherwise the socket's own.
    pub fn poll_send<S: Socket>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Self::Going {
            file,
            offset,
            left,
            body,
        } = self
        else {
            return Poll::Ready(Ok(0));
        };
        let sent = match file.descriptor() {
            None => None,
            Some(descriptor) => {
                match ready!(stream.poll_send_file(context, descriptor, *offset, *left)) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Ok(sent) => Some(sent),
                    Err(cannot) if is_unsupported(&cannot) => None,
                    Err(other) => return Poll::Ready(Err(other)),
                }
            }
        };
        *offset += sent.unwrap_or(0) as u64;
        *left -= sent.unwrap_or(0);
        if sent.is_none() || *left == 0 {
            let (left, body) = (*left, body.take());
            *self = Self::Done { left };
            body.into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(sent.unwrap_or(0)))
    }
}

/// Whether the file system of this file has no sendfile(2), as some have not.
fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
