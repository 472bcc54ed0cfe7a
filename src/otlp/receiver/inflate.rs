//! Decompresses gzip, up to the maximum size of a request.

use std::io::{ErrorKind, Read};

use flate2::read::MultiGzDecoder;

use super::{
    body::{Budget, HeldBytes},
    refusal::{MOST_BYTES, Refusal},
};

const CHUNK_BYTES: usize = 64 * 1024;

/// The decompressed bytes, with their reservation in the budget.
///
/// # Errors
///
/// When it is no gzip, is cut off, or is larger than a request may be.
pub(super) fn inflate(packed: &[u8], budget: &Budget) -> Result<(Vec<u8>, HeldBytes), Refusal> {
    let mut decoder = MultiGzDecoder::new(packed);
    let (mut bytes, mut held) = (vec![], budget.reserve_bytes(0)?);
    loop {
        let before = bytes.len();
        held.merge_held(budget.reserve_bytes(CHUNK_BYTES)?);
        bytes.reserve_exact(CHUNK_BYTES);
        let read = decoder
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut bytes);
        match read {
            Ok(_) if bytes.len() > MOST_BYTES => return Err(Refusal::TooLarge),
            Ok(_) if bytes.len() == before => return Ok((bytes, held)),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Refusal::BadGzip),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_a_cut_one_and_none_at_all_are_told_apart() {
        let budget = Budget::default();
        let text = b"spans ".repeat(100_000);
        assert_eq!(inflate(&gzip(&text), &budget).unwrap().0, text);
        assert_eq!(inflate(&gzip(b""), &budget).unwrap().0, b"");
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflate(&two, &budget).unwrap().0, b"one two");
        let bomb = gzip(&vec![0; 200 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(inflate(&bomb, &budget), Err(Refusal::TooLarge)));
        let whole = gzip(&text);
        for cut in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            assert!(
                matches!(inflate(&whole[..cut], &budget), Err(Refusal::BadGzip)),
                "{cut}"
            );
        }
        assert!(matches!(
            inflate(b"no gzip at all", &budget),
            Err(Refusal::BadGzip)
        ));
        assert_eq!(budget.free(), Budget::default().free(), "all is given back");
    }

    #[test]
    fn any_bytes_inflate_or_are_refused() {
        let spoilt = (
            prop::collection::vec(any::<u8>(), 0..300),
            any::<prop::sample::Index>(),
            any::<u8>(),
        );
        let inputs = prop_oneof![
            2 => spoilt.prop_map(|(bytes, at, byte)| {
                let mut packed = gzip(&bytes);
                let at = at.index(packed.len());
                packed[at] ^= byte;
                packed
            }),
            1 => prop::collection::vec(any::<u8>(), 0..100),
        ];
        let budget = Budget::default();
        crate::fuzz::any("gzip", 300, 1, &inputs, |all| {
            for packed in all {
                if let Ok((bytes, _)) = inflate(&packed, &budget) {
                    prop_assert!(bytes.len() <= MOST_BYTES);
                }
            }
            prop_assert_eq!(budget.free(), Budget::default().free());
            Ok(())
        });
    }
}
