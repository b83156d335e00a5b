"""Configuration: every key Kafka 4.3 knows, what it means here, and the one typed structure the broker reads.

Tables are text that is parsed when first asked for, so importing this room costs next to nothing.
"""
