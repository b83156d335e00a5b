"""Record batches: the v2 header, CRC-32C, compression, control batches, reading and building records."""
