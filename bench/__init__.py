"""The benchmark: `python -m bench` measures the service beside Fastify and pgbench."""
