// POST /user-data/set with Fastify, jose and pg: one process per core, each with a pool of its own.
import cluster from "node:cluster";
import { readFileSync } from "node:fs";
import Fastify from "fastify";
import { errors, importSPKI, jwtVerify } from "jose";
import pg from "pg";

const WORKERS = Number(process.env.WORKERS ?? 2);
const PORT = Number(process.env.PORT ?? 8000);
const REQUIRED_SCOPES = ["email", "user-data-set"];

const UPSERT = {
  name: "set-value",
  text: `INSERT INTO user_value (owner_id, key, value, app) VALUES ($1, $2, $3, $4)
         ON CONFLICT (owner_id, key) DO UPDATE
         SET value = EXCLUDED.value, revision = user_value.revision + 1, updated_at = now()
         WHERE user_value.app = EXCLUDED.app`,
};

const BODY = {
  type: "object",
  required: ["value_key", "value_data"],
  properties: {
    request_id: { type: "integer" },
    value_key: { type: "string", minLength: 1, maxLength: 128 },
    value_data: { type: "string", maxLength: 262144 },
  },
};

const ANSWER = {
  type: "object",
  required: ["result"],
  properties: { request_id: { type: "integer" }, result: { type: "integer" } },
};

function answer(request, result) {
  const requestId = request.body?.request_id;
  return Number.isInteger(requestId) ? { request_id: requestId, result } : { result };
}

async function serve() {
  const key = await importSPKI(readFileSync(process.env.JWT_PUBLIC_KEY_FILE, "utf8"), "RS256");
  const rules = {
    issuer: process.env.JWT_ISSUER,
    algorithms: ["RS256"],
    requiredClaims: ["exp", "sub", "azp"],
    clockTolerance: 30,
  };
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16, min: 4 });
  const app = Fastify({
    logger: false,
    bodyLimit: 2 * 1024 * 1024,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  });

  app.decorateRequest("principal", null);

  async function authenticate(request, reply) {
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    if (scheme.toLowerCase() !== "bearer" || !token) {
      return reply.send(answer(request, -1));
    }
    let claims;
    try {
      ({ payload: claims } = await jwtVerify(token, key, rules));
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
      return reply.send(answer(request, error instanceof errors.JWTExpired ? -2 : -1));
    }
    if (claims.typ !== "Bearer") {
      return reply.send(answer(request, -1));
    }
    const scopes = String(claims.scope ?? "").split(" ");
    if (!REQUIRED_SCOPES.every((scope) => scopes.includes(scope))) {
      return reply.send(answer(request, -3));
    }
    request.principal = { sub: claims.sub, app: claims.azp };
  }

  app.post(
    "/user-data/set",
    { schema: { body: BODY, response: { 200: ANSWER } }, preValidation: authenticate },
    async (request) => {
      const { value_key, value_data } = request.body;
      const { sub, app: client } = request.principal;
      const { rowCount } = await pool.query({ ...UPSERT, values: [sub, value_key, value_data, client] });
      return answer(request, rowCount === 1 ? 0 : -6);
    },
  );

  app.get("/readyz", async () => {
    await pool.query("SELECT 1");
    return { ok: true };
  });

  app.setErrorHandler((error, request, reply) => {
    if (error.validation || error.statusCode === 400) {
      return reply.code(200).send(answer(request, -5));
    }
    return reply.code(500).send({ result: -4 });
  });

  const stop = async () => {
    await app.close();
    await pool.end();
    process.exit(0);
  };
  process.once("SIGTERM", stop);
  await app.listen({ host: "127.0.0.1", port: PORT });
}

if (cluster.isPrimary) {
  for (let i = 0; i < WORKERS; i += 1) cluster.fork();
} else {
  await serve();
}
