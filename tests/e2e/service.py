"""The service: `POST /REGION/ARTICLE` orders one, `GET` says how many were ordered. `python service.py [careless]`"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.exceptions import BotoCoreError, ClientError

ENDPOINTS = {f"us-{where}": f"http://127.0.0.1:{8000 + n}" for n, where in enumerate(("east-1", "east-2", "west-2"))}


def order(table, key):
    """One request that reads and writes."""
    change = {"UpdateExpression": "ADD v :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    reply = table.update_item(TableName="shop", Key=key, ReturnValues="UPDATED_NEW", **change)
    return int(reply["Attributes"]["v"]["N"])


def order_carelessly(table, key):
    """Two requests, and whatever comes between them is overwritten."""
    count = look(table, key) + 1
    table.put_item(TableName="shop", Item={**key, "v": {"N": str(count)}})
    return count


def look(table, key):
    found = table.get_item(TableName="shop", Key=key, ConsistentRead=True)
    return int(found.get("Item", {"v": {"N": "0"}})["v"]["N"])


def make_server(port, endpoints=ENDPOINTS, order=order):
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    tables = {at: boto3.client("dynamodb", at, endpoint_url=url, **keys) for at, url in endpoints.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.answer(order)

        def do_GET(self):
            self.answer(look)

        def answer(self, work):
            _, region, article = self.path.split("/")
            try:
                status, body = 200, json.dumps({"count": work(tables[region], {"pk": {"S": article}})}).encode()
            except (BotoCoreError, ClientError):
                status, body = 500, b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_): ...

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    make_server(5000, order=order_carelessly if "careless" in sys.argv else order).serve_forever()
