//! A body that is read on beside the work on what has come: while that is hashed and written, the next of it comes.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::client::remote::AnswerBody;
use crate::model::limits;

/// A body, of which some MiB at most are held that nobody has read yet. An error comes after all that was read before it.
///
/// Dropped before its end, it leaves the connection to the thread that reads, which gives it up with the next piece, or when the
/// server has said nothing for too long.
pub struct ReadAhead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that were read, for others to take their room.
    spent: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl ReadAhead {
    /// Starts to read this body; where the system has no thread to give, it is read as it is asked for.
    pub fn of(body: impl Read + Send + 'static) -> AnswerBody {
        let (give, pieces) = sync_channel(limits::ANSWER_AHEAD);
        let (spent, back) = sync_channel(limits::ANSWER_AHEAD);
        // Handed over by a channel, so that it is still here where there is no thread.
        let (hand, take) = sync_channel::<Box<dyn Read + Send>>(1);
        let thread = std::thread::Builder::new().name("read".to_owned());
        let started = thread.spawn(move || {
            if let Ok(body) = take.recv() {
                read_on(body, &give, &back);
            }
        });
        match started {
            Ok(_) => {
                let _ = hand.send(Box::new(body));
                Box::new(Self {
                    pieces,
                    spent,
                    piece: Vec::new(),
                    at: 0,
                })
            }
            Err(_) => Box::new(body),
        }
    }
}

fn read_on(
    mut body: Box<dyn Read + Send>,
    give: &SyncSender<io::Result<Vec<u8>>>,
    back: &Receiver<Vec<u8>>,
) {
    loop {
        let mut piece = back.try_recv().unwrap_or_default();
        piece.resize(limits::PIECE, 0);
        let read = match body.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => {
                piece.truncate(read);
                Ok(piece)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_last = read.is_err();
        if give.send(read).is_err() || is_last {
            return;
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let Ok(piece) = self.pieces.recv() else {
                return Ok(0);
            };
            let spent = std::mem::replace(&mut self.piece, piece?);
            self.at = 0;
            // With enough of them on the way back, it goes.
            let _ = self.spent.try_send(spent);
        }
        let length = (self.piece.len() - self.at).min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three pieces, and then an error.
    struct Breaking(u8);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2..=4 => {
                    buffer[..1000].fill(self.0);
                    Ok(1000)
                }
                _ => Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    #[test]
    fn all_that_came_is_read_before_the_error_that_came_after_it() {
        let mut ahead = ReadAhead::of(Breaking(0));
        let mut read = Vec::new();
        let error = ahead.read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(read, [[2; 1000], [3; 1000], [4; 1000]].concat());
    }

    #[test]
    fn a_long_body_comes_whole_and_ends_once() {
        let bytes: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut ahead = ReadAhead::of(io::Cursor::new(bytes.clone()));
        let mut read = Vec::new();
        ahead.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 0);
    }

    #[test]
    fn no_more_is_read_than_is_held() {
        let (tell, told) = std::sync::mpsc::channel();
        struct Told(std::sync::mpsc::Sender<()>);
        impl Read for Told {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let _ = self.0.send(());
                Ok(buffer.len())
            }
        }
        let ahead = ReadAhead::of(Told(tell));
        // One more than are held waits to be handed over.
        for _ in 0..=limits::ANSWER_AHEAD {
            told.recv().unwrap();
        }
        let more = told.recv_timeout(std::time::Duration::from_millis(100));
        assert!(more.is_err());
        drop(ahead);
        // The thread ends, and its end of the channel with it.
        assert!(
            told.recv_timeout(std::time::Duration::from_secs(10))
                .is_err()
        );
    }
}
