//! Bounds on what decoding may cost: how deep, and how many elements that take no bytes.
//!
//! Two kinds of value let a few hostile bytes cost anything. A recursive type nests one level for
//! each byte, until the stack is used up. And a sequence of elements that take no bytes, `Vec<()>`
//! say, may announce any number of them. So every deserializer, visitor and access on the way is
//! wrapped, and counts.
//!
//! Elements are counted where a length is read: in sequences and maps, not in the fields of structs
//! and tuples, whose number the type gives. Each element that takes a byte at least is paid for by
//! that byte, so the count may reach the number of bytes and what is allowed beyond it.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// How deep structs, enums, options, tuples, sequences and maps may nest in each other.
pub(crate) const LEVELS_MAX: u32 = 256;
/// How many elements that take no bytes a value may hold.
pub(crate) const EMPTY_ELEMENTS_MAX: usize = 1 << 16;

/// Whatever is on the way between the bytes and the value, wrapped: what implements a trait of serde's
/// does so wrapped as well.
pub(crate) struct Guarded<'g, T> {
    inner: T,
    levels_left: u32,
    elements_left: &'g Cell<usize>,
    /// Whether the elements of this sequence or map are counted.
    counts: bool,
}

impl<'g, T> Guarded<'g, T> {
    /// `elements_left` is the budget of the whole value.
    pub(crate) fn new(inner: T, elements_left: &'g Cell<usize>) -> Guarded<'g, T> {
        Guarded { inner, levels_left: LEVELS_MAX, elements_left, counts: false }
    }

    /// As many elements as `bytes` pay for, and those that are free.
    pub(crate) fn budget(bytes: &[u8]) -> Cell<usize> {
        Cell::new(bytes.len().saturating_add(EMPTY_ELEMENTS_MAX))
    }

    /// `inner` at the same level.
    fn level<U>(&self, inner: U) -> Guarded<'g, U> {
        Guarded {
            inner,
            levels_left: self.levels_left,
            elements_left: self.elements_left,
            counts: self.counts,
        }
    }

    /// What follows one level deeper, for the value that `inner` visits.
    fn deeper<U, E: Error>(&self, inner: U, counts: bool) -> Result<Guarded<'g, U>, E> {
        let levels_left = self
            .levels_left
            .checked_sub(1)
            .ok_or_else(|| E::custom(format_args!("it nests more than {LEVELS_MAX} levels deep")))?;
        Ok(Guarded { inner, levels_left, elements_left: self.elements_left, counts })
    }

    /// Counts all elements of a sequence or map at once, if it says how many there are: one by one that takes
    /// longer than reading them.
    fn count_all<E: Error>(mut self, announced: Option<usize>) -> Result<Self, E> {
        if let (true, Some(length)) = (self.counts, announced) {
            self.count(length)?;
            self.counts = false;
        }
        Ok(self)
    }

    fn count_one<E: Error>(&self) -> Result<(), E> {
        self.count(1)
    }

    fn count<E: Error>(&self, elements: usize) -> Result<(), E> {
        if self.counts {
            let left = self.elements_left.get().checked_sub(elements).ok_or_else(|| {
                E::custom(format_args!(
                    "it has fewer bytes than elements, of which {EMPTY_ELEMENTS_MAX} may take no bytes"
                ))
            })?;
            self.elements_left.set(left);
        }
        Ok(())
    }

    /// A length that was announced, for a collection that makes room in advance.
    fn plausible(&self, announced: Option<usize>) -> Option<usize> {
        let most = if self.counts { self.elements_left.get() } else { usize::MAX };
        announced.map(|length| length.min(most))
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let guarded = self.level(deserializer);
        self.inner.deserialize(guarded)
    }
}

/// Values that hold no others.
macro_rules! leaves {
    ($($method:ident => $inner:ident),* $(,)?) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
                self.inner.$inner(visitor)
            }
        )*
    };
}

impl<'de, T: Deserializer<'de>> Deserializer<'de> for Guarded<'_, T> {
    type Error = T::Error;

    leaves!(
        deserialize_any => deserialize_any,
        deserialize_bool => deserialize_bool,
        deserialize_i8 => deserialize_i8,
        deserialize_i16 => deserialize_i16,
        deserialize_i32 => deserialize_i32,
        deserialize_i64 => deserialize_i64,
        deserialize_i128 => deserialize_i128,
        deserialize_u8 => deserialize_u8,
        deserialize_u16 => deserialize_u16,
        deserialize_u32 => deserialize_u32,
        deserialize_u64 => deserialize_u64,
        deserialize_u128 => deserialize_u128,
        deserialize_f32 => deserialize_f32,
        deserialize_f64 => deserialize_f64,
        deserialize_char => deserialize_char,
        deserialize_str => deserialize_str,
        deserialize_bytes => deserialize_bytes,
        // Owned ones are copied out of the bytes, rather than read into room that is made for whatever
        // length they announce.
        deserialize_string => deserialize_str,
        deserialize_byte_buf => deserialize_bytes,
        deserialize_unit => deserialize_unit,
        deserialize_identifier => deserialize_identifier,
        deserialize_ignored_any => deserialize_ignored_any,
    );

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, false)?;
        self.inner.deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, false)?;
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, true)?;
        self.inner.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, true)?;
        self.inner.deserialize_map(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, false)?;
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, false)?;
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, false)?;
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.deeper(visitor, false)?;
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'de, T: Visitor<'de>> Visitor<'de> for Guarded<'_, T> {
    type Value = T::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<T::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let guarded = self.level(deserializer);
        self.inner.visit_some(guarded)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let guarded = self.level(deserializer);
        self.inner.visit_newtype_struct(guarded)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<T::Value, A::Error> {
        let announced = access.size_hint();
        let guarded = self.level(access).count_all(announced)?;
        self.inner.visit_seq(guarded)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T::Value, A::Error> {
        let announced = access.size_hint();
        let guarded = self.level(access).count_all(announced)?;
        self.inner.visit_map(guarded)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<T::Value, A::Error> {
        let guarded = self.level(access);
        self.inner.visit_enum(guarded)
    }
}

impl<'de, T: SeqAccess<'de>> SeqAccess<'de> for Guarded<'_, T> {
    type Error = T::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, T::Error> {
        // Before it is read, so that what was read is handed on as it is: repacking it takes longer than
        // reading it. So the end of a sequence counts as one of its elements.
        self.count_one()?;
        let seed = self.level(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.plausible(self.inner.size_hint())
    }
}

impl<'de, T: MapAccess<'de>> MapAccess<'de> for Guarded<'_, T> {
    type Error = T::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, T::Error> {
        self.count_one()?;
        let seed = self.level(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, T::Error> {
        let seed = self.level(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.plausible(self.inner.size_hint())
    }
}

impl<'de, 'g, T: EnumAccess<'de>> EnumAccess<'de> for Guarded<'g, T> {
    type Error = T::Error;
    type Variant = Guarded<'g, T::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Guarded<'g, T::Variant>), T::Error> {
        let Guarded { inner, levels_left, elements_left, counts } = self;
        let (which, variant) = inner.variant_seed(seed)?;
        Ok((which, Guarded { inner: variant, levels_left, elements_left, counts }))
    }
}

impl<'de, T: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, T> {
    type Error = T::Error;

    fn unit_variant(self) -> Result<(), T::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, T::Error> {
        let seed = self.level(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.level(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, T::Error> {
        let visitor = self.level(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
