"""HTTP/1.1 on an event loop: listener → connection → reader → exchange → the application.

A server of our own, on a parser that is not: none that we found answers in the thread that reads, which is worth a
third of the throughput (docs/performance.md).
"""
