//! Tests of DNS messages, and a target for damaged ones.

use super::*;

/// A query as a guest sends it.
pub(crate) fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(labels(name));
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

#[test]
fn queries_are_read() {
    let asked = |name: &str, kind| Query::parse(&query(name, kind)).unwrap().asked;
    assert_eq!(asked("Web", 1), Asked::Addresses { name: "web".into(), ipv6: false });
    assert_eq!(asked("a.b", 28), Asked::Addresses { name: "a.b".into(), ipv6: true });
    assert_eq!(asked("2.0.17.172.in-addr.arpa", 12), Asked::Names("172.17.0.2".parse().unwrap()));
    let nibbles = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(asked(nibbles, 12), Asked::Names("fd00::2".parse().unwrap()));
    assert_eq!(asked("1.2.3.in-addr.arpa", 12), Asked::Other { name: Some("1.2.3.in-addr.arpa".into()) });
    assert_eq!(asked("web", 16), Asked::Other { name: Some("web".into()) });
    assert_eq!(asked("we b", 1), Asked::Other { name: None });
}

#[test]
fn what_is_no_query_is_told_apart() {
    let good = query("web", 1);
    assert_eq!(Query::parse(&good[..11]), Err(Wrong::Silence));
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(Query::parse(&response), Err(Wrong::Silence));
    let mut update = good.clone();
    update[2] |= 0x28;
    assert_eq!(Query::parse(&update), Err(Wrong::Answer(Code::NotImplemented)));
    for change in [(5, 2), (5, 0), (12, 0xc0), (12, 64)] {
        let mut wrong = good.clone();
        wrong[change.0] = change.1;
        assert_eq!(Query::parse(&wrong), Err(Wrong::Answer(Code::Malformed)), "{change:?}");
    }
    assert_eq!(Query::parse(&good[..good.len() - 1]), Err(Wrong::Answer(Code::Malformed)));
}

#[test]
fn answers_have_the_question_and_fit() {
    let message = query("web", 1);
    let parsed = Query::parse(&message).unwrap();
    let address = Record::Address("10.0.0.2".parse().unwrap());
    let answer = parsed.answer(&message, Code::Good, &vec![address; 100]);
    assert!(answer.len() <= 512);
    assert_eq!(answer[..4], [0x12, 0x34, 0x81, 0x80]);
    assert_eq!(answer[4..6], [0, 1]);
    assert_eq!(usize::from(answer[7]), (answer.len() - message.len()) / 16);
    assert!(parsed.is_answered_by(&message, &answer, 0x1234));
    assert!(!parsed.is_answered_by(&message, &answer, 0x1235));
    assert!(!parsed.is_answered_by(&message, &message, 0x1234));
    let mut other = answer.clone();
    other[13] ^= 1;
    assert!(!parsed.is_answered_by(&message, &other, 0x1234));
    assert!(parsed.is_answered_by(&message, &bare(&message, Code::Malformed), 0x1234));
    assert!(!parsed.is_answered_by(&message, &bare(&message, Code::Good), 0x1234));
}

#[test]
fn names_are_answered_as_labels() {
    let message = query("2.0.0.10.in-addr.arpa", 12);
    let parsed = Query::parse(&message).unwrap();
    let answer = parsed.answer(&message, Code::Good, &[Record::Name("web.shop".into())]);
    assert!(answer.ends_with(b"\x03web\x04shop\0"));
}

mod fuzz {
    //! Queries and responses with anything in them (docs/testing.md, "Fuzzing").

    use ::fuzz::{Fuzz, shape};

    use super::*;

    #[test]
    fn dns() {
        let with_pointer = [&query("web", 1)[..], &[0xc0, 0x0c, 0, 1, 0, 1]].concat();
        let answer = Query::parse(&query("web", 28)).unwrap().answer(&query("web", 28), Code::Good, &[]);
        let seeds =
            [query("web.shop", 1), query("2.0.17.172.in-addr.arpa", 12), query("", 2), with_pointer, answer];
        let words = ["\x03web", "\x07in-addr\x04arpa\x00", "\x03ip6\x04arpa\x00", "\u{0}\u{1c}\u{0}\u{1}"];
        Fuzz::new("dns", seeds).words(words).run(|input| {
            let records = [Record::Address("fd00::2".parse().unwrap()), Record::Name("web.shop".into())];
            let parsed = Query::parse(input);
            match &parsed {
                Ok(query) => {
                    let answer = query.answer(input, Code::Good, &records);
                    assert!(answer.len() <= MOST && answer[..2] == input[..2]);
                    assert!(query.is_answered_by(input, &answer, u16::from_be_bytes([input[0], input[1]])));
                    assert!(!query.is_answered_by(input, input, u16::from_be_bytes([input[0], input[1]])));
                    // As a query again it asks the same.
                    let mut again = answer;
                    again[2] &= 0x7f;
                    assert_eq!(Query::parse(&again).map(|query| query.asked), Ok(query.asked.clone()));
                    let _ = query.is_answered_by(input, &input[input.len() / 2..], 0x1234);
                }
                Err(Wrong::Answer(code)) => assert_eq!(bare(input, *code).len(), HEADER),
                Err(Wrong::Silence) => {}
            }
            shape(match parsed {
                Ok(query) => match query.asked {
                    Asked::Addresses { name, ipv6 } => (1, name.len().min(20), u8::from(ipv6)),
                    Asked::Names(address) => (2, 0, u8::from(address.is_ipv6())),
                    Asked::Other { name } => (3, name.map_or(99, |name| name.len().min(20)), 0),
                },
                Err(Wrong::Answer(code)) => (4, code as usize, 0),
                Err(Wrong::Silence) => (5, 0, 0),
            })
        });
    }
}
