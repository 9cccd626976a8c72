"""Compiled loops on runs of pixels: connect, split, trace and measure objects. No checks: the callers validate.

Everything works on *runs*: a run k is the pixels ``(y[k], x0[k] .. x1[k]-1)``, maximal along its row, and runs are
sorted by (y, x0) inside their group. ``start`` (G + 1,) int64 delimits the groups (components, or instances). A group's
cost is its pixels and runs, never its bounding box, so a ring round the slide costs what it covers.

*Slots* lay the pixels of runs out along one axis, with a void slot before the first and after every run, so that the
left and right neighbour of slot s are s - 1 and s + 1; ``up`` and ``down`` hold the slots of the vertical neighbours.
Slot 0 is void and stands for every missing neighbour. 4-neighbours never belong to two components, so whatever moves
along these links is component-local by construction, and nothing depends on where a component lies or what lies
beside it.

In the shapes below: R runs, G groups, S slots (voids included), J stretches of `link_slots`, P prompts or classes.

All arithmetic that decides anything is on integers: sums do not depend on their order, results not on the compiler.

Hot loops index slices from 0, or with unsigned numbers: for a signed index numba also emits Python's counting from
the end, which keeps short loops from being vectorised (2-3 times slower).

A file a subject. Numba's on-disk cache notices changes of a kernel's own file only, so kernels that call each other
live together; the one exception is `union_find`.
"""

from wsiparse.objects.kernels.distance import FINE, SHORT_RUN, diffuse, distance_levels, squared_distances
from wsiparse.objects.kernels.measure import measure_classes, measure_shape, sum_bytes
from wsiparse.objects.kernels.panoptic import combine_cells, quantise
from wsiparse.objects.kernels.runs import (
    connect_runs,
    count_runs,
    fill_runs,
    gather,
    group_runs,
    link_slots,
    paint_runs,
    slot_starts,
)
from wsiparse.objects.kernels.split import (
    LEVELS_PER_PX,
    add_levels,
    clear_levels,
    coarse_levels,
    count_instance_runs,
    instance_runs,
    split_components,
)
from wsiparse.objects.kernels.trace import trace_runs

__all__ = [
    "FINE",
    "LEVELS_PER_PX",
    "SHORT_RUN",
    "add_levels",
    "clear_levels",
    "coarse_levels",
    "combine_cells",
    "connect_runs",
    "count_instance_runs",
    "count_runs",
    "diffuse",
    "distance_levels",
    "fill_runs",
    "gather",
    "group_runs",
    "instance_runs",
    "link_slots",
    "measure_classes",
    "measure_shape",
    "paint_runs",
    "quantise",
    "slot_starts",
    "split_components",
    "squared_distances",
    "sum_bytes",
    "trace_runs",
]
