"""Kafka, Faust and RocksDB around the pure score: ingest, stages, partition task, restore."""
