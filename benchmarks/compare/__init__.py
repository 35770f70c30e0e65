"""What a filter costs in Envoy, beside other ways to do the same job: `python -m benchmarks.compare`.

    jobs        what is done: the request, and how it is checked that it was done
    filters/    the filters, a folder for each job
    builds      the modules: compilers, and the time they take
    rivals      who does it: from a name and a job to filters of Envoy's configuration
    ext_proc    the server of one rival, in a process of its own
    proxy       an Envoy with a rival in it
    load        requests: `wrk`, or threads of this process
    measure     CPU time, latency, start, memory
    results     the document that a run leaves, and what is calculated from it
    report      the document as text, as the tables of docs/performance.md, and as plots
    plots       bars in SVG

Linux only.
"""
