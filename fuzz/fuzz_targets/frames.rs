//! Any bytes as the stream between manager and agent, in both directions.
#![no_main]

use barkeep::agent::message::{Request, Response};
use barkeep::transport::frame::{Frame, FrameReader, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut frames = FrameReader::new(data);
    while let Ok(Some(frame)) = frames.next_frame() {
        if let Frame::Message(payload) = frame {
            let _ = decode::<Request>(payload);
            let _ = decode::<Response>(payload);
        }
    }
    assert!(frames.consumed() <= data.len() as u64);
    let _ = decode::<Request>(data);
    let _ = decode::<Response>(data);
});
