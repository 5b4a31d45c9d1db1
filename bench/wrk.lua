-- The client's script, the same for every candidate; settings come from BENCH_* variables.
--
-- Each request picks a user and a key at random. Where BENCH_EVERY_KEY is 0, each line of the users' file comes
-- with one key; with BENCH_ONCE, each line is used once, and the run ends with the last.
-- Whatever does not say success is counted.

local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int, int);")

local env = os.getenv
local once = env("BENCH_ONCE") == "1"
local limit = tonumber(env("BENCH_REQUESTS") or "0")
local keys = tonumber(env("BENCH_KEYS"))
local mark = env("BENCH_MARK")
local success = env("BENCH_SUCCESS")

local heads = {}
local tail = ""
local sent = 0
local threads = {}

refused = 0
first_refusal = ""

function setup(thread)
  threads[#threads + 1] = thread
end

-- A template with `{name}` replaced; the values hold no `%`.
local function fill(template, values)
  return (template:gsub("{(%a+)}", values))
end

local function noise(length)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
  local parts = {}
  for i = 1, length do
    local at = math.random(1, #letters)
    parts[i] = letters:sub(at, at)
  end
  return table.concat(parts)
end

-- All that can be known of a request before it is sent: everything but six digits of the value.
local function head(user, authorization, key, padding)
  local before, after = env("BENCH_BODY"):match("^(.*){value}(.*)$")
  before = fill(before, { key = key }) .. mark
  tail = padding .. after
  return table.concat({
    env("BENCH_METHOD") .. " " .. fill(env("BENCH_PATH"), { user = user, key = key }) .. " HTTP/1.1",
    "Host: " .. wrk.host .. ":" .. wrk.port,
    "Authorization: " .. authorization,
    "Content-Type: application/json",
    "Content-Length: " .. #before + 6 + #tail,
    "",
    before,
  }, "\r\n")
end

function init()
  math.randomseed(tonumber(env("BENCH_SEED")))
  local padding = noise(tonumber(env("BENCH_VALUE_BYTES")) - #mark - 6)
  for line in io.lines(env("BENCH_USERS")) do
    local user, authorization = line:match("^(.-)\t(.*)$")
    local first, last = 1, keys
    if env("BENCH_EVERY_KEY") == "0" then
      first = math.random(keys)
      last = first
    end
    for k = first, last do
      heads[#heads + 1] = head(user, authorization, "key-" .. k, padding)
    end
  end
end

-- wrk sleeps through its whole time even when its threads have stopped; what ends it early is Ctrl-C.
local function enough()
  wrk.thread:stop()
  ffi.C.kill(ffi.C.getpid(), 2)
end

function request()
  sent = sent + 1
  if sent == limit or (once and sent == #heads) then
    enough()
  end
  local which = once and math.min(sent, #heads) or math.random(#heads)
  return heads[which] .. string.format("%06d", math.random(0, 999999)) .. tail
end

function response(status, _, body)
  if status ~= 200 or not body:find(success, 1, true) then
    refused = refused + 1
    if refused == 1 then
      first_refusal = status .. " " .. body:sub(1, 200)
    end
  end
end

function done(summary, latency)
  local refusals, example = 0, ""
  for _, thread in ipairs(threads) do
    refusals = refusals + thread:get("refused")
    example = thread:get("first_refusal")
  end
  local errors = summary.errors
  io.write(
    string.format(
      "\nRESULT %d %d %d %d %.1f %.1f %.1f\nREFUSAL %s\n",
      summary.duration,
      summary.requests,
      refusals,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50),
      latency:percentile(99),
      latency.max,
      (example:gsub("%s+", " "))
    )
  )
end
