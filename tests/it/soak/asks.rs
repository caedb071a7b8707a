//! Requests, each of which must be answered with what is allowed.

use std::sync::atomic::Ordering;

use crate::kit::{Answer, Client};

use super::Stage;

/// What was asked for, or what should not have happened.
pub type Told<T> = Result<T, String>;

/// Requests over one connection; then another is made, so that descriptors come and go.
const CONNECTION: u64 = 64;

/// Requests of one user, each of which must be answered with what is allowed.
pub struct Asks<'a> {
    stage: &'a Stage,
    base: String,
    client: Client,
    /// How many; begun with the device's number, so that not all of them use one server.
    asked: u64,
}

impl<'a> Asks<'a> {
    pub fn new(stage: &'a Stage, user: &str, device: u64) -> Self {
        let asked = device * CONNECTION;
        Self {
            stage,
            base: format!("/0.1/{user}/"),
            client: Self::connect(stage, asked),
            asked,
        }
    }

    fn connect(stage: &Stage, asked: u64) -> Client {
        let servers = &stage.addresses;
        Client::new(servers[(asked / CONNECTION) as usize % servers.len()])
    }

    pub fn ask(
        &mut self,
        method: &str,
        rest: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        allowed: &[u16],
    ) -> Told<Answer> {
        self.asked += 1;
        if self.asked.is_multiple_of(CONNECTION) {
            self.client = Self::connect(self.stage, self.asked);
        }
        self.stage.requests.fetch_add(1, Ordering::Relaxed);
        let path = format!("{}{rest}", self.base);
        let answer = self.client.attempt(method, &path, headers, body);
        let answer = answer.map_err(|error| format!("{method} {path}: {error}"))?;
        match allowed.contains(&answer.status) {
            true => Ok(answer),
            false => Err(format!(
                "{method} {path}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(2000)])
            )),
        }
    }

    pub fn get(&mut self, rest: &str, allowed: &[u16]) -> Told<Answer> {
        self.ask("GET", rest, &[], None, allowed)
    }

    pub fn put(&mut self, rest: &str, body: &[u8], allowed: &[u16]) -> Told<Answer> {
        self.ask("PUT", rest, &[], Some(body), allowed)
    }

    pub fn delete(&mut self) -> Told<()> {
        self.ask("DELETE", "", &[], None, &[204]).map(drop)
    }
}
