"""POST /user-data/set with FastAPI, PyJWT and asyncpg."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import asyncpg
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StrictInt, StrictStr

ISSUER = os.environ["JWT_ISSUER"]
PUBLIC_KEY = load_pem_public_key(Path(os.environ["JWT_PUBLIC_KEY_FILE"]).read_bytes())
REQUIRED_SCOPES = {"email", "user-data-set"}

# asyncpg prepares a statement on first use and keeps it per connection.
UPSERT = """
    INSERT INTO user_value (owner_id, key, value, app) VALUES ($1, $2, $3, $4)
    ON CONFLICT (owner_id, key) DO UPDATE
    SET value = EXCLUDED.value, revision = user_value.revision + 1, updated_at = now()
    WHERE user_value.app = EXCLUDED.app
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=16) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


class Failure(Exception):
    def __init__(self, result: int) -> None:
        self.result = result


class Principal(BaseModel):
    sub: str
    app: str


class SetValue(BaseModel):
    request_id: StrictInt | None = None
    value_key: Annotated[StrictStr, Field(min_length=1, max_length=128)]
    value_data: Annotated[StrictStr, Field(max_length=262_144)]


@app.exception_handler(Failure)
async def failed(_request: Request, failure: Failure) -> JSONResponse:
    return JSONResponse({"result": failure.result})


@app.exception_handler(RequestValidationError)
async def invalid(_request: Request, _error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"result": -5})


async def authenticated(request: Request) -> Principal:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Failure(-1)
    try:
        claims = jwt.decode(
            token,
            PUBLIC_KEY,
            algorithms=["RS256"],
            issuer=ISSUER,
            leeway=30,
            options={"require": ["exp", "iss", "sub", "azp"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise Failure(-2) from error
    except jwt.InvalidTokenError as error:
        raise Failure(-1) from error
    if claims.get("typ") != "Bearer":
        raise Failure(-1)
    if not set(claims.get("scope", "").split()) >= REQUIRED_SCOPES:
        raise Failure(-3)
    return Principal(sub=claims["sub"], app=claims["azp"])


@app.post("/user-data/set")
async def set_value(
    body: SetValue, principal: Annotated[Principal, Depends(authenticated)], request: Request
) -> JSONResponse:
    status = await request.app.state.pool.execute(UPSERT, principal.sub, body.value_key, body.value_data, principal.app)
    answer = {"result": 0 if status == "INSERT 0 1" else -6}
    if body.request_id is not None:
        answer["request_id"] = body.request_id
    return JSONResponse(answer)


@app.get("/readyz")
async def ready(request: Request) -> JSONResponse:
    await request.app.state.pool.execute("SELECT 1")
    return JSONResponse({"ok": True})
