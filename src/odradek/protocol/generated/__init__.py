"""Messages of Kafka 4.3; generated, not to be edited."""
