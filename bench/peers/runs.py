"""Reads the JSON of compare_peers, of one run or of several: the best of all turns of all runs."""

import json


def load(files):
    """{"limits": [...], "cases": [...]} as compare_peers writes it. With several files times are the least, limits and
    shares the largest. `share` of an entrant is that of the limit measured in the same run, by its best time."""
    limits, cases = {}, {}
    for file in files:
        run = json.loads(file.read_text())
        for measured in run["limits"]:
            _keep_larger(limits.setdefault(measured["threads"], measured), measured)
        for case in run["cases"]:
            key = tuple(case[field] for field in ("type", "n", "k", "threads", "m"))
            kept = cases.setdefault(key, {**case, "entrants": {}})
            for entrant in case["entrants"]:
                if "best_s" in entrant:
                    _keep_faster(kept["entrants"].setdefault(entrant["name"], {"share": 0} | entrant), entrant)
    for case in cases.values():
        case["entrants"] = list(case["entrants"].values())
    return {"limits": list(limits.values()), "cases": list(cases.values())}


def _keep_larger(kept, measured):
    kept["read_gb_s"] = max(kept["read_gb_s"], measured["read_gb_s"])
    rates = {rate["name"]: rate for rate in kept["rates"]}
    for rate in measured["rates"]:
        same = rates[rate["name"]]
        same["gmac_per_s"] = max(same["gmac_per_s"], rate["gmac_per_s"])


def _keep_faster(kept, entrant):
    for field in ("median_s", "best_s"):
        kept[field] = min(kept[field], entrant[field])
    kept["share"] = max(kept["share"], entrant["bound_s"] / entrant["best_s"])
