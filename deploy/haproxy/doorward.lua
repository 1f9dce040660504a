-- Asks doorward about each request and passes the user's identity to the app. Only a 200 allows the request; without a response
-- it is refused (fail closed).

local check = assert(os.getenv("DOORWARD_CHECK"), "haproxy.cfg must setenv DOORWARD_CHECK before lua-load")

-- Every identity header is set from the response, empty ones too, so that no client's header survives.
local identity = {
    "remote-user", "remote-id", "remote-email", "remote-name",
    "remote-role", "remote-permissions", "remote-session", "remote-assertion",
}

-- Request headers sent to doorward: credentials, the forwarded headers, and those that distinguish a navigation from a
-- script's request. Never the body, nor its length.
local request_headers = {
    "cookie", "authorization", "accept", "sec-fetch-mode", "sec-fetch-site", "user-agent", "host",
    "x-requested-with", "hx-request", "hx-boosted",
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-method", "x-forwarded-uri",
}

-- Response headers passed to the browser with a refusal.
local response_headers = { "location", "www-authenticate", "content-type", "cache-control", "retry-after", "x-request-id" }

-- All values of a header, in order; HAProxy counts them from 0.
local function values(headers, name)
    local list, at = {}, 0
    local found = headers[name]
    while found and found[at] ~= nil do
        list[#list + 1] = found[at]
        at = at + 1
    end
    return list
end

local function refuse(txn, status, headers, body)
    local reply = txn:reply({ status = status })
    for _, name in ipairs(response_headers) do
        for _, value in ipairs(values(headers, name)) do reply:add_header(name, value) end
    end
    for _, value in ipairs(values(headers, "set-cookie")) do reply:add_header("set-cookie", value) end
    if body then reply:set_body(body) end
    txn:done(reply)
end

core.register_action("doorward", { "http-req" }, function(txn)
    local from, to = txn.http:req_get_headers(), {}
    for _, name in ipairs(request_headers) do
        local list = values(from, name)
        if #list > 0 then to[name] = list end
    end

    local answer = core.httpclient():get({ url = check, headers = to, timeout = 2000 })
    if answer == nil or answer.status == nil or answer.status == 0 then
        return refuse(txn, 503, {}, nil)
    end
    if answer.status ~= 200 then
        return refuse(txn, answer.status, answer.headers, answer.body)
    end

    for _, name in ipairs(identity) do
        txn.http:req_set_header(name, values(answer.headers, name)[1] or "")
    end
    local cookie = values(answer.headers, "set-cookie")[1]
    if cookie then txn:set_var("txn.doorward_cookie", cookie) end
end, 0)
