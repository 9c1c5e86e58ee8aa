"""Vowpal Wabbit's Python API behind the same HTTP server: serve_vw.py PORT VW_FILE BITS.

It learns the file first. (The package of PyPI has no daemon.)
"""

import json
import sys

import uvicorn
from vowpalwabbit import Workspace

from benchmarks.vw_text import tokens

port, file, bits = sys.argv[1:]
settings = "--ftrl --ftrl_alpha 0.1 --ftrl_beta 1 --l1 1 --l2 1 --loss_function logistic --quiet"
workspace = Workspace(arg_list=[*settings.split(), "--link", "logistic", "-b", bits])
with open(file) as lines:
    for line in lines:
        workspace.learn(line)


def predict(features):
    return workspace.predict("| " + " ".join(tokens(features)))


async def app(scope, receive, send):
    body, part = b"", await receive()
    while True:
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
        part = await receive()
    asked = json.loads(body)
    if "events" in asked:
        rows = [event["features"] for event in asked["events"]]
    else:
        rows = [{**asked["context"], **candidate} for candidate in asked["candidates"]]
    answer = json.dumps({"probabilities": [predict(row) for row in rows]}).encode()
    length = (b"content-length", b"%d" % len(answer))
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


uvicorn.run(
    app,
    port=int(port),
    loop="uvloop",
    http="httptools",
    lifespan="off",
    access_log=False,
    log_level="warning",
)
