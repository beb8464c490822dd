"""The geometry of a closed shell, compiled: what `validity` asks of every building.

A shell is packed into flat arrays: corners as numbers of points, ring after ring, where each ring
ends, and the first ring of each face. Each function answers one question, and where an answer
needs more care than it takes here, it says so and leaves that face to `validity`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.building import Ring

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Shell = tuple[Numbers, Numbers, Numbers]
"""Corners; where each ring starts, and the end of the last; each face's first ring, and the end."""

CLEAR_M = 1e-6
"""Sides of a face that come closer than this are left to exact arithmetic."""


def packed(faces: Sequence[tuple[Ring, ...]], number: Numbers) -> Shell:
    """Return the rings of the faces as flat arrays, vertices by the *number* of their point."""
    corners = number[np.array([i for face in faces for ring in face for i in ring], np.int64)]
    size = [len(ring) for face in faces for ring in face]
    starts = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    first = np.concatenate([[0], np.cumsum([len(face) for face in faces])]).astype(np.int64)
    return corners, starts, first


@njit(cache=True, nogil=True, error_model="numpy")
def snapped(vertices: Floats, step_m: float) -> tuple[Floats, Numbers]:
    """Return distinct points about their lowest corner, and the number of each given vertex."""
    count = len(vertices)
    low = np.array([vertices[:, k].min() for k in range(3)])
    whole = np.round((vertices - low) / step_m)
    order = np.argsort(whole[:, 0])
    number = np.empty(count, np.int64)
    points = np.empty((count, 3))
    found = 0
    for place in range(count):
        i = order[place]
        number[i] = found
        for before in range(place - 1, -1, -1):
            j = order[before]
            if whole[j, 0] != whole[i, 0]:
                break
            if whole[j, 1] == whole[i, 1] and whole[j, 2] == whole[i, 2]:
                number[i] = number[j]
                break
        if number[i] == found:
            points[found] = whole[i] * step_m
            found += 1
    return points[:found], number


@njit(cache=True, nogil=True, error_model="numpy")
def ring_codes(shell: Shell) -> Numbers:
    """Return 101, 102 or 104 of each face, 0 where its rings are sound."""
    corners, starts, first = shell
    codes = np.zeros(len(first) - 1, np.int64)
    for face in range(len(codes)):
        for ring in range(first[face], first[face + 1]):
            if codes[face] != 0:
                break
            own = corners[starts[ring] : starts[ring + 1]]
            size, again = len(own), 0
            for i in range(size):
                for j in range(i):
                    if own[i] == own[j]:
                        again += 1
                        break
                if own[i] == own[(i + 1) % size]:
                    codes[face] = 102
            if codes[face] == 0 and size - again < 3:
                codes[face] = 101
            elif codes[face] == 0 and again > 0:
                codes[face] = 104
    return codes


@njit(cache=True, nogil=True, error_model="numpy")
def planes(points: Floats, shell: Shell) -> tuple[Floats, Floats, Floats]:
    """Return the frame (3, 3) of each face, its middle, and how far its corners leave its plane.

    Rows of a frame are two directions in the plane and the normal (Newell) of its outer ring; all
    nought where that has none. Leaving is from the lowest to the highest corner, and the farthest.
    """
    corners, starts, first = shell
    count = len(first) - 1
    frames, middles, leaves = np.zeros((count, 3, 3)), np.zeros((count, 3)), np.zeros((count, 2))
    for face in range(count):
        begin, end = starts[first[face]], starts[first[face] + 1]
        total, spread = np.zeros(3), 0.0
        origin = points[corners[begin]]
        for i in range(begin, end):
            a = points[corners[i]] - origin
            b = points[corners[i + 1 if i + 1 < end else begin]] - origin
            total[0] += a[1] * b[2] - a[2] * b[1]
            total[1] += a[2] * b[0] - a[0] * b[2]
            total[2] += a[0] * b[1] - a[1] * b[0]
            spread += a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
        size = np.sqrt((total * total).sum())
        last = starts[first[face + 1]]
        for i in range(begin, last):
            middles[face] += points[corners[i]] / (last - begin)
        if size < 1e-6 * spread:
            continue
        normal = total / size
        least = np.argmin(np.abs(normal))
        across = np.zeros(3)
        across[(least + 1) % 3], across[(least + 2) % 3] = (
            -normal[(least + 2) % 3],
            normal[(least + 1) % 3],
        )
        across /= np.sqrt((across * across).sum())
        frames[face, 0], frames[face, 2] = across, normal
        frames[face, 1, 0] = normal[1] * across[2] - normal[2] * across[1]
        frames[face, 1, 1] = normal[2] * across[0] - normal[0] * across[2]
        frames[face, 1, 2] = normal[0] * across[1] - normal[1] * across[0]
        low, high = np.inf, -np.inf
        for i in range(begin, last):
            height = _along(points[corners[i]], middles[face], normal)
            low, high = min(low, height), max(high, height)
        leaves[face, 0], leaves[face, 1] = high - low, max(high, -low)
    return frames, middles, leaves


@njit(cache=True, nogil=True, error_model="numpy")
def simple_faces(
    points: Floats, shell: Shell, frames: Floats, middles: Floats
) -> NDArray[np.bool_]:
    """Return which faces are certainly simple: no sides near each other, holes inside and apart."""
    corners, starts, first = shell
    count = len(first) - 1
    simple = np.ones(count, np.bool_)
    for face in range(count):
        begin, last = starts[first[face]], starts[first[face + 1]]
        plan = _plan(points, corners[begin:last], frames[face], middles[face])
        following = _following(starts, first[face], first[face + 1])
        simple[face] = _apart(plan, following) and _holed(plan, starts, first, face)
    return simple


@njit(cache=True, nogil=True, error_model="numpy")
def shell_code(shell: Shell, points: int) -> int:
    """Return 301, 302, 303, 305 or 307; 0 where faces join to one closed two-manifold.

    Around each point the corners of faces that share a side there are one fan, and only one.
    """
    corners, starts, first = shell
    faces, sides = len(first) - 1, len(corners)
    if faces < 4:
        return 301
    following = _following(starts, 0, len(starts) - 1)
    face_of = np.empty(sides, np.int64)
    for face in range(faces):
        face_of[starts[first[face]] : starts[first[face + 1]]] = face
    low = np.minimum(corners, corners[following])
    key = low * points + np.maximum(corners, corners[following])
    order = np.argsort(key)
    once, often, same_way = False, False, False
    fan, part = np.arange(sides), np.arange(faces)
    begin = 0
    while begin < sides:
        end = begin + 1
        while end < sides and key[order[end]] == key[order[begin]]:
            end += 1
        once, often = once or end - begin == 1, often or end - begin > 2
        if end - begin == 2:
            i, j = order[begin], order[begin + 1]
            same_way = same_way or corners[i] == corners[j]
            if corners[i] != corners[j]:
                _join(fan, i, following[j])
                _join(fan, following[i], j)
            _join(part, face_of[i], face_of[j])
        begin = end
    if once:
        return 302
    if often:
        return 303
    if same_way:
        return 307
    if _roots(part) > 1:
        return 305
    used = np.zeros(points, np.bool_)
    used[corners] = True
    return 303 if _roots(fan) > used.sum() else 0


@njit(cache=True, nogil=True, error_model="numpy")
def crosses_itself(
    points: Floats, shell: Shell, frames: Floats, middles: Floats, touch_m: float
) -> bool:
    """Return whether a side of a face meets another face other than along its rim.

    Faces are planar, so two of them can only meet where a side of one meets the other. Contact
    that is no deeper than *touch_m* is none.
    """
    corners, starts, first = shell
    faces, sides = len(first) - 1, len(corners)
    following = _following(starts, 0, len(starts) - 1)
    low, high = np.empty((faces, 3)), np.empty((faces, 3))
    for face in range(faces):
        own = corners[starts[first[face]] : starts[first[face + 1]]]
        for k in range(3):
            low[face, k], high[face, k] = np.inf, -np.inf
            for i in own:
                low[face, k] = min(low[face, k], points[i, k] - touch_m)
                high[face, k] = max(high[face, k], points[i, k] + touch_m)
    for face in range(faces):
        begin, last = starts[first[face]], starts[first[face + 1]]
        own = corners[begin:last]
        plan = _plan(points, own, frames[face], middles[face])
        after = _following(starts, first[face], first[face + 1])
        normal, middle = frames[face, 2], middles[face]
        for side in range(sides):
            i, j = corners[side], corners[following[side]]
            if i > j or (begin <= side < last):  # each side once, as it runs in one of its faces
                continue
            apart = False
            for k in range(3):
                apart = apart or max(points[i, k], points[j, k]) < low[face, k]
                apart = apart or min(points[i, k], points[j, k]) > high[face, k]
            if apart:
                continue
            above = _along(points[i], middle, normal)
            beyond = _along(points[j], middle, normal)
            starts_in, ends_in = abs(above) <= touch_m, abs(beyond) <= touch_m
            if not (starts_in or ends_in or above * beyond < 0):
                continue
            shared, rim = _shared(own, after, i, j)
            if rim or (shared and not (starts_in and ends_in)):
                continue
            ends = np.empty((2, 2))
            for k in range(2):
                ends[0, k] = _along(points[i], middle, frames[face, k])
                ends[1, k] = _along(points[j], middle, frames[face, k])
            if starts_in and ends_in:
                if _runs_inside(plan, after, ends, touch_m):
                    return True
            else:
                at = 0.0 if starts_in else 1.0 if ends_in else above / (above - beyond)
                place = ends[0] + at * (ends[1] - ends[0])
                if _inside(plan, after, place[0], place[1], touch_m):
                    return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def volume(points: Floats, shell: Shell) -> float:
    """Return the volume that a closed shell of planar faces holds, below nought if inside out."""
    corners, starts, _ = shell
    total = 0.0
    for ring in range(len(starts) - 1):
        a = points[corners[starts[ring]]]
        for i in range(starts[ring] + 1, starts[ring + 1] - 1):
            b, c = points[corners[i]], points[corners[i + 1]]
            total += a[0] * (b[1] * c[2] - b[2] * c[1])
            total += a[1] * (b[2] * c[0] - b[0] * c[2])
            total += a[2] * (b[0] * c[1] - b[1] * c[0])
    return total / 6


@njit(cache=True, nogil=True, error_model="numpy")
def _plan(points: Floats, own: Numbers, frame: Floats, middle: Floats) -> Floats:
    plan = np.empty((len(own), 2))
    for i in range(len(own)):
        for k in range(2):
            plan[i, k] = _along(points[own[i]], middle, frame[k])
    return plan


@njit(cache=True, nogil=True, error_model="numpy")
def _along(point: Floats, origin: Floats, axis: Floats) -> float:
    found = 0.0
    for k in range(3):
        found += (point[k] - origin[k]) * axis[k]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _following(starts: Numbers, first: int, last: int) -> Numbers:
    """Return the corner after each corner of its ring, counted from the first of these rings."""
    origin = starts[first]
    following = np.arange(1, starts[last] - origin + 1)
    for ring in range(first, last):
        following[starts[ring + 1] - origin - 1] = starts[ring] - origin
    return following


@njit(cache=True, nogil=True, error_model="numpy")
def _apart(plan: Floats, following: Numbers) -> bool:
    """Return whether sides meet only at the corner that they share, and do not turn back there."""
    for i in range(len(plan)):
        a, b = plan[i], plan[following[i]]
        for j in range(i):
            c, d = plan[j], plan[following[j]]
            if following[i] == j:
                if _back(b, a, d):
                    return False
            elif following[j] == i:
                if _back(a, b, c):
                    return False
            elif _near(a, b, c, d):
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _back(corner: Floats, one: Floats, other: Floats) -> bool:
    """Return whether two sides leave their corner in the same direction."""
    ax, ay = one[0] - corner[0], one[1] - corner[1]
    bx, by = other[0] - corner[0], other[1] - corner[1]
    turn = abs(ax * by - ay * bx)
    return bool(ax * bx + ay * by > 0 and turn <= CLEAR_M * np.hypot(ax, ay) * np.hypot(bx, by))


@njit(cache=True, nogil=True, error_model="numpy")
def _near(a: Floats, b: Floats, c: Floats, d: Floats) -> bool:
    """Return whether the lines a–b and c–d come closer than CLEAR_M."""
    for k in range(2):
        if max(a[k], b[k]) < min(c[k], d[k]) - CLEAR_M:
            return False
        if min(a[k], b[k]) > max(c[k], d[k]) + CLEAR_M:
            return False
    for p, q, r, s in ((a, b, c, d), (c, d, a, b)):
        long = max(np.hypot(q[0] - p[0], q[1] - p[1]), 1e-12)
        one = ((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])) / long
        other = ((q[0] - p[0]) * (s[1] - p[1]) - (q[1] - p[1]) * (s[0] - p[0])) / long
        if min(one, other) > CLEAR_M or max(one, other) < -CLEAR_M:
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _holed(plan: Floats, starts: Numbers, first: Numbers, face: int) -> bool:
    """Return whether each hole runs the other way, in the outer ring and in no other hole.

    No two rings meet.
    """
    origin = starts[first[face]]
    outer = _doubled_area(plan[: starts[first[face] + 1] - origin])
    for hole in range(first[face] + 1, first[face + 1]):
        corner = plan[starts[hole] - origin]
        if _doubled_area(plan[starts[hole] - origin : starts[hole + 1] - origin]) * outer >= 0:
            return False
        for ring in range(first[face], first[face + 1]):
            if ring != hole:
                own = plan[starts[ring] - origin : starts[ring + 1] - origin]
                after = (np.arange(len(own)) + 1) % len(own)
                if _odd(own, after, corner[0], corner[1]) != (ring == first[face]):
                    return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _doubled_area(ring: Floats) -> float:
    total, before = 0.0, ring[-1]
    for here in ring:
        total += before[0] * here[1] - here[0] * before[1]
        before = here
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _odd(plan: Floats, following: Numbers, x: float, y: float) -> bool:
    """Return whether a place is inside a face: a ray from it leaves an odd number of times."""
    odd = False
    for i in range(len(plan)):
        x1, y1 = plan[i]
        x2, y2 = plan[following[i]]
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            odd = not odd
    return odd


@njit(cache=True, nogil=True, error_model="numpy")
def _inside(plan: Floats, following: Numbers, x: float, y: float, touch_m: float) -> bool:
    """Return whether a place is deeper inside a face than a touch."""
    if not _odd(plan, following, x, y):
        return False
    for i in range(len(plan)):
        x1, y1 = plan[i]
        x2, y2 = plan[following[i]]
        size = max((x2 - x1) ** 2 + (y2 - y1) ** 2, 1e-18)
        along = min(max(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / size, 0.0), 1.0)
        if np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1)) < touch_m:
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _runs_inside(plan: Floats, following: Numbers, ends: Floats, touch_m: float) -> bool:
    """Return whether a line in the plane of a face is somewhere deeper inside it than a touch."""
    cuts = np.zeros(len(plan) + 2)
    cuts[1], count = 1.0, 2
    way = ends[1] - ends[0]
    for i in range(len(plan)):
        a, b = plan[i] - ends[0], plan[following[i]] - ends[0]
        one, other = way[0] * a[1] - way[1] * a[0], way[0] * b[1] - way[1] * b[0]
        if (one > 0) != (other > 0):
            meet = a + one / (one - other) * (b - a)
            at = (meet * way).sum() / max((way * way).sum(), 1e-18)
            if 0 < at < 1:
                cuts[count] = at
                count += 1
    ordered = np.sort(cuts[:count])
    for k in range(count - 1):
        for share in (0.5, 0.1, 0.9):
            at = ordered[k] + share * (ordered[k + 1] - ordered[k])
            if _inside(
                plan, following, ends[0, 0] + at * way[0], ends[0, 1] + at * way[1], touch_m
            ):
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _shared(own: Numbers, following: Numbers, i: int, j: int) -> tuple[bool, bool]:
    """Return whether a face has one of two points as a corner, and both as ends of a side."""
    one = False
    for k in range(len(own)):
        if own[k] == i or own[k] == j:
            one = True
            after = own[following[k]]
            if after in (i, j) and after != own[k]:
                return True, True
    return one, False


@njit(cache=True, nogil=True, error_model="numpy")
def _root(link: Numbers, i: int) -> int:
    while link[i] != i:
        link[i] = link[link[i]]
        i = link[i]
    return i


@njit(cache=True, nogil=True, error_model="numpy")
def _join(link: Numbers, i: int, j: int) -> None:
    link[_root(link, i)] = _root(link, j)


@njit(cache=True, nogil=True, error_model="numpy")
def _roots(link: Numbers) -> int:
    count = 0
    for i in range(len(link)):
        count += link[i] == i
    return count
