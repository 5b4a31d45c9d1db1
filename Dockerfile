# Pinned by tag; to pin by content as well, append the digest that `docker buildx imagetools inspect` shows.
FROM python:3.13-slim-bookworm AS build

WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt .
# Wheels only: nothing is compiled, so the image needs no compiler and no system library of its own.
RUN python -m pip --python=/opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary=:all: --requirement=requirements.txt
COPY . /app
RUN /opt/venv/bin/python -m compileall -q /app


FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="HyperSecureID user data" \
      org.opencontainers.image.description="Small values that apps keep for their users, behind one HTTP call"

# The root file system can be read-only: only /tmp is written to.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000

WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

# A number, so that a cluster can see that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from os import environ; from urllib.request import urlopen; urlopen(f'http://127.0.0.1:{environ[\"PORT\"]}/livez', timeout=4)"]
CMD ["python", "manage.py", "serve"]
