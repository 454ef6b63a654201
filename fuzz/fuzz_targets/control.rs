//! Any bytes as a message to the control socket, as its answer, as orders to the recorder process, and as an HTTP request:
//! an error is one line, and what is accepted is written and read again.

#![no_main]

use fsmon_service::control::protocol::{Command, answer, parse_answer};
use fsmon_service::internals::{are_orders, http_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Command::parse(bytes) {
        Ok(command) => {
            let line = command.line();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            // Not the whole command: a number with a fraction may come back as its neighbour.
            assert_eq!(Command::parse(&line).expect("its own line").name(), command.name());
        }
        Err(error) => {
            let line = answer(Err(error));
            assert!(!line[..line.len() - 1].iter().any(|byte| *byte < b' '), "{line:?}");
            assert!(parse_answer(&line).is_err());
        }
    }
    let _ = (parse_answer(bytes), are_orders(bytes));
    let response = http_response(bytes);
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 ") && head.contains(&format!("Length: {}", body.len())));
});
