//! The codec against itself, against prost, and against hostile bytes.

use proptest::prelude::*;
use prost::Message;

use super::*;

/// The message as prost knows it.
#[derive(Clone, PartialEq, Message)]
struct Bulk {
    #[prost(bytes = "bytes", tag = "1")]
    head: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    payload: Bytes,
}

/// The same fields written in the other order, with ones nobody knows.
#[derive(Clone, PartialEq, Message)]
struct Newer {
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(fixed32, tag = "4")]
    fixed32: u32,
    #[prost(fixed64, tag = "500")]
    fixed64: u64,
    #[prost(string, tag = "6")]
    text: String,
}

const LIMITS: Limits = Limits { head: 300, payload: 50_000 };

fn bytes(mut pieces: Pieces) -> Vec<u8> {
    let mut bytes = vec![0; pieces.remaining()];
    pieces.copy_to_slice(&mut bytes);
    bytes
}

fn encoded(frame: &BulkFrame) -> Vec<u8> {
    bytes(frame.clone().encode(&LIMITS).unwrap())
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// Head and joined payload of each message.
type Decoded = Vec<(Bytes, Vec<u8>)>;

/// All that a decoder makes of `bytes`, given in pieces cut at `cuts`, and whether it may end there.
fn decoded(bytes: &[u8], cuts: &[usize]) -> Result<(Decoded, bool)> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut decoder = Decoder::new(LIMITS);
    let (mut frames, mut from) = (Vec::new(), 0);
    for cut in cuts {
        decoder.push(Bytes::copy_from_slice(&bytes[from..cut]));
        from = cut;
        while let Some(frame) = decoder.next()? {
            frames.push((frame.head, frame.payload.concat()));
        }
    }
    Ok((frames, decoder.is_between_messages()))
}

fn frames() -> impl Strategy<Value = Vec<BulkFrame>> {
    let head = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..20),
        prop::collection::vec(any::<u8>(), 100..=300),
    ];
    let piece = (any::<u8>(), prop_oneof![0..3_usize, 1000..12_000_usize])
        .prop_map(|(byte, len)| Bytes::from(vec![byte; len]));
    let frame = (head, prop::collection::vec(piece, 0..4))
        .prop_map(|(head, payload)| BulkFrame { head: head.into(), payload });
    prop::collection::vec(frame, 0..4)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut(
        frames in frames(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let wire: Vec<u8> = frames.iter().flat_map(encoded).collect();
        let (got, whole) = decoded(&wire, &cuts).unwrap();
        let want: Vec<_> =
            frames.into_iter().map(|frame| (frame.head, frame.payload.concat())).collect();
        prop_assert!(got == want);
        prop_assert!(whole);
    }

    #[test]
    fn a_message_cut_short_is_no_message_and_no_clean_end(
        frames in frames(),
        end in any::<prop::sample::Index>(),
    ) {
        let messages: Vec<Vec<u8>> = frames.iter().map(encoded).collect();
        let wire = messages.concat();
        let end = end.index(wire.len() + 1);
        let mut boundaries = vec![0];
        for message in &messages {
            boundaries.push(boundaries.last().unwrap() + message.len());
        }
        let (got, whole) = decoded(&wire[..end], &[]).unwrap();
        let complete = boundaries.iter().filter(|at| **at <= end).count() - 1;
        prop_assert_eq!(got.len(), complete);
        prop_assert_eq!(whole, boundaries.contains(&end));
    }

    #[test]
    fn prost_and_the_codec_understand_each_other(
        frames in frames(),
        (number, text) in (1..u64::MAX, "[a-z]{0,9}"),
    ) {
        for frame in frames {
            let want = Bulk { head: frame.head.clone(), payload: frame.payload.concat().into() };
            let wire = encoded(&frame);
            prop_assert_eq!(&want.encode_to_vec()[..], &wire[5..]);
            // Payload first, amid fields of a newer version.
            let newer = Newer { number, fixed32: 7, fixed64: number, text: text.clone() };
            let payload = Bulk { head: Bytes::new(), ..want.clone() };
            let head = Bulk { payload: Bytes::new(), ..want.clone() };
            let parts = [payload.encode_to_vec(), newer.encode_to_vec(), head.encode_to_vec()];
            let (got, whole) = decoded(&prefixed(&parts.concat()), &[3, 9]).unwrap();
            prop_assert!(whole);
            prop_assert!(got == [(want.head, want.payload.to_vec())]);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused_as_prost_does(
        message in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            // Mostly fields that look right.
            prop::collection::vec(prop_oneof![Just(0x0a), Just(0x12), 0..8_u8, any::<u8>()], 0..20),
        ],
        cut in any::<usize>(),
    ) {
        let ours = decoded(&prefixed(&message), &[cut]);
        // What we take, prost reads the same; we refuse more (repeated fields, groups).
        if let Ok((got, true)) = ours {
            let bulk = Bulk::decode(&message[..]).unwrap();
            prop_assert!(got == [(bulk.head, bulk.payload.to_vec())]);
        }
    }
}

/// The error a decoder gives for these bytes.
fn refused(bytes: &[u8]) -> Error {
    decoded(bytes, &[]).expect_err("these bytes must be refused")
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_waited_for() {
    let too_large = |error| matches!(error, Error::TooLarge { .. });
    let protocol = |error| matches!(error, Error::Protocol(_));
    assert!(too_large(refused(&[0, 0xff, 0xff, 0xff, 0xff])));
    let limit = LIMITS.message() as u32;
    assert!(too_large(refused(&prefixed(&vec![0; limit as usize + 1])[..5])));
    assert!(decoded(&prefixed(&vec![0; limit as usize])[..5], &[]).is_ok());
    // A head of 301 bytes within a message that is small enough.
    let mut head = vec![0x0a, 0xad, 0x02];
    head.extend([0; 301]);
    assert!(too_large(refused(&prefixed(&head))));
    // Fields longer than their message, up to the largest number there is.
    assert!(protocol(refused(&prefixed(&[0x0a, 2, 0]))));
    assert!(protocol(refused(&prefixed(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]))));
    let largest = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert!(protocol(refused(&prefixed(&largest))));
    let endless = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert!(protocol(refused(&prefixed(&endless))));
    // A number of 65 bits, a key of 33.
    let bits = [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
    assert!(protocol(refused(&prefixed(&bits))));
    assert!(protocol(refused(&prefixed(&[0x85, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 0]))));
    // Cut off within a number, a fixed field; compressed; repeated; a group; field 0.
    assert!(protocol(refused(&prefixed(&[0x0a, 0x80]))));
    assert!(protocol(refused(&prefixed(&[0x19, 1, 2, 3]))));
    assert!(protocol(refused(&[1, 0, 0, 0, 0])));
    assert!(protocol(refused(&prefixed(&[0x0a, 0, 0x0a, 0]))));
    assert!(protocol(refused(&prefixed(&[0x1b, 0x1c]))));
    assert!(protocol(refused(&prefixed(&[0x02, 0]))));
}

#[test]
fn an_oversized_message_is_not_encoded() {
    let part = |frame: BulkFrame| match frame.encode(&LIMITS) {
        Err(Error::TooLarge { part, .. }) => part,
        other => panic!("{other:?}"),
    };
    assert_eq!(part(BulkFrame::head_only(vec![0; 301])), "head");
    let halves = BulkFrame { head: Bytes::new(), payload: vec![vec![0; 25_001].into(); 2] };
    assert_eq!(part(halves), "payload");
    assert!(BulkFrame::new(vec![0; 300], vec![0; 50_000]).encode(&LIMITS).is_ok());
}

#[test]
fn payload_is_not_copied_and_tiny_pieces_do_not_pile_up() {
    let frame = BulkFrame::new("head", vec![7; 40_000]);
    let wire = Bytes::from(encoded(&frame));
    let mut decoder = Decoder::new(LIMITS);
    decoder.push(wire.clone());
    let got = decoder.next().unwrap().unwrap();
    let [piece] = &got.payload[..] else { panic!("{} pieces", got.payload.len()) };
    assert!(wire.as_ptr_range().contains(&piece.as_ptr()), "the payload was copied");
    // Sent on, it still lies where it was received.
    let pieces = got.clone().encode(&LIMITS).unwrap();
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    assert_eq!(pieces.chunks_vectored(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), piece.as_ptr());

    for byte in &wire {
        decoder.push(Bytes::copy_from_slice(&[*byte]));
    }
    assert!(decoder.arrived.pieces.len() <= wire.len() / TINY + 1);
    let got = decoder.next().unwrap().unwrap();
    assert_eq!(got.payload.concat(), frame.payload.concat());
}
