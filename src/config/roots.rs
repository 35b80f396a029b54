//! Folders as `file://` URIs (RFC 8089; percent-encoding: RFC 3986, 2.1). Pure but for the current folder.

use std::fmt::Write;
use std::path::Path;

/// The URI of a folder; a relative one is meant from the current folder.
pub(super) fn file_uri(folder: &Path) -> String {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut uri = "file://".to_owned();
    for byte in folder.as_os_str().as_encoded_bytes() {
        let stays = byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~');
        if stays {
            uri.push(char::from(*byte));
        } else if write!(uri, "%{byte:02X}").is_err() {
            // A text in memory takes everything.
            return uri;
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_plain_characters_is_encoded() {
        let of = |folder: &str| file_uri(Path::new(folder));
        assert_eq!(of("/srv/docs"), "file:///srv/docs");
        assert_eq!(of("/a b/ä%?#~x"), "file:///a%20b/%C3%A4%25%3F%23~x");
        assert_eq!(of("/"), "file:///");
    }

    #[test]
    fn a_relative_folder_is_made_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(file_uri(Path::new("x")), file_uri(&here.join("x")));
        assert!(file_uri(Path::new(".")).ends_with(here.file_name().unwrap().to_str().unwrap()));
    }
}
