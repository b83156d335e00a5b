"""Kafka's message definitions → ``odradek.protocol.generated``; never imported by odradek."""
