"""The limit of any such server: a bare ASGI application that reads a body and answers 64 bytes:
serve_echo.py PORT.
"""

import sys

import uvicorn

ANSWER = b'{"model":{"name":"echo","version":1},"probabilities":[0.0123456]}'[:64]
HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))],
}
BODY = {"type": "http.response.body", "body": ANSWER}


async def echo(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send(HEAD)
    await send(BODY)


uvicorn.run(
    echo,
    port=int(sys.argv[1]),
    loop="uvloop",
    http="httptools",
    lifespan="off",
    access_log=False,
    log_level="warning",
)
