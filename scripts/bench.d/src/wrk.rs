//! Reads, by wrk: one thread, which leaves the machine to the server, and a script that goes through
//! a list of paths.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The requests are made once, so that the script costs next to nothing while it counts.
const SCRIPT: &str = r#"
local requests, last, count = {}, 0, 0
function init()
  local headers = { HEADERS }
  for path in io.lines("PATHS") do
    count = count + 1
    requests[count] = wrk.format("GET", path, headers)
  end
end
function request()
  last = last % count + 1
  return requests[last]
end
"#;

/// A list of paths to be read again and again.
pub struct Reads {
    script: PathBuf,
}

impl Reads {
    /// Writes the list and the script into this directory, under this name.
    pub fn of(paths: &[String], directory: &Path, name: &str) -> Result<Self> {
        Self::with_headers(paths, &[], directory, name)
    }

    /// The same with these headers on each of them.
    pub fn with_headers(
        paths: &[String],
        headers: &[(&str, &str)],
        directory: &Path,
        name: &str,
    ) -> Result<Self> {
        let list = directory.join(format!("{name}.paths"));
        let mut text = String::new();
        for path in paths {
            writeln!(text, "{path}")?;
        }
        fs::write(&list, text)?;
        let headers: String = (headers.iter())
            .map(|(name, value)| format!("[{name:?}] = {value:?}, "))
            .collect();
        let said = SCRIPT
            .replace("PATHS", &list.display().to_string())
            .replace("HEADERS", headers.trim_end_matches(", "));
        let script = directory.join(format!("{name}.lua"));
        fs::write(&script, said)?;
        Ok(Self { script })
    }

    /// Answers a second over this many connections; fails if one of them is not a success.
    pub fn run(&self, address: SocketAddr, connections: usize, time: Duration) -> Result<f64> {
        let output = Command::new("wrk")
            .args(["--threads", "1", "--timeout", "30s", "--connections"])
            .arg(connections.to_string())
            .args(["--duration", &format!("{}s", time.as_secs().max(1))])
            .arg("--script")
            .arg(&self.script)
            .arg(format!("http://{address}/"))
            .output()
            .context("cannot start wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failures = ["Non-2xx", "Socket errors"];
        ensure!(
            output.status.success() && !failures.iter().any(|word| said.contains(word)),
            "wrk: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        Ok(line.context("wrk says no rate")?.trim().parse()?)
    }
}
