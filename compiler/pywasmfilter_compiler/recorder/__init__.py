"""A recorder inside a module: what passes between it and its proxy goes to the proxy's log, a line per event.

    functions    what the parameters of host functions mean
    program      the recorder's code, in text form, made for one module
    instrument   the module and its recorder become one module

Each host function gets a wrapper, which everything in the module calls in its place, and each exported callback gets
one, which is exported in its place. A wrapper calls what it wraps, and logs a line of ASCII text at level critical
through the real `proxy_log`, an event each:

    pyfilter-recording: VM callback NAME u0000002a
    pyfilter-recording: VM call NAME u00000000 x3a70617468 s00000000 x2f
    pyfilter-recording: VM return NAME u00000001

VM is a number of 16 digits that differs between the VMs of one proxy, whose lines mix. Values are numbers with all
their digits, `u` without and `i` with a sign, or bytes, `x`; `s` is the status, and results follow it. Bytes that are
more than fit a line end with `~` and how many they were. `-` stands for what the module has no memory at. All digits
are hexadecimal.

The line is put together in memory that the module does not see: the last pages of its memory are the recorder's, and
`memory.size` and `memory.grow` answer as if they were not there. When the module's memory grows they move along. So
it does not matter how a module manages its memory. Nor does it matter what the host calls in the middle of a host
call: a line is written at once, after the call. While an allocator runs nothing is recorded, since it is the host that
calls it, as part of a host function.
"""

from __future__ import annotations

from .functions import FUNCTIONS, Signature
from .instrument import instrument
from .program import PREFIX

__all__ = ["FUNCTIONS", "PREFIX", "Signature", "instrument"]
