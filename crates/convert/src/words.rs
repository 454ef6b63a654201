//! Command lines as one text.

/// Joins the words, which NULs separate, to a line that a shell would split into them. Replaces bytes that are not
/// UTF-8.
pub(crate) fn joined(words: &[u8]) -> String {
    let mut out = String::with_capacity(words.len() + 8);
    for (index, word) in words.split(|byte| *byte == 0).enumerate() {
        if index > 0 {
            out.push(' ');
        }
        append(&String::from_utf8_lossy(word), &mut out);
    }
    out
}

fn append(word: &str, out: &mut String) {
    if !word.is_empty() && word.bytes().all(is_plain) {
        return out.push_str(word);
    }
    out.push('\'');
    out.push_str(&word.replace('\'', "'\\''"));
    out.push('\'');
}

/// Whether every shell takes the byte literally.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn words_come_back_from_a_shell() {
        assert_eq!(joined(b"cc\0-c\0a.c"), "cc -c a.c");
        assert_eq!(joined(b"sh\0-c\0echo 'x' $y\0"), "sh -c 'echo '\\''x'\\'' $y' ''");
        assert_eq!(joined(b"\xff"), "'\u{fffd}'");
    }
}
