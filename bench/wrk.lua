-- wrk's script: which requests are sent, and which answers are failures. BENCH_* variables say what to send.

local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int, int);")

-- A key is deleted when this many newer ones have been sent, so that it is certainly stored.
local AGE = 1000

local env = os.getenv
local mark = env("BENCH_MARK")
local keys = tonumber(env("BENCH_KEYS"))
local least_bytes = tonumber(env("BENCH_LEAST_BYTES"))
local limit = tonumber(env("BENCH_REQUESTS"))
local heads, actions, wanted = {}, {}, {}
local new_keys, owners, deleted = 0, {}, 0
local sent = -1
local threads = {}

failures = 0
first_failure = ""

function setup(thread)
  threads[#threads + 1] = thread
end

local function set(key)
  local body = '{"request_id":7,"value_key":"%s","value_data":"%s%024d"}'
  return "/user-data/set", body:format(key, mark, math.random(2 ^ 31))
end

local perform = {
  overwrite = function() return set("key-" .. math.random(keys)) end,
  get = function() return "/user-data/get", wanted[math.random(keys)] end,
  list = function() return "/user-data/by-user-id/list-get", "{}" end,
  shared = function() return "/user-data/by-user-id/shared-list-get", '{"page_size":100}' end,
}

function perform.new(user)
  new_keys = new_keys + 1
  owners[new_keys] = user
  return set(mark .. "-" .. new_keys)
end

-- The oldest of the new keys, in the name of its owner.
function perform.delete(user)
  if new_keys - deleted < AGE then
    return perform.new(user)
  end
  deleted = deleted + 1
  local body = '{"request_id":7,"value_keys":["%s-%d"]}'
  return "/user-data/by-user-id/delete", body:format(mark, deleted), owners[deleted]
end

function init()
  math.randomseed(tonumber(mark, 16))
  local first, last = env("BENCH_USERS"):match("(%d+) (%d+)")
  local head = " HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: "
  local line = 0
  for token in io.lines(env("BENCH_TOKENS")) do
    line = line + 1
    if line >= tonumber(first) and line <= tonumber(last) then
      heads[#heads + 1] = head:format(env("BENCH_HOST"), token)
    end
  end
  for name, weight in env("BENCH_ACTIONS"):gmatch("(%w+)=(%d+)") do
    for _ = 1, weight do
      actions[#actions + 1] = perform[name]
    end
  end
  for start = 1, keys do
    local names = {}
    for n = 1, tonumber(env("BENCH_KEYS_PER_GET")) do
      names[n] = '"key-' .. (start + n - 2) % keys + 1 .. '"'
    end
    wanted[start] = '{"request_id":7,"value_keys":[' .. table.concat(names, ",") .. "]}"
  end
end

-- With a limit, users are taken in turn.
function request()
  sent = sent + 1
  if sent == 0 then
    -- wrk asks once for a request that it does not send.
    return "GET / HTTP/1.1\r\n\r\n"
  elseif sent == limit then
    -- wrk sleeps through its whole time even when its threads have stopped; what ends it early is Ctrl-C.
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), 2)
  end
  local user = limit > 0 and (sent - 1) % #heads + 1 or math.random(#heads)
  local path, body, owner = actions[math.random(#actions)](user)
  return "POST " .. path .. heads[owner or user] .. #body .. "\r\n\r\n" .. body
end

local function succeeded(status, body)
  return status == 200
    and #body >= least_bytes
    and body:find('"result": ?0[,}]')
    and not body:find('"values": ?%[%]')
    and not body:find("false", 1, true)
end

function response(status, _, body)
  if not succeeded(status, body) then
    failures = failures + 1
    first_failure = failures == 1 and status .. " " .. body:sub(1, 200):gsub("%s+", " ") or first_failure
  end
end

function done(summary, latency)
  local failed, example = 0, ""
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("failures")
    example = thread:get("first_failure")
  end
  local errors = summary.errors
  failed = failed + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("\nFAILURE %s\nRESULT %d %d %d", example, summary.duration, summary.requests, failed))
  io.write(string.format(" %.1f %.1f %.1f\n", latency:percentile(50), latency:percentile(99), latency.max))
end
