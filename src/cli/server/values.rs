//! How values are spelled on the command line of a server: durations as 30s, 5m, 1d; sizes as KiB, MiB, GiB; addresses.

use std::time::Duration;

use bytesize::ByteSize;

use crate::http::Listener;

/// A duration that is not zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error} (such as 30s, 5m, 1d)")),
    }
}

/// A grace period, which may be nothing: then everything that is not reachable goes.
pub fn grace(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(grace) if grace <= Duration::from_secs(u32::MAX.into()) => Ok(grace),
        Ok(_) => Err("longer than a century".to_owned()),
        Err(error) => Err(format!("{error} (such as 30s, 5m, 1d)")),
    }
}

/// A number of bytes that is not zero.
pub fn size(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(ByteSize(0)) => Err("it must be more than nothing".to_owned()),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(error) => Err(format!("{error} (such as 512KiB, 64MiB, 1GiB)")),
    }
}

/// A number of bytes, which may be zero.
pub fn size_or_none(text: &str) -> Result<u64, String> {
    match text {
        "0" => Ok(0),
        other => size(other),
    }
}

/// `HOST:PORT`, or `unix:/path`.
pub fn listener(text: &str) -> Result<Listener, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err("unix: needs a path".to_owned());
        }
        return Ok(Listener::Unix(path.into()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(Listener::Tcp(text.to_owned()))
        }
        _ => Err(not_an_address(text)),
    }
}

/// The words for what is no address: a bare port says nothing of who may come.
fn not_an_address(text: &str) -> String {
    match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        Ok(port) => format!(
            "a port without a host: 127.0.0.1:{port} is for this box alone, 0.0.0.0:{port} (and [::]:{port}) for everybody \
             who can reach it"
        ),
        Err(_) if text.starts_with('/') => format!("not HOST:PORT; a socket is unix:{text}"),
        Err(_) => "not HOST:PORT or unix:/path".to_owned(),
    }
}

/// The mode of a file, in octal digits.
pub fn socket_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(mode),
        _ => Err("not a mode in octal digits, such as 0660".to_owned()),
    }
}

/// A group, by its number or by its name in `/etc/group`.
pub fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    group_in(&groups, text)
        .ok_or_else(|| "no such group in /etc/group; its number will do".to_owned())
}

/// The number of the group of this name, by lines as group(5) has them.
fn group_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spelled_as_people_do() {
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("64 KiB"), Ok(64 << 10));
        assert_eq!(size("10"), Ok(10));
        assert_eq!(grace("0s"), Ok(Duration::ZERO));
        assert_eq!(size_or_none("0"), Ok(0));
        assert_eq!(size_or_none("1KiB"), Ok(1024));
        for bad in ["", "x", "-1s"] {
            assert!(grace(bad).is_err(), "{bad}");
            assert!(size_or_none(bad).is_err(), "{bad}");
        }
        for bad in ["", "x", "0", "-1s"] {
            assert!(duration(bad).is_err(), "{bad}");
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(socket_mode("0660"), Ok(0o660));
        assert_eq!(socket_mode("600"), Ok(0o600));
        for bad in ["", "8", "1777", "+7", "rw", "0o660"] {
            assert!(socket_mode(bad).is_err(), "{bad}");
        }
        let groups = "root:x:0:\nwww-data:x:33:a,b\n+::\n";
        assert_eq!(group_in(groups, "www-data"), Some(33));
        assert_eq!(group_in(groups, "www"), None);
        assert_eq!(group("12"), Ok(12));
        assert!(group("-1").is_err() && group("no such group").is_err());
        assert_eq!(listener("[::1]:0"), Ok(Listener::Tcp("[::1]:0".to_owned())));
        assert_eq!(listener("unix:/run/x"), Ok(Listener::Unix("/run/x".into())));
        for (bad, words) in [
            ("8000", "127.0.0.1:8000"),
            (":8000", "127.0.0.1:8000"),
            ("/run/x", "unix:/run/x"),
        ] {
            let told = listener(bad).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
        for bad in [
            "",
            ":80",
            "80",
            "/x",
            "host",
            "host:",
            "host:x",
            "host:70000",
            "unix:",
        ] {
            assert!(listener(bad).is_err(), "{bad}");
        }
    }
}
