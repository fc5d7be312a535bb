"""How Amazon's services say that credentials are no good: each in its own form, or not at all."""

from __future__ import annotations

TOKEN = "canary-session-token"
"""What a refusal must not hand on: services repeat what was signed, a session token among it."""

_ECHO = f"The Canonical String should have been\\n'POST\\n/\\n\\nx-amz-security-token:{TOKEN}\\n"

BARE: dict[str, tuple[int, dict[str, str], bytes]] = {
    "403 and nothing": (403, {}, b""),
    "401 and nothing": (401, {}, b""),
    "403 of a proxy": (403, {"content-type": "text/html"}, b"<html>Forbidden</html>"),
    "403 and words alone": (403, {}, b'{"message": "Forbidden"}'),
    "403 of an unknown kind": (403, {"x-amzn-errortype": "OddException"}, b"{}"),
    "a signature, 400": (
        400,
        {"x-amzn-errortype": "InvalidSignatureException:http://internal.amazon.com/coral/"},
        f'{{"message": "The request signature does not match.\\n\\n{_ECHO}"}}'.encode(),
    ),
    "a signature without its suffix": (400, {}, b'{"__type": "InvalidSignature"}'),
    "a key, 400": (
        400,
        {},
        (
            b'{"__type": "com.amazon.coral.service#UnrecognizedClientException", "message": "The '
            b'security token included in the request is invalid."}'
        ),
    ),
    "an old token, JSON": (400, {}, b'{"__type": "ExpiredTokenException", "message": "old"}'),
    "an old token, XML": (
        400,
        {"content-type": "text/xml"},
        (
            b'<?xml version="1.0"?><ErrorResponse xmlns="https://iam.amazonaws.com/doc/"><Error>'
            b"<Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token included "
            b"in the request is expired</Message></Error></ErrorResponse>"
        ),
    ),
    "a signature, XML": (
        403,
        {"content-type": "application/xml"},
        b"<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated "
        b"does not match</Message><StringToSign>AWS4-HMAC-SHA256 x-amz-security-token:"
        + TOKEN.encode()
        + b"</StringToSign></Error>",
    ),
    "nested": (403, {}, b'{"Error": {"Code": "InvalidAccessKeyId", "Message": "no such key"}}'),
}
