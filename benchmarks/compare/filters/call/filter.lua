-- Asks a service before a request goes on, and adds a header with what it answers.
local HEADERS = {[":method"] = "GET", [":path"] = "/check", [":authority"] = "service"}

function envoy_on_request(handle)
  local headers = handle:httpCall("service", HEADERS, nil, 5000)
  handle:headers():add("x-bench-status", headers[":status"])
end
