"""The side-by-side benchmark; `make bench` runs it, and docs/benchmarks.md is what it writes."""
