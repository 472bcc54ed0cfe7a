//! The wire format of protobuf: numbered fields in the order in which they come.

use super::{Error, Result};

/// The rest of a message.
pub(super) struct WireReader<'a>(pub(super) &'a [u8]);

/// Value of one field, before its type is known.
pub(super) enum WireValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number: Kubernetes' types have none.
    Fixed,
}

impl<'a> WireReader<'a> {
    pub(super) fn next(&mut self) -> Result<Option<(u64, WireValue<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.read_varint()?;
        let field = match tag & 7 {
            0 => WireValue::Number(self.read_varint()?),
            1 => self.take_bytes(8).map(|_| WireValue::Fixed)?,
            2 => {
                let length = usize::try_from(self.read_varint()?).map_err(|_| Error::Short)?;
                WireValue::Bytes(self.take_bytes(length)?)
            }
            5 => self.take_bytes(4).map(|_| WireValue::Fixed)?,
            _ => return Err(Error::Short),
        };
        Ok(Some((tag >> 3, field)))
    }

    fn take_bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn read_varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take_bytes(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Short)
    }
}

impl<'a> WireValue<'a> {
    pub(super) fn as_bytes(&self, name: &'static str) -> Result<&'a [u8]> {
        match self {
            WireValue::Bytes(bytes) => Ok(bytes),
            _ => Err(Error::Type(name)),
        }
    }

    pub(super) fn to_text(&self, name: &'static str) -> Result<String> {
        String::from_utf8(self.as_bytes(name)?.to_vec()).map_err(|_| Error::Text)
    }

    /// Negative numbers are encoded as two's complement.
    pub(super) fn as_int(&self, name: &'static str) -> Result<i64> {
        match self {
            WireValue::Number(number) => Ok(number.cast_signed()),
            _ => Err(Error::Type(name)),
        }
    }
}
