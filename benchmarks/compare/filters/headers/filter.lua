-- Reads :path, adds a request header and a response header.
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:add("x-bench-path", headers:get(":path"))
end

function envoy_on_response(handle)
  handle:headers():add("x-bench", "yes")
end
