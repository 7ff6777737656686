"""The harness of the benchmarks: heap meters, one process for each configuration, the same nets in several packages."""
