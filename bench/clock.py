"""Medians of repeated calls."""

import gc
import time

import numpy as np


def repeat(call, budget, least=3, most=300):
    """`call(k)` gives the (wall, process) seconds of its parts. The first call is not counted; medians of the parts."""
    first = call(0)
    times, k = [], 1
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    try:
        while len(times) < most and (len(times) < least or time.perf_counter() - start < budget):
            # what takes longer than three budgets is not called again and again for a median
            if times and time.perf_counter() - start > 3 * budget:
                break
            times.append(call(k))
            k += 1
    finally:
        gc.enable()
    a = np.array(times)  # calls, parts, (wall, process)
    middle, total = np.median(a, axis=0), np.median(a.sum(axis=1), axis=0)
    return {
        "wall": float(total[0]),
        "cpu": float(total[1]),
        "cpu_least": float(a.sum(axis=1)[:, 1].min()),
        "parts": [[float(v) for v in part] for part in middle],
        "calls": len(times),
        "first": float(sum(part[0] for part in first)),
    }


def timed(*calls):
    """Wall and process seconds of calls one after another."""
    parts = []
    for call in calls:
        start, cpu = time.perf_counter(), time.process_time()
        call()
        parts.append((time.perf_counter() - start, time.process_time() - cpu))
    return parts
