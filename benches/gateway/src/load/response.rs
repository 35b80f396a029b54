//! One HTTP response, out of bytes as they come. Knows lengths and chunks, and nothing else.

use memchr::memmem;

/// Where a response is complete, and what it said.
#[derive(Debug, Default)]
pub struct Response {
    /// Behind the head; 0 while that is not complete.
    body_begins: usize,
    pub status: u16,
    length: Option<usize>,
    is_chunked: bool,
    /// Where the next chunk begins.
    chunk_begins: usize,
}

impl Response {
    /// Whether it is complete; `bytes` is all that has come of it so far.
    pub fn is_complete(&mut self, bytes: &[u8]) -> Result<bool, String> {
        if self.body_begins == 0 && !self.head(bytes)? {
            return Ok(false);
        }
        if self.is_chunked {
            return self.is_last_chunk_here(bytes);
        }
        let length = self.length.ok_or("a response with neither a length nor chunks")?;
        Ok(bytes.len() >= self.body_begins + length)
    }

    /// Whether the head is complete.
    pub fn head(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(false);
        };
        self.body_begins = end + 4;
        self.chunk_begins = end + 4;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
        self.status = head
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .ok_or("no HTTP response")?;
        self.length = header(head, "content-length").and_then(|length| length.parse().ok());
        self.is_chunked = header(head, "transfer-encoding").is_some();
        if matches!(self.status, 202 | 204) && self.length.is_none() {
            self.length = Some(0);
        }
        Ok(true)
    }

    /// What is behind the head: with the sizes of chunks among it, where it comes in chunks.
    pub fn body<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.body_begins..]
    }

    fn is_last_chunk_here(&mut self, bytes: &[u8]) -> Result<bool, String> {
        while let Some(end) = bytes
            .get(self.chunk_begins..)
            .and_then(|rest| memmem::find(rest, b"\r\n"))
        {
            let size = std::str::from_utf8(&bytes[self.chunk_begins..self.chunk_begins + end])
                .ok()
                .and_then(|size| usize::from_str_radix(size.split(';').next()?.trim(), 16).ok())
                .ok_or("the size of a chunk is no number")?;
            let next = self.chunk_begins + end + 2 + size + 2;
            if bytes.len() < next {
                return Ok(false);
            }
            self.chunk_begins = next;
            if size == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A header of a response, by its name in small letters.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_at(text: &str) -> Option<usize> {
        let mut response = Response::default();
        (0..=text.len()).find(|n| response.is_complete(&text.as_bytes()[..*n]).unwrap())
    }

    #[test]
    fn a_response_ends_where_its_length_or_its_last_chunk_says() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\n\r\n",
        ] {
            assert_eq!(ends_at(text), Some(text.len()), "{text}");
        }
        assert_eq!(ends_at("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"), None);
    }
}
