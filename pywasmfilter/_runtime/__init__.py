"""What makes a plain interpreter at home inside a module. Only in modules, never under a plain Python.

first.py        where the runtime image begins: imports the others so that memory stays compact
image.py        runs once, while the runtime image is built
build.py        runs in the image for each build: imports the user's code, reports to the compiler
importer.py     finds modules: at build time through the compiler, at run time among those frozen in
slimming.py     what only people read of a module's code: docstrings, columns
ledger.py       what each module of a build takes of the memory, and which import brought it in
codecs.py       which of the standard library's codecs a module has
environment.py  standard streams, clocks, randomness, os.environ: what differs from a machine with an OS
logging.py      the standard library's `logging`, sent to the proxy's log; `testing` uses its parts too
"""
