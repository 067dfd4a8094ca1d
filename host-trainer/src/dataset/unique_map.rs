use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// A JSON object each of whose keys stands there once. Plain maps keep the last of several and say nothing, so an
/// image or a mask would be lost.
#[derive(Debug)]
pub(crate) struct UniqueMap<V>(pub(crate) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys(PhantomData))
    }
}

struct Keys<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Keys<V> {
    type Value = UniqueMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut unique = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if unique.contains_key(&key) {
                return Err(A::Error::custom(format!("\"{key}\" stands here twice; keep one of the two")));
            }
            unique.insert(key, map.next_value()?);
        }
        Ok(UniqueMap(unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_stand_once() {
        let read = serde_json::from_str::<UniqueMap<UniqueMap<u8>>>;
        assert_eq!(read(r#"{"a": {"x": 1, "y": 2}, "b": {"x": 3}}"#).unwrap().0["a"].0["y"], 2);
        for text in [r#"{"a": {}, "a": {}}"#, r#"{"b": {"a": 1, "a": 2}}"#] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("\"a\" stands here twice") && error.contains("line 1"), "{error}");
        }
        assert!(read("[]").unwrap_err().to_string().contains("expected an object"));
    }
}
