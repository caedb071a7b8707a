/// Text without what a terminal obeys: each control character is U+FFFD in it. A name on disk, and what somebody typed,
/// may hold any.
pub fn tame(text: &str) -> String {
    let tame = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(tame).collect()
}
