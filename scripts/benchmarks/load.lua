-- What wrk sends: wrk … -s load.lua URL -- FILE MEAN_DELAY_MS
-- The lines of FILE are POSTed in turn. With a delay each connection waits between its requests,
-- 0 to twice that long, so that they come at random moments. At its end it prints a JSON object.

local bodies, at = {}, 0

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = wrk.format(nil, nil, nil, line)
  end
  local mean = tonumber(args[2])
  if mean > 0 then
    delay = function()
      return math.random(0, 2 * mean)
    end
  end
end

function request()
  at = at % #bodies + 1
  return bodies[at]
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"errors":%d,"p50":%f,"p99":%f,"p999":%f}\n',
    summary.requests, summary.duration / 1e6,
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
