"""What the document can't say in JSON Schema, said to schemathesis."""

import schemathesis


@schemathesis.hook
def map_query(ctx, query):
    """A cursor is opaque: one that was made up is refused, as it should be."""
    if query:
        query.pop("cursor", None)
    return query


@schemathesis.hook
def map_headers(ctx, headers):
    """Nobody waits longer than a second here."""
    if headers and "Prefer" in headers:
        headers["Prefer"] = "wait=1"
    return headers


@schemathesis.hook
def filter_body(ctx, body):
    """A product is ordered in one line."""
    lines = body.get("lines") if isinstance(body, dict) else None
    if not isinstance(lines, list):
        return True
    products = [repr(line.get("product")) for line in lines if isinstance(line, dict)]
    return len(products) == len(set(products))
