//! How the structs of [`super`] are read: one macro for objects, and the values inside them.

use std::borrow::Cow;

use super::reader::{Json, Problem, Reader, Result};
use super::{Count, Topics};
use crate::evm::field::Field;

/// Reads a struct from an object. Every field has one or more keys; fields that do not come keep their
/// default, and a field that comes twice is an error. Keys nobody wants may be named too: that they are
/// passed over is then decided as fast as for the wanted ones. The text of the whole object is kept in the
/// field `text` names.
macro_rules! object {
    ($name:ident $(<$parameter:ident>)?, $shape:ident, { $($first:literal $(| $other:literal)* => $field:ident,)* } $(, passed_over: [$($skipped:literal),* $(,)?])? $(, text: $text:ident)?) => {
        impl<'a $(, $parameter: $crate::evm::json::reader::Json<'a>)?> $name<'a $(, $parameter)?> {
            fn read_fields(
                &mut self,
                reader: &mut $crate::evm::json::reader::Reader<'a>,
            ) -> $crate::evm::json::reader::Result<()> {
                #[derive(Clone, Copy)]
                #[allow(non_camel_case_types, reason = "the names are those of the fields")]
                enum Key {
                    $($field,)*
                    #[allow(dead_code, reason = "not every object has keys nobody wants")]
                    PassedOver,
                }
                const KEYS: $crate::evm::json::reader::Keys<Key> = &[
                    $((concat!("\"", $first, "\":"), Key::$field), $((concat!("\"", $other, "\":"), Key::$field),)*)*
                    $($((concat!("\"", $skipped, "\":"), Key::PassedOver),)*)?
                ];
                const { assert!(KEYS.len() < $crate::evm::json::reader::MAX_KEYS) };
                let mut seen = 0u64;
                $(let $text = reader.start();)?
                let mut object = reader.open()?;
                while let Some(key) = reader.key(&mut object, $crate::evm::json::reader::Shape::$shape, KEYS)? {
                    match key {
                        $(Key::$field => {
                            reader.once(&mut seen, Key::$field as u32, $first)?;
                            self.$field = $crate::evm::json::reader::Json::read(reader)?;
                        })*
                        Key::PassedOver => reader.skip()?,
                    }
                }
                $(self.$text = reader.since($text);)?
                Ok(())
            }
        }

        impl<'a $(, $parameter: $crate::evm::json::reader::Json<'a>)?> $crate::evm::json::reader::Json<'a>
            for $name<'a $(, $parameter)?>
        {
            fn read(
                reader: &mut $crate::evm::json::reader::Reader<'a>,
            ) -> $crate::evm::json::reader::Result<Self> {
                let mut value = Self::default();
                value.read_fields(reader)?;
                Ok(value)
            }

            fn push(
                reader: &mut $crate::evm::json::reader::Reader<'a>,
                list: &mut Vec<Self>,
            ) -> $crate::evm::json::reader::Result<()> {
                list.push(Self::default());
                list.last_mut().expect("it was pushed").read_fields(reader)
            }
        }
    };
}
pub(crate) use object;

impl Reader<'_> {
    /// Marks field number `field` as read, which it must not have been.
    #[inline]
    pub(crate) fn once(&self, seen: &mut u64, field: u32, key: &'static str) -> Result<()> {
        let bit = 1 << field;
        if *seen & bit != 0 {
            return Err(self.error(Problem::Twice(key)));
        }
        *seen |= bit;
        Ok(())
    }
}

impl<'a> Json<'a> for Field<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Field<'a>> {
        match reader.peek() {
            Some(b'"') => reader.plain_string().map(Field::Hex),
            Some(b'n') => reader.null().map(|_| Field::Absent),
            Some(b'-' | b'0'..=b'9') => reader.number().map(Field::Number),
            _ => Err(reader.expected("hex text, a whole number or null")),
        }
    }
}

impl<'a> Json<'a> for Topics<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Topics<'a>> {
        let mut topics = Topics::default();
        reader.list(|reader| {
            let slot = topics.items.get_mut(topics.len);
            *slot.ok_or_else(|| reader.expected("at most four topics"))? = Field::read(reader)?;
            topics.len += 1;
            Ok(())
        })?;
        Ok(topics)
    }
}

impl<'a> Json<'a> for Count {
    fn read(reader: &mut Reader<'a>) -> Result<Count> {
        let mut count = 0;
        reader.list(|reader| {
            count += 1;
            reader.skip()
        })?;
        Ok(Count(count))
    }
}

impl<'a, T: Json<'a>> Json<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Option<T>> {
        if reader.null()? { Ok(None) } else { T::read(reader).map(Some) }
    }
}

impl<'a, T: Json<'a>> Json<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        reader.list(|reader| T::push(reader, &mut items))?;
        Ok(items)
    }
}

impl<'a> Json<'a> for u32 {
    fn read(reader: &mut Reader<'a>) -> Result<u32> {
        let number = reader.number()?;
        u32::try_from(number).map_err(|_| reader.error(Problem::Expected("a number of up to 32 bits before this")))
    }
}

impl<'a> Json<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<bool> {
        reader.truth()
    }
}

impl<'a> Json<'a> for Cow<'a, str> {
    fn read(reader: &mut Reader<'a>) -> Result<Cow<'a, str>> {
        reader.string()
    }
}

/// A value of any kind that is passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PassedOver;

impl<'a> Json<'a> for PassedOver {
    fn read(reader: &mut Reader<'a>) -> Result<PassedOver> {
        reader.skip().map(|()| PassedOver)
    }
}
