//! The contract as documents: a JSON Schema (2020-12) of every message and an AsyncAPI 3 description of the
//! topics, generated from the types so that they cannot disagree with them.
//!
//! `shared/contract/` holds the generated files for people and for other languages; a test keeps them equal,
//! and `cargo run -p shared --example contract` writes them anew.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{Ack, Birth, Command, Health, Message, Response, ResultEnvelope, SCHEMA, Status, Verb};
use crate::topic::Channel;

/// An RFC 3339 time, for the schema of foreign types.
pub(super) struct DateTime;

impl JsonSchema for DateTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DateTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Every document as (file name, content).
pub fn documents() -> Vec<(String, Value)> {
    let mut documents: Vec<(String, Value)> = [
        schema::<ResultEnvelope>(),
        schema::<Status>(),
        schema::<Birth>(),
        schema::<Health>(),
        schema::<Ack>(),
        schema::<Command>(),
        schema::<Response>(),
    ]
    .into_iter()
    .collect();
    documents.push(("asyncapi.json".to_owned(), asyncapi()));
    documents
}

fn schema<M: Message + JsonSchema>() -> (String, Value) {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<M>();
    (schema_file::<M>(), schema.to_value())
}

fn schema_file<M: Message>() -> String {
    format!("{}.schema.json", M::WHAT)
}

fn asyncapi() -> Value {
    let mut channels = serde_json::Map::new();
    let mut operations = serde_json::Map::new();
    let mut add = |channel: &Channel,
                   (action, qos, retain): (&str, u8, bool),
                   file: String,
                   content: &str,
                   summary: &str| {
        let name = channel.to_string();
        // Keys are named by JSON pointers, in which a slash means something.
        let key = name.replace('/', "-");
        channels.insert(
            key.clone(),
            json!({
                "address": format!("cxr/v1/{{site}}/{{device}}/{name}"),
                "parameters": {
                    "site": {"description": "The hospital or clinic: [a-z0-9-]{1,32}."},
                    "device": {"description": "The box, unique within its site: [a-z0-9-]{1,32}."},
                },
                "messages": {&key: {
                    "contentType": content,
                    "summary": summary,
                    "payload": {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": {"$ref": file}},
                }},
            }),
        );
        operations.insert(
            key.clone(),
            json!({
                "action": action,
                "channel": {"$ref": format!("#/channels/{key}")},
                "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}},
            }),
        );
    };
    add(
        &Channel::Result,
        ("send", 1, false),
        schema_file::<ResultEnvelope>(),
        ResultEnvelope::CONTENT_TYPE,
        "One for each image and model. Upsert by result_id: it may come more than once.",
    );
    add(
        &Channel::Status,
        ("send", 1, true),
        schema_file::<Status>(),
        Status::CONTENT_TYPE,
        "online, stopped in order, or offline by last will.",
    );
    add(
        &Channel::Birth,
        ("send", 1, true),
        schema_file::<Birth>(),
        Birth::CONTENT_TYPE,
        "What the device runs; at every connection.",
    );
    add(
        &Channel::Health,
        ("send", 0, false),
        schema_file::<Health>(),
        Health::CONTENT_TYPE,
        "Queue and memory, every minute; expires after 180 s.",
    );
    add(
        &Channel::Ack,
        ("receive", 1, false),
        schema_file::<Ack>(),
        Ack::CONTENT_TYPE,
        "Central has committed the result; awaited where require_ack is set.",
    );
    for verb in Verb::ALL.map(Verb::slug) {
        add(
            &Channel::Command(verb.clone()),
            ("receive", 1, false),
            schema_file::<Command>(),
            Command::CONTENT_TYPE,
            "A request; the response goes to its response topic, with its correlation data.",
        );
        add(
            &Channel::Response(verb),
            ("send", 1, false),
            schema_file::<Response>(),
            Response::CONTENT_TYPE,
            "What came of a request.",
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "CheXseg Edge",
            "version": SCHEMA.to_string(),
            "description": "What a device beside an X-ray unit says over MQTT 5, seen from the device. No topic holds patient data.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn committed_documents_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
        for (name, document) in documents() {
            let text = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
            let committed: Value = serde_json::from_str(&text).unwrap_or_default();
            assert_eq!(committed, document, "{name}: run `cargo run -p shared --example contract`");
        }
    }

    #[test]
    fn asyncapi_names_every_schema() {
        let documents = documents();
        let text = asyncapi().to_string();
        for (name, _) in &documents[..documents.len() - 1] {
            assert!(text.contains(name.as_str()), "{name}");
        }
    }
}
