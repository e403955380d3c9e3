//! JSON of clients as Docker reads it: the names of fields in any case, and `null` for what is left out. Names that are a
//! client's own, such as those of labels, stay as they are.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// Reads a value.
///
/// # Errors
/// It is of another form.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

/// A value that is read so.
struct Lenient(Value);

impl IntoDeserializer<'_, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The field that a name means, where it is not `given` under its own.
fn field(name: String, fields: &[&str], given: &[&str]) -> String {
    if fields.contains(&name.as_str()) {
        return name;
    }
    let meant = fields.iter().find(|field| field.eq_ignore_ascii_case(&name));
    // Its own name comes first.
    meant.filter(|field| !given.contains(field)).map_or(name, |field| (*field).to_owned())
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Self))),
            Value::Object(map) => visitor
                .visit_map(MapDeserializer::new(map.into_iter().map(|(name, value)| (name, Self(value))))),
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(map) = self.0 else { return self.0.deserialize_any(visitor) };
        let is_given = |field: &&&str| map.get(**field).is_some_and(|value| !value.is_null());
        let given: Vec<_> = fields.iter().filter(is_given).copied().collect();
        let mut meant = Map::new();
        for (name, value) in map {
            if !value.is_null() {
                meant.insert(field(name, fields, &given), value);
            }
        }
        Self(Value::Object(meant)).deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::{ContainerConfig, ExecConfig, HostConfig};
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_fields_are_of_any_case() {
        let wish = json!({ "detachKeys": "ctrl-p", "CMD": ["sh"], "Tty": null, "unknown": 1 });
        let exec: ExecConfig = read(wish).unwrap();
        assert_eq!((exec.detach_keys.as_deref(), exec.tty), (Some("ctrl-p"), None));
        assert_eq!(exec.cmd.unwrap(), ["sh"]);
        let both: ExecConfig = read(json!({ "user": "a", "User": "b", "USER": "c" })).unwrap();
        assert_eq!(both.user.as_deref(), Some("b"));
        let null: ExecConfig = read(json!({ "User": null, "user": "a" })).unwrap();
        assert_eq!(null.user.as_deref(), Some("a"));
    }

    #[test]
    fn names_of_clients_stay() {
        let config: ContainerConfig = read(json!({ "labels": { "Cmd": "1", "cmd": "2" } })).unwrap();
        let labels = config.labels.unwrap();
        assert_eq!((labels["Cmd"].as_str(), labels["cmd"].as_str()), ("1", "2"));
    }

    #[test]
    fn what_is_within_is_read_so_too() {
        let wish = json!({
            "RESTARTPOLICY": { "name": "always", "MaximumRetryCount": 2 },
            "PortBindings": { "80/tcp": [{ "hostPort": "8080" }], "81/tcp": null },
            "Mounts": [{ "type": "volume", "target": "/x", "VolumeOptions": null }],
            "memory": 4096,
        });
        let host: HostConfig = read(wish).unwrap();
        assert_eq!(host.restart_policy.unwrap().maximum_retry_count, Some(2));
        let ports = host.port_bindings.unwrap();
        assert_eq!(ports["80/tcp"].as_ref().unwrap()[0].host_port.as_deref(), Some("8080"));
        assert_eq!((ports["81/tcp"].is_none(), host.memory), (true, Some(4096)));
        assert_eq!(host.mounts.unwrap()[0].target.as_deref(), Some("/x"));
    }

    #[test]
    fn other_forms_are_errors() {
        assert!(read::<ExecConfig>(json!({ "Cmd": "sh" })).is_err());
        assert!(read::<ExecConfig>(json!({ "Tty": "yes" })).is_err());
        assert!(read::<HostConfig>(json!({ "Memory": 1.5 })).is_err());
        assert!(read::<HostConfig>(json!([1, 2])).is_err());
    }
}
