-- Sends the header lines of a file, one a request, and prints what a program can read.
function init(args)
  local lines = {}
  for line in io.lines(args[1]) do
    lines[#lines + 1] = line
  end
  local head = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n"
  if #lines == 1 then
    -- One request, made once: the script costs nothing while wrk runs.
    local name, value = lines[1]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
    return
  end
  local at = 0
  function request()
    at = at % #lines + 1
    return head .. lines[at] .. "\r\n\r\n"
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
