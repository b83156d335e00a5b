"""Odradek beside Apache Kafka on one machine: `make bench`. README.md says what is measured and how."""
