//! How a command fails, for the person at the terminal.

/// The words and the exit status of a command that did not do what it was asked for.
pub struct Failure {
    pub status: u8,
    pub words: String,
}

impl Failure {
    /// The command was asked for wrongly: status 2.
    pub fn usage(words: impl Into<String>) -> Self {
        Self {
            status: 2,
            words: words.into(),
        }
    }

    /// The store could not be looked at, so that nothing is known: status 3.
    pub fn could_not_check(words: impl Into<String>) -> Self {
        Self {
            status: 3,
            words: words.into(),
        }
    }

    /// The command has said on stdout what is the matter: status 1, and no other word.
    pub fn told() -> Self {
        Self::failed("")
    }

    /// The failure with its words said in the log, and nowhere else.
    pub fn logged(self) -> Self {
        log::error!("{}", self.words);
        Self {
            words: String::new(),
            ..self
        }
    }

    /// The command was tried, and failed: status 1.
    pub fn failed(words: impl Into<String>) -> Self {
        Self {
            status: 1,
            words: words.into(),
        }
    }

    /// The failure with a line more, for a person; the same where that is empty.
    pub fn and(mut self, hint: &str) -> Self {
        if !hint.is_empty() {
            self.words += &format!("\n  {hint}");
        }
        self
    }
}
