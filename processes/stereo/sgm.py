"""Semi-global aggregation of a sliced cost volume along eight paths.

Hirschmüller, 2008; each path looks at two neighbours as in MGM (Facciolo, de Franchis & Meinhardt,
2015), which takes away most streaks. Costs are integers and every slice is a multiple of LANES
long, so the inner loop over disparity is vector code. Two sweeps (down, then up) with four paths
each keep only two image rows of path costs.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from processes.stereo.census import LANES

FAR = np.uint16(0x3FFF)
NOTHING = np.uint16(0xFFFF)
NEVER = np.int32(-(2**30))


@njit(cache=True, nogil=True)
def sweep(cost, first, count, start, guide, p1, p2, lowest, span, up, total):  # type: ignore[no-untyped-def]
    """Add to *total* (flat uint16) four path costs: from W, NW, N, NE, or when *up* the opposite.

    *p2* is a table of 256 penalties (uint16) by difference of *guide* (uint8) along the step.
    *lowest* is the smallest disparity of all slices, *span* their whole extent.
    """
    rows, cols = first.shape
    width = span + 2 * LANES
    # path, line, column, disparity
    line = np.full((4, 2, cols + 2, width), FAR, np.uint16)
    best = np.zeros((4, 2, cols + 2), np.uint16)
    used = np.full((2, cols + 2, 2), 0, np.int64)
    step = -1 if up else 1
    for i in range(rows):
        r = rows - 1 - i if up else i
        now = i & 1
        for j in range(cols):
            c = cols - 1 - j if up else j
            at = c + 1
            n = count[r, c]
            a = first[r, c] - lowest + LANES
            s = start[r, c]
            c_ = cost[s : s + n]
            t_ = total[s : s + n]
            old_a = used[now, at, 0]
            old_n = used[now, at, 1]
            used[now, at, 0] = a
            used[now, at, 1] = n
            for path in range(4):
                cur = line[path, now, at]
                for k in range(old_a, old_a + old_n):
                    cur[k] = FAR
                # the neighbour along the path, and the one across it
                if path == 0:
                    dr, dc, er, ec = 0, -1, -1, 0
                elif path == 1:
                    dr, dc, er, ec = -1, -1, -1, 1
                elif path == 2:
                    dr, dc, er, ec = -1, 0, 0, -1
                else:
                    dr, dc, er, ec = -1, 1, -1, -1
                r1 = r + dr * step
                c1 = c + dc * step
                r2 = r + er * step
                c2 = c + ec * step
                in1 = r1 >= 0 and r1 < rows and c1 >= 0 and c1 < cols
                in2 = r2 >= 0 and r2 < rows and c2 >= 0 and c2 < cols
                out = cur[a : a + n]
                low = FAR
                if in1 and in2:
                    l1 = now if dr == 0 else 1 - now
                    l2 = now if er == 0 else 1 - now
                    m1 = best[path, l1, c1 + 1]
                    m2 = best[path, l2, c2 + 1]
                    j1 = np.uint16(m1 + p2[abs(np.int64(guide[r, c]) - np.int64(guide[r1, c1]))])
                    j2 = np.uint16(m2 + p2[abs(np.int64(guide[r, c]) - np.int64(guide[r2, c2]))])
                    x1 = line[path, l1, c1 + 1]
                    x2 = line[path, l2, c2 + 1]
                    s1 = x1[a : a + n]
                    d1 = x1[a - 1 : a + n - 1]
                    u1 = x1[a + 1 : a + n + 1]
                    s2 = x2[a : a + n]
                    d2 = x2[a - 1 : a + n - 1]
                    u2 = x2[a + 1 : a + n + 1]
                    for k in range(n):
                        v1 = min(np.uint16(min(d1[k], u1[k]) + p1), min(s1[k], j1))
                        v2 = min(np.uint16(min(d2[k], u2[k]) + p1), min(s2[k], j2))
                        v = np.uint16(np.uint16(v1 - m1) + np.uint16(v2 - m2)) >> np.uint16(1)
                        v = np.uint16(v + np.uint16(c_[k]))
                        out[k] = v
                        t_[k] = np.uint16(t_[k] + v)
                        low = min(low, v)
                elif in1 or in2:
                    if in1:
                        l1 = now if dr == 0 else 1 - now
                    else:
                        r1, c1 = r2, c2
                        l1 = now if er == 0 else 1 - now
                    m1 = best[path, l1, c1 + 1]
                    j1 = np.uint16(m1 + p2[abs(np.int64(guide[r, c]) - np.int64(guide[r1, c1]))])
                    x1 = line[path, l1, c1 + 1]
                    s1 = x1[a : a + n]
                    d1 = x1[a - 1 : a + n - 1]
                    u1 = x1[a + 1 : a + n + 1]
                    for k in range(n):
                        v1 = min(np.uint16(min(d1[k], u1[k]) + p1), min(s1[k], j1))
                        v = np.uint16(np.uint16(v1 - m1) + np.uint16(c_[k]))
                        out[k] = v
                        t_[k] = np.uint16(t_[k] + v)
                        low = min(low, v)
                else:
                    for k in range(n):
                        v = np.uint16(c_[k])
                        out[k] = v
                        t_[k] = np.uint16(t_[k] + v)
                        low = min(low, v)
                best[path, now, at] = low


@njit(cache=True, nogil=True)
def winners(total, first, count, start, per_px, right_cols):  # type: ignore[no-untyped-def]
    """Return the best disparity of each left and each right pixel, and the left's three costs.

    Left: (row, col) int32 steps, with costs (row, col, 3) before, at and after the minimum, and the
    lowest cost two or more steps away from it. Right: steps of the whole right pixels, found along
    the volume's diagonals; NEVER where no left pixel looked.
    """
    rows, cols = first.shape
    left = np.empty((rows, cols), np.int32)
    near = np.empty((rows, cols, 3), np.uint16)
    rival = np.empty((rows, cols), np.uint16)
    right = np.full((rows, right_cols), NEVER, np.int32)
    right_best = np.full((rows, right_cols), NOTHING, np.uint16)
    for r in range(rows):
        for c in range(cols):
            n = count[r, c]
            s = start[r, c]
            t = total[s : s + n]
            low = t[0]
            for k in range(n):
                low = min(low, t[k])
            m = 0
            while t[m] != low:
                m += 1
            left[r, c] = first[r, c] + m
            near[r, c, 1] = low
            near[r, c, 0] = t[m - 1] if m > 0 else NOTHING
            near[r, c, 2] = t[m + 1] if m + 1 < n else NOTHING
            gap = 2 * per_px
            second = NOTHING
            for k in range(m - gap + 1):
                second = min(second, t[k])
            for k in range(m + gap, n):
                second = min(second, t[k])
            rival[r, c] = second
            base = c * per_px + first[r, c]
            k = (-base) % per_px
            while k < n:
                x = (base + k) // per_px
                if x >= 0 and x < right_cols and t[k] < right_best[r, x]:
                    right_best[r, x] = t[k]
                    right[r, x] = first[r, c] + k
                k += per_px
    return left, near, rival, right
