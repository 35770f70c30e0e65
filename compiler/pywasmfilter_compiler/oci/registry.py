"""Pushing an image to a registry, with oras.

oras knows the protocol: where things go, and how blobs are uploaded. How requests are sent is this file's. Those of
oras have no time limit, wait minutes before they say that a name cannot be resolved, do not tell why a token is
refused, and give credentials also to hosts that a registry only names as the place for an upload.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import ssl
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import oras.auth.utils
import oras.container
import oras.provider
import requests
import urllib3
from requests.adapters import HTTPAdapter

from pywasmfilter_compiler.errors import RegistryError, UsageError

from . import credentials
from .credentials import Credentials
from .image import Blob, Format, Image
from .reference import Reference
from .refusals import Answer, not_a_registry, refusal

CONNECT_TIMEOUT: Final = 10.0  # seconds
PAUSE = 0.5  # seconds before the second try again, and twice as long before each later one
_TRIES: Final = 4  # again
_TRIES_TO_CONNECT: Final = 2  # again
_LONGEST_PAUSE: Final = 20  # seconds; registries may ask for an hour
_TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})
_EXPECTED: Final = {"HEAD": {200, 404}, "POST": {202}, "PUT": {200, 201, 202, 204}, "GET": {200}}
_DOING: Final = {"HEAD": "looking for a blob", "POST": "starting an upload", "PUT": "uploading", "GET": "reading"}
_CHUNK: Final = 1 << 16  # bytes
_CHUNKS: Final = 64  # that are read of an answer
_CLIENT: Final = "pyfilter"


@dataclass(frozen=True, slots=True)
class Access:
    """How to talk to a registry.

    `login` is used in place of Docker's configuration. `ca` is a file with the certificates to trust. `insecure` takes
    any certificate, and plain HTTP where there is no TLS. `timeout` in seconds bounds each wait for an answer.
    """

    login: Credentials | None = None
    ca: Path | None = None
    insecure: bool = False
    timeout: float = 60.0


def push_image(image: Image, reference: Reference, access: Access, progress: Callable[[str], None]) -> None:
    """Upload what the registry does not have yet, and then the manifest.

    Raises RegistryError, which says what to do, and UsageError for a file of certificates that is none.
    """
    _check_ca(access)
    progress(f"connecting to {reference.registry}")
    client = _Client(reference, image.format, access)
    with client.session, tempfile.TemporaryDirectory(prefix="pyfilter-") as folder:
        client.connect()
        for blob in image.blobs:
            progress(f"uploading {len(blob.data):,} bytes")
            client.upload(blob, Path(folder, "blob"))
        progress("uploading the manifest")
        client.put_manifest(image.manifest)


def _check_ca(access: Access) -> None:
    if access.ca is None:
        return
    if access.insecure:
        raise UsageError("--ca says which certificates to trust, and --insecure to trust any: use one of them")
    try:
        ssl.create_default_context(cafile=access.ca)
    except OSError as error:  # which SSLError is
        raise UsageError(f"{access.ca}: no file of certificates in PEM: {error.strerror or error}") from error


class _Again(urllib3.Retry):
    """Waits as long as a registry asks for, within bounds."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, _LONGEST_PAUSE)


class _Adapter(HTTPAdapter):
    """Bounds each wait, and tries again what may work the next time."""

    def __init__(self, timeout: float) -> None:
        self._timeout = (min(timeout, CONNECT_TIMEOUT), timeout)
        again = _Again(
            total=_TRIES,
            connect=_TRIES_TO_CONNECT,
            other=0,  # errors of TLS, which stay
            redirect=0,
            status_forcelist=_TRANSIENT,
            allowed_methods=None,  # all of them: each can be repeated here
            backoff_factor=PAUSE,
            raise_on_status=False,
        )
        super().__init__(max_retries=again)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "timeout": self._timeout})


class _Client(oras.provider.Registry):
    """One repository of a registry; `do_request` is what all of oras sends requests with."""

    def __init__(self, reference: Reference, of: Format, access: Access) -> None:
        super().__init__(hostname=reference.host, tls_verify=_trusted(access))
        self._reference = reference
        self._format = of
        self._access = access
        self._credentials: Credentials | None = access.login
        self._authorization: str | None = None
        self._container = oras.container.Container(f"{reference.repository}:{reference.tag}")
        # oras takes a first part with a point in it for a registry.
        self._container.registry, self._container.tag = reference.host, reference.tag
        self._container.namespace, _, self._container.repository = reference.repository.rpartition("/")
        self.session.auth = _as_it_is  # or requests would put what ~/.netrc says in the place of tokens
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, _Adapter(access.timeout))

    # Connecting

    def connect(self) -> None:
        """Find out whether there is a registry, and how it is spoken to."""
        response = self._first_response()
        if response.status_code not in {200, 401}:
            if response.status_code in _TRANSIENT | {403}:
                raise self._refusal(response, "connecting")
            raise not_a_registry(self._reference, f"HTTP {response.status_code} for {self._root}")

    def _first_response(self) -> requests.Response:
        if self._access.insecure:
            with suppress(RegistryError):
                return self._send("GET", self._root)
            self.prefix = "http"
        return self._send("GET", self._root)

    @property
    def _root(self) -> str:
        return f"{self.prefix}://{self._reference.host}/v2/"

    # Uploading

    def upload(self, blob: Blob, file: Path) -> None:
        """Upload a blob, by way of a file, unless it is there. An upload that got lost on the way begins anew, once."""
        file.write_bytes(blob.data)
        try:
            self.upload_blob(str(file), self._container, blob.descriptor())
        except RegistryError as error:
            if error.status not in {404, 416} or "NAME_UNKNOWN" in error.codes:
                raise
            self.upload_blob(str(file), self._container, blob.descriptor())

    def put_manifest(self, manifest: Blob) -> None:
        """Upload the manifest's own bytes, and see that they are what the registry has then."""
        url = f"{self.prefix}://{self._container.manifest_url()}"
        response = self.do_request(url, "PUT", data=manifest.data, headers={"Content-Type": manifest.media_type})
        digest = response.headers.get("Docker-Content-Digest")
        if digest is None:
            response = self.do_request(url, "GET", headers={"Accept": manifest.media_type})
            digest = f"sha256:{hashlib.sha256(response.content).hexdigest()}"
        if digest != manifest.digest:
            raise not_a_registry(
                self._reference, f"the manifest that it has is {ascii(digest)[1:-1][:100]}, not {manifest.digest}"
            )

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        **_unused: Any,
    ) -> requests.Response:
        """Send a request, with credentials if the registry asks for them. Raises RegistryError for what it refuses."""
        response = self._send(method, url, data, headers)
        if response.status_code == 401 and self._is_registry(response.url):  # not one that it redirects to
            self._authorize(response)
            response = self._send(method, url, data, headers)
        if method == "HEAD" and 400 <= response.status_code < 500:
            return response  # some refuse to say; the upload tells why
        if response.status_code not in _EXPECTED[method]:
            if response.ok:
                raise not_a_registry(self._reference, f"HTTP {response.status_code} to a {method}")
            raise self._refusal(response, _DOING[method])
        if method == "POST" and not _is_address(response.headers.get("Location")):
            raise not_a_registry(self._reference, "it does not say where to upload to")
        return response

    def _send(
        self, method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        given = dict(headers or {})
        if self._authorization and self._is_registry(url):
            given["Authorization"] = self._authorization
        return self._request(method, url, data=data, headers=given)

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            response = self.session.request(method, url, verify=self._tls_verify, stream=True, **options)
            # requests has no bound for what `content` gives, and an answer may have no end.
            response._content = b"".join(itertools.islice(response.iter_content(_CHUNK), _CHUNKS))  # noqa: SLF001
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _unreachable(error, self._reference, url, self._access) from error
        response.close()
        return response

    def _is_registry(self, url: str) -> bool:
        """Whether it is the registry's own address. Uploads may go to a store that it names, without credentials."""
        return _origin(url) == _origin(self._root)

    def _refusal(self, response: requests.Response, doing: str) -> RegistryError:
        who = self._credentials.source if self._credentials else None
        return refusal(Answer(response.status_code, response.content, who), doing, self._reference, self._format)

    # Credentials

    def _authorize(self, response: requests.Response) -> None:
        """Take up what a registry asks for: https://distribution.github.io/distribution/spec/auth/token/."""
        if self._credentials is None:
            self._credentials = credentials.find(self._reference.registry)
        challenge = response.headers.get("Www-Authenticate", "")
        if re.search(r"\bbearer\b", challenge, re.IGNORECASE):
            self._authorization = f"Bearer {self._token(challenge)}"
        elif self._credentials is None or self._authorization is not None:
            raise self._refusal(response, "logging in")
        else:
            self._authorization = _basic(self._credentials)

    def _token(self, challenge: str) -> str:
        asked = oras.auth.utils.parse_auth_header(challenge)
        realm = asked.realm or ""
        if not realm.startswith("https://") and not (realm.startswith("http://") and self._access.insecure):
            raise not_a_registry(self._reference, f"it wants credentials to be sent to {realm[:100]!r}")
        scope = asked.scope or f"repository:{self._reference.repository}:pull,push"
        values = {"service": asked.service or self._reference.host, "scope": scope}
        who = self._credentials
        if who and who.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": who.identity_token, "client_id": _CLIENT, **values}
            response = self._request("POST", realm, data=form, allow_redirects=False)  # which would repeat the form
        else:
            headers = {"Authorization": _basic(who)} if who else {}
            response = self._request("GET", realm, params=values, headers=headers)
        if not response.ok:
            raise self._refusal(response, "asking for a token")
        try:
            answer = response.json()
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise not_a_registry(self._reference, f"{urlsplit(realm).netloc} gives no token") from None


def _trusted(access: Access) -> bool | str:
    return str(access.ca) if access.ca else not access.insecure


def _is_address(text: str | None) -> bool:
    """Whether it is a URL, or a path."""
    try:
        return bool(text) and urlsplit(text).port != 0
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; of what is no URL that of nobody."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _basic(who: Credentials) -> str:
    return f"Basic {base64.b64encode(f'{who.username}:{who.password}'.encode()).decode()}"


# What keeps a request from being answered. Texts of these errors are not repeated: they hold addresses with tokens.


def _unreachable(error: Exception, reference: Reference, url: str, access: Access) -> RegistryError:
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        raise not_a_registry(reference, "it names an address that is none") from error
    causes = _causes(error)
    told = " ".join(str(cause) for cause in causes)
    return RegistryError(f"{reference}: {host} {_why(error, causes, told, access)}")


def _why(error: Exception, causes: list[BaseException], told: str, access: Access) -> str:
    kinds = tuple(type(cause) for cause in causes)
    if isinstance(error, requests.exceptions.ProxyError):
        return "is not reached through the proxy that HTTPS_PROXY or HTTP_PROXY names: correct it, or add to NO_PROXY"
    if any(issubclass(kind, urllib3.exceptions.NameResolutionError) for kind in kinds):
        return "cannot be resolved: correct the name, or see whether this machine has a network"
    if any(issubclass(kind, ssl.SSLError | requests.exceptions.SSLError) for kind in kinds):
        return _tls_problem(told)
    if any(issubclass(kind, requests.exceptions.Timeout) for kind in kinds) or "timed out" in told:
        return f"has not answered in {access.timeout:g} seconds: try again, or allow more with --registry-timeout"
    if any(issubclass(kind, ConnectionRefusedError) for kind in kinds):
        return "refuses connections: correct the port, or see whether the registry is running"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "does not answer as registries do: it redirects in a circle; correct the name"
    if any(issubclass(kind, OSError) and not issubclass(kind, requests.RequestException) for kind in kinds):
        return f"cannot be talked to: {_reason(causes)}; try again, and see what is between here and the registry"
    return "gives an answer that cannot be read: correct the name, and see what is between here and the registry"


def _tls_problem(told: str) -> str:
    if re.search("WRONG_VERSION_NUMBER|RECORD_LAYER|HTTP_REQUEST|PACKET_LENGTH", told):
        return "speaks plain HTTP and not TLS: use --insecure if that is meant to be, or correct the port"
    if "doesn't match" in told or "not valid for" in told or "Hostname mismatch" in told:
        return "has a certificate for another name: use the name that it is for"
    if "CERTIFICATE_VERIFY_FAILED" in told:
        if "expired" in told:
            return "has a certificate that is expired: it has to be renewed"
        return "has a certificate that nobody vouches for: name its authority's with --ca, or trust any with --insecure"
    return "cannot be spoken to with TLS: use --insecure if it is plain HTTP, or correct the port"


def _causes(error: BaseException) -> list[BaseException]:
    """An error with what it came from, as far as libraries tell."""
    found: list[BaseException] = []
    left: list[Any] = [error]
    while left:
        cause = left.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            left += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found


def _reason(causes: list[BaseException]) -> str:
    reasons = (cause.strerror for cause in causes if isinstance(cause, OSError))
    return next(filter(None, reasons), "the connection broke")
