"""Lets through only requests whose body is JSON with certain keys; all others get a 403.

The plugin's configuration names the keys: `{"requiredKeys": ["id", "token"]}`. A dot in a key looks inside: `user.id`.
"""

import json
from typing import Any, NoReturn

from pywasmfilter import Action, HttpContext, PluginContext, log, plugin


@plugin("json_validation")
class JsonValidation(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> bool:
        try:
            self.required_keys = required_keys(self.plugin_configuration)
        except ValueError as error:
            log.critical(f"error parsing plugin configuration: {error}")
            return False
        return True

    def new_http_context(self, context_id: int) -> HttpContext:
        return PayloadValidation(context_id)


class PayloadValidation(HttpContext):
    plugin: JsonValidation

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int:
        if self.request.headers.get("content-type") != "application/json":
            return self.send_http_response(403, body="content-type must be provided")
        return Action.CONTINUE

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int:
        return self.check_body() if end_of_stream else Action.PAUSE

    def on_http_request_trailers(self, num_trailers: int) -> int:
        """Trailers end a body, too: no body callback says so then."""
        return self.check_body() if len(self.request.buffer) else Action.CONTINUE

    def check_body(self) -> int:
        if problem := find_problem(bytes(self.request.buffer), self.plugin.required_keys):
            log.error(problem)
            return self.send_http_response(403, body="invalid payload")
        return Action.CONTINUE


def required_keys(configuration: bytes) -> list[str]:
    """Raises ValueError if the configuration is there but not what it should be."""
    if not configuration:
        return []
    try:
        document = parse(configuration)
    except ValueError:
        raise ValueError(f"the plugin configuration is not a valid json: {quote(configuration)}") from None
    keys = document.get("requiredKeys", []) if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError(f"the plugin configuration has no list of requiredKeys: {quote(configuration)}")
    return keys


def find_problem(body: bytes, required: list[str]) -> str | None:
    try:
        document = parse(body)
    except (ValueError, RecursionError):
        return f"body is not a valid json: {quote(body)}"
    for key in required:
        if not has(document, key):
            return f"required key ({key}) is missing: {decode(body).lstrip()}"
    return None


def has(document: Any, path: str) -> bool:
    """Whether there is something at a path such as `user.id` or `items.0`."""
    for key in path.split("."):
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        else:
            return False
    return True


def parse(data: bytes) -> Any:
    return json.loads(decode(data), parse_constant=refuse)


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def quote(data: bytes) -> str:
    return json.dumps(decode(data), ensure_ascii=False)


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
