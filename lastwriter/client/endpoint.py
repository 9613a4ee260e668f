"""The URL of a Region's endpoint, taken apart."""

from __future__ import annotations

import ipaddress
import urllib.request
from functools import cache
from urllib.parse import urlsplit

from lastwriter.errors import UserError


def parse_endpoint(endpoint: str) -> tuple[str, str, int]:
    """Scheme, host and port of an endpoint's URL; raises UserError."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise UserError(f"endpoint {endpoint!r} is no URL of an endpoint; write it like http://127.0.0.1:8000")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def host_header(scheme: str, host: str, port: int) -> str:
    """What stands in (and is signed as) the Host header, as botocore writes it."""
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if scheme == "https" else 80) else f"{name}:{port}"


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment (``HTTPS_PROXY``, ``NO_PROXY``) has for an endpoint; never one for this host."""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(scheme)


@cache
def is_loopback(host: str) -> bool:
    """Whether ``host`` is this very host: no proxy stands in between, and no AWS credentials are wanted there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
