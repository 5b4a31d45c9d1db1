// The user-data endpoints with Fastify, jose and pg: one process per core, each with a pool of its own.
import cluster from "node:cluster";
import Fastify from "fastify";
import { errors, importSPKI, jwtVerify } from "jose";
import pg from "pg";

const SET = `INSERT INTO user_value (owner_id, app, key, value) VALUES ($1, $2, $3, $4)
  ON CONFLICT (owner_id, key) DO UPDATE
  SET value = EXCLUDED.value, revision = user_value.revision + 1, updated_at = now()
  WHERE user_value.app = EXCLUDED.app`;
const GET = `SELECT key AS value_key, value AS value_data FROM user_value
  WHERE owner_id = $1 AND (app = $2 OR access_scope = 1) AND key = ANY($3)`;
const LIST = "SELECT key, access_scope FROM user_value WHERE owner_id = $1 AND app = $2 ORDER BY key";
const DELETE = "DELETE FROM user_value WHERE owner_id = $1 AND app = $2 AND key = ANY($3) RETURNING key";

const integer = { type: "integer" };
const string = { type: "string" };
const key = { type: "string", minLength: 1, maxLength: 128 };
const arrayOf = (items) => ({ type: "array", items });
const object = (properties) => ({ type: "object", properties });
const KEYS = { value_keys: { type: "array", items: key, maxItems: 100 } };

function answer(request, result, fields) {
  const requestId = request.body?.request_id;
  return Number.isInteger(requestId) ? { request_id: requestId, result, ...fields } : { result, ...fields };
}

async function serve() {
  const publicKey = await importSPKI(process.env.JWT_PUBLIC_KEY, "RS256");
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

  function authenticate(...required) {
    return async (request, reply) => {
      const [scheme, token] = (request.headers.authorization ?? "").split(" ");
      if (scheme.toLowerCase() !== "bearer" || !token) {
        return reply.send(answer(request, -1));
      }
      let claims;
      try {
        ({ payload: claims } = await jwtVerify(token, publicKey, rules));
      } catch (error) {
        if (!(error instanceof errors.JOSEError)) throw error;
        return reply.send(answer(request, error instanceof errors.JWTExpired ? -2 : -1));
      }
      if (claims.typ !== "Bearer") {
        return reply.send(answer(request, -1));
      }
      const scopes = String(claims.scope ?? "").split(" ");
      if (!required.every((scope) => scopes.includes(scope))) {
        return reply.send(answer(request, -3));
      }
      request.principal = { sub: claims.sub, app: claims.azp };
    };
  }

  // One prepared statement for each endpoint; `finish` makes its answer.
  function endpoint(path, scope, text, fields, answered, finish) {
    const body = { ...object({ request_id: integer, ...fields }), required: Object.keys(fields) };
    const response = { 200: object({ request_id: integer, result: integer, ...answered }) };
    const options = { schema: { body, response }, preValidation: authenticate("email", scope) };
    app.post(path, options, async (request) => {
      const { sub, app: client } = request.principal;
      const values = [sub, client, ...Object.keys(fields).map((name) => request.body[name])];
      return finish(request, await pool.query({ name: path, text, values }));
    });
  }

  const value = { value_key: key, value_data: { type: "string", maxLength: 262144 } };
  endpoint("/user-data/set", "user-data-set", SET, value, {}, (request, { rowCount }) =>
    answer(request, rowCount === 1 ? 0 : -6),
  );

  const values = { values: arrayOf(object({ value_key: string, value_data: string })) };
  endpoint("/user-data/get", "user-data-get", GET, KEYS, values, (request, { rows }) =>
    answer(request, 0, { values: rows }),
  );

  const lists = { keys_private: arrayOf(string), keys_public: arrayOf(string) };
  endpoint("/user-data/by-user-id/list-get", "user-data-get", LIST, {}, lists, (request, { rows }) => {
    const keys = (scope) => rows.filter((row) => row.access_scope === scope).map((row) => row.key);
    return answer(request, rows.length > 0 ? 0 : 1, { keys_private: keys(0), keys_public: keys(1) });
  });

  const deletions = { keys_delete_results: arrayOf(object({ value_key: string, is_deleted: { type: "boolean" } })) };
  endpoint("/user-data/by-user-id/delete", "user-data-set", DELETE, KEYS, deletions, (request, { rows }) => {
    const deleted = new Set(rows.map((row) => row.key));
    const results = request.body.value_keys.map((value_key) => ({ value_key, is_deleted: deleted.has(value_key) }));
    return answer(request, deleted.size > 0 ? 0 : 1, { keys_delete_results: results });
  });

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

  await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
}

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS); i += 1) cluster.fork();
} else {
  await serve();
}
