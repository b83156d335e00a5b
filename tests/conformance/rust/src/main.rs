//! Drives rskafka for the scenarios: one JSON line per call on stdin, one answer on stdout.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use base64::{engine::general_purpose::STANDARD, Engine};
use chrono::{DateTime, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::{json, Map, Value};

enum Failure {
    Broker(Error),
    Lacking(&'static str),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Broker(error)
    }
}

type Answer = Result<Value, Failure>;

struct Reader {
    client: PartitionClient,
    topic: String,
    partition: i32,
    next: i64,
}

struct Driver {
    client: Client,
    readers: HashMap<i64, Reader>,
    last_handle: i64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let bootstrap = std::env::args().nth(1).expect("usage: odradek-conformance HOST:PORT");
    let client = ClientBuilder::new(vec![bootstrap]).build().await.expect("a connection");
    let mut driver = Driver { client, readers: HashMap::new(), last_handle: 0 };
    for line in std::io::stdin().lock().lines() {
        let call: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let answer = match driver.answer(&call).await {
            Ok(result) => json!({ "ok": result }),
            Err(Failure::Lacking(reason)) => json!({ "lacking": reason }),
            Err(Failure::Broker(error)) => match code_of(&error) {
                Some(code) => json!({ "code": code, "message": error.to_string() }),
                None => json!({ "failed": error.to_string() }),
            },
        };
        println!("{answer}");
        std::io::stdout().flush().expect("stdout");
    }
}

fn code_of(error: &Error) -> Option<i16> {
    match error {
        Error::ServerError { protocol_error, .. } => {
            (-1..200).find(|&code| ProtocolError::new(code) == Some(*protocol_error))
        }
        _ => None,
    }
}

fn text<'a>(call: &'a Value, name: &str) -> &'a str {
    call[name].as_str().expect("a text")
}

fn number(call: &Value, name: &str) -> i64 {
    call[name].as_i64().expect("a number")
}

fn to_bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).expect("base64"))
}

fn to_text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| STANDARD.encode(bytes))
}

fn at(timestamp_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(timestamp_ms).expect("a time")
}

impl Driver {
    async fn answer(&mut self, call: &Value) -> Answer {
        match text(call, "op") {
            "produce" => self.produce(call).await,
            "reader_open" => self.open(call).await,
            "poll" => self.poll(call).await,
            "reader_seek" => {
                self.reader(call).next = number(call, "offset");
                Ok(Value::Null)
            }
            "close" => {
                self.readers.remove(&number(call, "handle"));
                Ok(Value::Null)
            }
            "create_topic" => self.create_topic(call).await,
            "delete_topic" => {
                self.client.controller_client()?.delete_topic(text(call, "topic"), 30_000).await?;
                Ok(Value::Null)
            }
            "list_topics" => {
                let topics = self.client.list_topics().await?;
                Ok(topics.into_iter().map(|topic| topic.name).collect())
            }
            "partition_count" => {
                let topics = self.client.list_topics().await?;
                match topics.iter().find(|topic| topic.name == text(call, "topic")) {
                    Some(topic) => Ok(json!(topic.partitions.len())),
                    None => Err(Failure::Lacking("rskafka only lists the topics that are there")),
                }
            }
            "delete_records" => {
                let client = self.partition(call, "partition").await?;
                client.delete_records(number(call, "before_offset"), 30_000).await?;
                Ok(Value::Null)
            }
            "offset" => self.offset(call).await,
            _ => Err(Failure::Lacking("rskafka has no call for this")),
        }
    }

    fn reader(&mut self, call: &Value) -> &mut Reader {
        self.readers.get_mut(&number(call, "handle")).expect("a reader")
    }

    async fn partition(&self, call: &Value, name: &str) -> Result<PartitionClient, Error> {
        let partition = call[name].as_i64().unwrap_or(0) as i32;
        let topic = text(call, "topic");
        self.client.partition_client(topic, partition, UnknownTopicHandling::Retry).await
    }

    async fn create_topic(&self, call: &Value) -> Answer {
        if call["configs"].as_object().is_some_and(|configs| !configs.is_empty()) {
            return Err(Failure::Lacking("rskafka creates topics without configs"));
        }
        let partitions = number(call, "partitions") as i32;
        let replication = number(call, "replication") as i16;
        let controller = self.client.controller_client()?;
        controller.create_topic(text(call, "topic"), partitions, replication, 30_000).await?;
        Ok(Value::Null)
    }

    async fn produce(&self, call: &Value) -> Answer {
        let compression = match text(call, "compression") {
            "none" => Compression::NoCompression,
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            _ => return Err(Failure::Lacking("rskafka's zstd needs a C compiler and is left out")),
        };
        if call["idempotent"] == true {
            return Err(Failure::Lacking("rskafka has no idempotent producer"));
        }
        let messages = call["messages"].as_array().expect("messages");
        let mut of_partition: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
        for message in messages {
            let mut headers = BTreeMap::new();
            for pair in message["headers"].as_array().expect("headers") {
                let name = pair[0].as_str().expect("a name").to_owned();
                let Some(value) = to_bytes(&pair[1]) else {
                    return Err(Failure::Lacking("rskafka has no null header values"));
                };
                if headers.insert(name, value).is_some() {
                    return Err(Failure::Lacking("rskafka keeps one header of a name"));
                }
            }
            let timestamp = message["timestamp"].as_i64().map_or_else(Utc::now, at);
            let (key, value) = (to_bytes(&message["key"]), to_bytes(&message["value"]));
            let partition = message["partition"].as_i64().unwrap_or(0);
            let record = Record { key, value, headers, timestamp };
            of_partition.entry(partition).or_default().push(record);
        }
        let mut offsets: HashMap<i64, std::vec::IntoIter<i64>> = HashMap::new();
        for (partition, records) in of_partition {
            let client = self.partition(&json!({"topic": call["topic"], "p": partition}), "p").await?;
            let answer = client.produce(records, compression).await?;
            offsets.insert(partition, answer.into_iter());
        }
        let place = |message: &Value| {
            let partition = message["partition"].as_i64().unwrap_or(0);
            let offset = offsets.get_mut(&partition).and_then(Iterator::next);
            json!([partition, offset])
        };
        Ok(messages.iter().map(place).collect())
    }

    async fn open(&mut self, call: &Value) -> Answer {
        let client = self.partition(call, "partition").await?;
        let next = match &call["start"] {
            Value::String(name) if name == "earliest" => client.get_offset(OffsetAt::Earliest).await?,
            Value::String(_) => client.get_offset(OffsetAt::Latest).await?,
            offset => offset.as_i64().expect("an offset"),
        };
        let topic = text(call, "topic").to_owned();
        let partition = number(call, "partition") as i32;
        self.last_handle += 1;
        self.readers.insert(self.last_handle, Reader { client, topic, partition, next });
        Ok(json!(self.last_handle))
    }

    async fn poll(&mut self, call: &Value) -> Answer {
        let deadline = Instant::now() + Duration::from_millis(number(call, "timeout_ms") as u64);
        let reader = self.reader(call);
        let wait_ms = deadline.saturating_duration_since(Instant::now()).as_millis() as i32;
        let (records, _) = reader.client.fetch_records(reader.next, 1..52_428_800, wait_ms).await?;
        let mut rows = Vec::new();
        for one in records {
            reader.next = one.offset + 1;
            let headers = one.record.headers.into_iter();
            let mut row = Map::new();
            row.insert("topic".into(), json!(reader.topic));
            row.insert("partition".into(), json!(reader.partition));
            row.insert("offset".into(), json!(one.offset));
            row.insert("key".into(), json!(to_text(one.record.key)));
            row.insert("value".into(), json!(to_text(one.record.value)));
            row.insert("headers".into(), headers.map(|(k, v)| json!([k, to_text(Some(v))])).collect());
            row.insert("timestamp".into(), json!(one.record.timestamp.timestamp_millis()));
            rows.push(Value::Object(row));
        }
        Ok(Value::Array(rows))
    }

    async fn offset(&self, call: &Value) -> Answer {
        let client = self.partition(call, "partition").await?;
        let query = match &call["query"] {
            Value::String(name) if name == "earliest" => OffsetAt::Earliest,
            Value::String(name) if name == "latest" => OffsetAt::Latest,
            Value::String(_) => return Err(Failure::Lacking("rskafka cannot ask for the highest timestamp")),
            timestamp => OffsetAt::Timestamp(at(timestamp.as_i64().expect("a time"))),
        };
        let offset = client.get_offset(query).await?;
        Ok(if offset < 0 { Value::Null } else { json!(offset) })
    }
}
