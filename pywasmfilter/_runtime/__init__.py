"""What makes a plain interpreter at home inside a module. Only in modules, never under a plain Python.

image.py        runs once, while the runtime image is built
build.py        runs in the image for each build: imports the user's code, reports to the compiler
importer.py     finds modules: at build time through the compiler, at run time among those frozen in
codecs.py       which of the standard library's codecs a module has
environment.py  standard streams, clocks, randomness, os.environ: what differs from a machine with an OS
logging.py      the standard library's `logging`, sent to the proxy's log; `testing` uses its parts too
"""
