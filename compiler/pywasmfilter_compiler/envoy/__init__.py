"""Running a built module in a real Envoy on this machine: what `pyfilter run` and the end-to-end tests stand on.

    binary      where the Envoy executable is
    bootstrap   Envoy's configuration, as plain dictionaries
    log         Envoy's log, read back as entries
    process     one Envoy process: start, wait until ready, ask, stop
    http1       HTTP/1.1 messages on a stream, byte for byte
    echo        an upstream that answers with what it received
    run         the three together: `serve(module)` gives a URL

Everything listens on 127.0.0.1 only, works in temporary directories, and ends with its `with` block.
"""
