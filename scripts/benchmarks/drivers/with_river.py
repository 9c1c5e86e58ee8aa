"""River's FTRL-Proximal, predicting and learning JSON lines: with_river.py FILE EVENTS."""

import json
import math
import sys
import time
from itertools import islice

from river import linear_model, optim

from benchmarks.vw_text import tokens

file, most = sys.argv[1], int(sys.argv[2])
model = linear_model.LogisticRegression(optim.FTRLProximal(alpha=0.1, beta=1.0, l1=1.0, l2=1.0))
loss = total = 0.0
start = time.perf_counter()
with open(file, "rb") as lines:
    for line in islice(lines, most):
        event = json.loads(line)
        x, y = dict.fromkeys(tokens(event["features"]), 1.0), event["label"] == 1
        p = min(max(model.predict_proba_one(x)[True], 2.0**-24), 1 - 2.0**-24)
        model.learn_one(x, y)
        weight = event.get("weight", 1.0)
        loss -= weight * math.log(p if y else 1 - p)
        total += weight
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "log_loss": loss / total}))
