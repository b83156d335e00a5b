"""Metrics for Prometheus: the broker's own plain counters, shown under the names that dashboards read.

Imported only when ``odradek.metrics.listener`` is set.
"""
