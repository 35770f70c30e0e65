"""Manifests for Istio, Envoy and others, made of a module and a few options; and what a proxy would say of a module.

    request = make_request(read_module(Path("edge.wasm")), options)    what is wanted, checked
    documents = generate(request)                                      what is written, with comments
    text = as_yaml(documents)                                          or as_json, or write_folder

Kubernetes' kinds are pydantic models (`kinds`), which forbid what they do not know. Envoy's configuration is plain
dictionaries, as in `envoy.bootstrap`; the tests have it read by Envoy itself and by its protobuf messages. What is new
in which version is said in `versions` only. The functions raise UsageError and CompilerError.
"""
