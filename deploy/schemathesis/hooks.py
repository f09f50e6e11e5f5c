"""What the document can't say in JSON Schema, said to schemathesis."""

import schemathesis


@schemathesis.hook
def before_call(ctx, case, kwargs):
    query, headers, body = case.query, case.headers, case.body
    if query:
        query.pop("cursor", None)  # it is opaque: one that was made up is refused, as it should be
        if "wait" in query:
            query.pop("after", None)  # one waits for a status or for a version
    if headers and "Prefer" in headers:
        headers["Prefer"] = "wait=1"  # nobody waits for long here
    lines = body.get("lines") if isinstance(body, dict) else None
    if isinstance(lines, list):
        products = [line["product"] for line in lines if isinstance(line, dict) and isinstance(line.get("product"), str)]
        if len(products) != len(set(products)):  # a product is ordered in one line
            case.body = {**body, "lines": unlike(lines)}


def unlike(lines):
    """As many lines, each of another product."""
    return [{**line, "product": f"p-{i}"} if isinstance(line, dict) and isinstance(line.get("product"), str) else line for i, line in enumerate(lines)]
