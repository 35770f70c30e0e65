-- The JSON check for Envoy's Lua filter, which has no parser of its own: this one checks, and keeps nothing.
local REQUIRED = {"id", "token", "user"}
local LITERALS = {t = "^true()", f = "^false()", n = "^null()"}
local value

local function skip(text, at)
  return text:match("^[ \t\r\n]*()", at)
end

-- Functions give the place behind what they read, and nothing if it is not JSON.
local function string_end(text, at)
  while true do
    local behind = text:match('^[^"\\%c]*()', at)
    local byte = text:sub(behind, behind)
    if byte == '"' then return behind + 1 end
    if byte ~= "\\" then return nil end
    at = text:match('^["\\/bfnrt]()', behind + 1) or text:match("^u%x%x%x%x()", behind + 1)
    if not at then return nil end
  end
end

local function number_end(text, at)
  at = text:match("^%-?0()", at) or text:match("^%-?[1-9]%d*()", at)
  if not at then return nil end
  at = text:match("^%.%d+()", at) or at
  return text:match("^[eE][+-]?%d+()", at) or at
end

local function members_end(text, at, close, keys)
  at = skip(text, at)
  if text:sub(at, at) == close then return at + 1 end
  while true do
    if close == "}" then
      local behind = text:sub(at, at) == '"' and string_end(text, at + 1)
      if not behind then return nil end
      if keys then keys[text:sub(at + 1, behind - 2)] = true end
      at = skip(text, behind)
      if text:sub(at, at) ~= ":" then return nil end
      at = at + 1
    end
    at = value(text, at)
    if not at then return nil end
    local byte = text:sub(at, at)
    if byte == close then return at + 1 end
    if byte ~= "," then return nil end
    at = skip(text, at + 1)
  end
end

function value(text, at, keys)
  at = skip(text, at)
  local byte = text:sub(at, at)
  local behind
  if byte == "{" then
    behind = members_end(text, at + 1, "}", keys)
  elseif byte == "[" then
    behind = members_end(text, at + 1, "]")
  elseif byte == '"' then
    behind = string_end(text, at + 1)
  elseif LITERALS[byte] then
    behind = text:match(LITERALS[byte], at)
  else
    behind = number_end(text, at)
  end
  return behind and skip(text, behind)
end

local function is_valid(text)
  local keys = {}
  if value(text, 1, keys) ~= #text + 1 then return false end
  for _, key in ipairs(REQUIRED) do
    if not keys[key] then return false end
  end
  return true
end

function envoy_on_request(handle)
  local body = handle:body(true)
  if not is_valid(body:getBytes(0, body:length())) then
    handle:respond({[":status"] = "403"}, "invalid body\n")
  end
end
