"""What the document can't say in JSON Schema, said to schemathesis, and what makes its requests reach something.

The document's examples are the ids of a shop that is there before the first request (schemathesis makes one up for the others):
a request that is right by the document is sent to what was made before it, as a client would. Requests that are wrong on
purpose stay as they are, and so do those of the stateful phase, which has its own links from answer to request.
"""

import atexit
import concurrent.futures
import json
import random
import re
import urllib.error
import urllib.request
import uuid

import schemathesis

# What answers have shown, by kind: the things that later requests are about.
orders = {}  # id: status
products = {}  # (store, product): what is available
riders = {}  # id: orders in hand
stores = set()
most = 50  # of a kind: the newest are kept

# The statuses in which a verb about an order is followed.
follows = {
    "accept": {"paid"},
    "reject": {"paid"},
    "cancel": {"placed", "paying", "paid", "accepted"},
    "postpone": {"accepted", "cooking"},
    "start-cooking": {"accepted"},
    "finish-cooking": {"cooking"},
    "confirm": {"delivered"},
    "request-refund": {"delivered", "completed"},
    "approve-refund": {"refund_requested"},
    "deny-refund": {"refund_requested"},
}


def positive(case):
    return case.meta is not None and case.meta.generation.mode.value == "positive"


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
        names = [line["product"] for line in lines if isinstance(line, dict) and isinstance(line.get("product"), str)]
        if len(names) != len(set(names)):  # a product is ordered in one line
            case.body = {**body, "lines": unlike(lines)}
    for name, value in (case.path_parameters or {}).items():
        if value == "" and positive(case):  # a link from the riderId of an order that has no rider
            case.path_parameters[name] = "nobody"
    if positive(case):
        choose = random.Random(case.id)
        own_key(case, choose)
        if case.meta.phase.name.value != "stateful":
            make_shop(case)
            aim(case, choose)


def unlike(lines):
    """As many lines, each of another product."""
    return [{**line, "product": f"p-{i}"} if isinstance(line, dict) and isinstance(line.get("product"), str) else line for i, line in enumerate(lines)]


def own_key(case, choose):
    """A key names one command, and an ETag one version: the document's example of either is not for every request."""
    headers, body = case.headers, case.body
    if headers and "Idempotency-Key" in headers and choose.random() < 0.8:
        headers["Idempotency-Key"] = str(uuid.UUID(int=choose.getrandbits(128), version=4))
    if isinstance(body, dict) and body.get("id") and choose.random() < 0.8:
        case.body = {**body, "id": str(uuid.UUID(int=choose.getrandbits(128), version=4))}
    if headers and "If-Match" in headers and choose.random() < 0.8:
        headers["If-Match"] = "*"


def aim(case, choose):
    """Most requests are about what is there, and what they ask for can be done."""
    if choose.random() < 0.1:
        return
    path, at, body = case.operation.path, case.path_parameters, case.body if isinstance(case.body, dict) else {}
    verb = path.rsplit("/", 1)[-1]

    def pick(things):
        things = sorted(things)
        return choose.choice(things) if things else None

    change = {}
    if path.startswith("/v1/orders/{id}"):
        wanted = follows.get(verb)
        at["id"] = pick(i for i, status in orders.items() if wanted is None or status in wanted) or at["id"]
    elif path.startswith("/v1/stores/{id}"):
        if "{product}" in path:
            if found := pick(products):
                at["id"], at["product"] = found
                if verb == "remove" and products[found] > 0:
                    change["quantity"] = choose.randint(1, products[found])
        elif case.method != "DELETE":
            at["id"] = pick(stores) or at["id"]
    elif path.startswith("/v1/riders/{id}"):
        if verb in ("claim", "decline", "picked-up", "delivered"):
            if found := pick(r for r, has in riders.items() if has):
                at["id"] = found
                change["orderId"] = pick(riders[found])
        elif verb == "online":
            change["area"] = "gangnam"
        else:
            at["id"] = pick(riders) or at["id"]
    elif path == "/v1/orders" and case.method == "POST":
        if found := pick(p for p, available in products.items() if available > 0):
            change["storeId"] = found[0]
            change["lines"] = [{"product": found[1], "quantity": choose.randint(1, min(5, products[found]))}]
            change["expectedTotal"] = None
    elif path == "/problems/{name}":
        at["name"] = "refused"
    if body and change:
        case.body = {**body, **change}


made = False


def make_shop(case):
    """A store that sells, riders, and orders in every status that a request may need, before the first request."""
    global made
    if made:
        return
    made = True
    base = case.operation.base_url if hasattr(case.operation, "base_url") else case.operation.schema.get_base_url()
    base = base.rstrip("/")

    def say(method, path, body=None):
        request = urllib.request.Request(base + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json", "Prefer": "wait=10"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                learn(path.split("?")[0], method, json.load(answer))
        except urllib.error.HTTPError as refused:
            if refused.code != 409:  # of an earlier run, whose orders have gone on
                raise

    place = {"lat": 37.5, "lon": 127.03}
    say("PUT", "/v1/stores/s-1", {"name": "Mine", "area": "gangnam", "autoAccept": False, "cookingTime": "15m", **place})
    say("PUT", "/v1/stores/s-1/products/bibimbap", {"name": "Bibimbap", "price": 9000})
    say("POST", "/v1/stores/s-1/products/bibimbap/add", {"quantity": 100000})
    for n in range(1, 21):
        say("POST", f"/v1/riders/r-{n}/online", {"area": "gangnam", "capacity": 5, **place})

    def live(n):
        order = f"/v1/orders/o-{n}"
        say("POST", "/v1/orders?wait=paid", {"id": f"o-{n}", "userId": "u-1", "storeId": "s-1", "address": place, "lines": [{"product": "bibimbap", "quantity": 1}]})
        for verb in ["accept", "start-cooking", "finish-cooking"][: n % 4]:
            say("POST", f"{order}/{verb}", {})
        if n % 4 == 3 and n > most // 3:
            say("GET", f"{order}?wait=assigned")
            if rider := assigned.get(f"o-{n}"):
                for verb in ["picked-up", "delivered"]:
                    say("POST", f"/v1/riders/{rider}/{verb}", {"orderId": f"o-{n}"})
                say("GET", f"{order}?wait=delivered")
                if n % 8 == 7:
                    say("POST", f"{order}/request-refund", {"userId": "u-1", "reason": "cold", "photoUrl": "https://photos.example/1.jpg", "wish": "refund"})

    with concurrent.futures.ThreadPoolExecutor(most) as people:
        list(people.map(live, range(1, most + 1)))
    for n in range(1, 21):
        say("GET", f"/v1/riders/r-{n}")


plain = re.compile(r"[A-Za-z0-9-]+")  # an id that is the same in a path
assigned = {}  # the rider who has an order


def learn(path, method, thing):
    """Keeps what an answer shows."""
    if not isinstance(thing, dict) or not plain.fullmatch(thing.get("id", thing.get("product", ""))) or not plain.fullmatch(thing.get("storeId", "s-1")):
        return
    if "timeline" in thing:
        orders[thing["id"]] = thing["status"]
        assigned[thing["id"]] = thing.get("riderId")
    elif "deliveredCount" in thing:
        riders[thing["id"]] = [d["orderId"] for d in thing["deliveries"]]
    elif "onHand" in thing and "storeId" in thing:
        products[thing["storeId"], thing["product"]] = 0 if thing.get("soldOut") else thing["available"]
    elif "autoAccept" in thing:
        stores.add(thing["id"])
    for kept in (orders, products, riders):
        while len(kept) > most * 2:
            kept.pop(next(iter(kept)))


asked = {"valid": 0, "followed": 0}
atexit.register(lambda: print("%(followed)d of %(valid)d valid requests were followed (2xx)" % asked))


@schemathesis.hook
def after_call(ctx, case, response):
    if positive(case):
        asked["valid"] += 1
        asked["followed"] += 200 <= response.status_code < 300
    if not 200 <= response.status_code < 300 or "/{" not in case.operation.path and case.operation.path != "/v1/orders":
        return
    at = case.path_parameters or {}
    if case.method == "DELETE":
        for gone in [p for p in products if p[0] == at.get("id") and at.get("product", p[1]) == p[1]]:
            del products[gone]
        if "product" not in at:
            stores.discard(at.get("id"))
        return
    if "json" in response.headers.get("content-type", [""])[0]:
        learn(case.operation.path, case.method, response.json())
