"""Tokens for the tests, with keys that are in no use anywhere else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Final

ISSUER: Final = "https://issuer.example"
SECRET: Final = b"a secret of 32 bytes, for tests."
LATE: Final = 4102444800
"""The year 2100."""
CLAIMS: Final = {"iss": ISSUER, "aud": "shop", "sub": "ada", "exp": LATE}


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Undo `encode`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class RsaKey:
    """A private key, whose modulus and exponent are in base64url."""

    def __init__(self, kid: str, modulus: str, private: str) -> None:
        self.jwk = {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "e": "AQAB", "n": modulus}
        self.modulus, self._private = (int.from_bytes(decode(text), "big") for text in (modulus, private))

    def sign(self, text: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 with SHA-256."""
        return pow(int.from_bytes(padded(text), "big"), self._private, self.modulus).to_bytes(256, "big")

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether a signature is that of a text."""
        return pow(int.from_bytes(signature, "big"), 65537, self.modulus).to_bytes(256, "big") == padded(text)


def padded(text: bytes) -> bytes:
    """What is signed: EMSA-PKCS1-v1_5 for 2048 bits."""
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(text).digest()
    return b"\0\1" + b"\xff" * (253 - len(digest)) + b"\0" + digest


def rs256(claims: Any = CLAIMS, key: RsaKey | None = None, **header: Any) -> str:
    """A token, signed with the first key by default; `header` is for its header."""
    key = key or ONE
    return token({"alg": "RS256", "kid": key.jwk["kid"], **header}, claims, key.sign)


def hs256(claims: Any = CLAIMS, secret: bytes = SECRET, **header: Any) -> str:
    """A token with a secret."""
    return token({"alg": "HS256", **header}, claims, lambda text: hmac.digest(secret, text, "sha256"))


def token(header: Any, claims: Any, sign: Any) -> str:
    """A token of any content: text stays as it is, everything else becomes JSON."""
    parts = [value if isinstance(value, str) else json.dumps(value) for value in (header, claims)]
    text = ".".join(encode(part.encode("utf-8", "surrogateescape")) for part in parts)
    return f"{text}.{encode(sign(text.encode()))}"


ONE: Final = RsaKey(
    "one",
    "tciz5erAwadp_5cMGX6a6cWcOoiCVdNrc4obFDjRIlX2tQrijCRGXTRQspmiLyZ7g7sa74Ueh-S8Fz5jCXg11h84HUiSNtLc9X5H"
    "Qu5edcW9eSgBU4S9z_vnEg6EEcrhmrbaDhei_lR_BzRNxWUIdpB0_vYdnYxocYOGqkiAT2G3ZjAH38-8rGtuoVNDwyQg1WkQRYZP"
    "aaXMIJgquzCSwZMSda7cMPlV-xxSt49CYJ9n2_JWXj2S4F22Asd7hGsg0ryeGWdlAlYOxOvZ5oydHha2jWxBDWEuf6fjrEvZ6OFs"
    "f-VtnRA3STtIHFzyd8X6Y5OFEOqOcf9XynxGW2iD7Q",
    "CqwLP7K9-UCCXRJ5j9-aaaIDz33nJPHCC6jueQvy3zCryKoobbDNfrhNCocxedIpCy1HYgtvJOw9TKIJf2tSwczYZwO1LcnIVhNB"
    "TMEgw4pF2uCJ32TaHeU8hhdbEo5WG1ajy5MAqyy7vmkILdAGJKvLapJ5X5_4G73sgH-8JKzPFtJNia66z47K6SIUFzr1OkpLfdNP"
    "WGxmgJ_mw_bUskJJFSkjQN8LvhSb6b9O5hi7yFNGnc9uykL-S7aG_mrlUbL457cO_4Wwht6xPdDBYy8FueMsDnXxddVOB7GzosWf"
    "RInYN5Q9xvWXRQ0pzPpftv4tnAxqlX3s4PZ_6j2XAQ",
)
TWO: Final = RsaKey(
    "two",
    "6lPRN9HJyv2RA3glms0Ju1ZVA7JgcvwEWou2bWiZOihwhVz-7EKwrtxmoixkT2MIG4WESknwspFcvFYgc39m6ZQXLPRqnDeQi0UT"
    "1BCVXNyupdOfbHhR-3Flnq-B91dNZ6Z_fVT2FcJ6D0L3KL7JSDFtQAXqPQgNFkAex9IQRNRgczMfApWGmAqAfiqWVjWdmXfu5u1O"
    "lu1QQeq9Jv9DCbQ7TJoVRR-_5urDxshFkFR-9mCre_5DypL-sKTaxR-RefyCrHbAOB6pmNhIF1ZTzpkkL3frMiQZCTK7G9XDTWtj"
    "O_22nyjtU1W4DHBYt5ZpGwkppDk9gOcfz9m9Ujefmw",
    "bH6yeC3iSOJuqjSO9MXKo7qtUjDdB2A4g9P8e1va1lqy_oy4W5vlQpE51AzJxRgNQPDo95yUnZlAXtNh4xgyBiRTNrVUR1BS1Kj_"
    "LUkgXwautojtX8O18b3nVznb6zG43SzyCo20Aw8whLB0z6DGgW6hLuuOMQPxS0QU_F_-uF7Z_CReXbXTzBerH6yLVJlbbsrP2uR7"
    "QoS1BwhDKHlmXuwr9xehjFgjrVuoYxSaa8Yx_KiHWLKK6nnqNVGx82cZstEXNKyDBz2iLIQuxKHko1tgQMhkK4rWZEI1jIGYg2C3"
    "CVkuVA_PV88hso_zoFHj6F6j5-mudkje2gWaOvUCgQ",
)
CURVE: Final = {
    "kty": "EC",
    "kid": "curve",
    "crv": "P-256",
    "x": "i0e_jy1QiiBlfQ3k8WGBahZZ6-enZQpEoR3AoeHkSl8",
    "y": "VBf8RHCdy85OVGNEf48KrsyV7-UzwXe4ZrjOOsyGVH8",
}
ES256: Final = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImN1cnZlIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoic2hvcCIs"
    "InN1YiI6ImFkYSIsImV4cCI6NDEwMjQ0NDgwMH0.ob1p5aw3iEyzt8-ltMpZMCCWO4NnuTfC4vFG8BmpCwlWoObXBd6PihPfVvcI"
    "_crhzLXZXgtWDlgFlXSzni1dQg"
)
"""A token that openssl has signed with the key CURVE. Beside it, what openssl makes of key and signature."""
CURVE_DER: Final = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200048b47bf8f2d508a20657d0de4f161816a1659ebe7a7650a"
    "44a11dc0a1e1e44a5f5417fc44709dcbce4e5463447f8f0aaecc95efe533c177b866b8ce3acc86547f"
)
ES256_DER: Final = bytes.fromhex(
    "3045022100a1bd69e5ac37884cb3b7cfa5b4ca593020963b8367b937c2e2f146f019a90b09022056a0e6d705de8f8a13df56"
    "f708fdcae1ccb5d95e0b560e58059574b39e2d5d42"
)
JWKS: Final = {"keys": [ONE.jwk, CURVE]}
