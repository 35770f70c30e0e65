/* The host functions of the Proxy-Wasm ABI, in the order of its specification.
 *
 * Every one of them answers a status; 0 is OK. Names ending in `_size` are lengths in bytes; a `return_` pointer is
 * where the host writes its answer, whose memory the host takes from our `malloc` and we give back with `free`.
 *
 * A module declares one version of the ABI, and hosts offer the functions of that version only. The functions of every
 * version are here; in a module, those that its version lacks are the stand-ins of stubs.c and answer 12, Unimplemented.
 */
#ifndef PROXY_WASM_ABI_H
#define PROXY_WASM_ABI_H

#include <stddef.h>
#include <stdint.h>

#define HOST(name) __attribute__((import_module("env"), import_name(#name))) uint32_t name

enum { STATUS_OK = 0, STATUS_NOT_FOUND = 1, STATUS_INTERNAL_FAILURE = 10, STATUS_UNIMPLEMENTED = 12 };
enum { LOG_INFO = 2, LOG_ERROR = 4, LOG_CRITICAL = 5 };
enum { ACTION_CONTINUE = 0, ACTION_PAUSE = 1 };
enum { STREAM_HTTP_REQUEST = 0, STREAM_HTTP_RESPONSE = 1, STREAM_DOWNSTREAM = 2, STREAM_UPSTREAM = 3 };
enum { BUFFER_VM_CONFIGURATION = 6, BUFFER_PLUGIN_CONFIGURATION = 7 };

/* Logging, clocks and timers */
HOST(proxy_log)(int32_t level, const char *message, size_t message_size);
HOST(proxy_get_log_level)(int32_t *return_level); /* since 0.2.1 */
HOST(proxy_get_current_time_nanoseconds)(uint64_t *return_time);
HOST(proxy_set_tick_period_milliseconds)(uint32_t period);

/* Contexts and streams */
HOST(proxy_set_effective_context)(uint32_t context_id);
HOST(proxy_done)(void);
HOST(proxy_continue_stream)(int32_t stream_type); /* since 0.2.0 */
HOST(proxy_close_stream)(int32_t stream_type);    /* since 0.2.0 */
HOST(proxy_continue_request)(void);               /* 0.1.0 only */
HOST(proxy_continue_response)(void);              /* 0.1.0 only */
HOST(proxy_clear_route_cache)(void);              /* 0.1.0 only */
HOST(proxy_send_local_response)(uint32_t status, const char *details, size_t details_size, const char *body,
                                size_t body_size, const char *headers, size_t headers_size, int32_t grpc_status);

/* Buffers */
HOST(proxy_get_configuration)(char **return_data, size_t *return_size); /* 0.1.0 only */
HOST(proxy_get_buffer_bytes)(int32_t type, size_t start, size_t max_size, char **return_data, size_t *return_size);
HOST(proxy_get_buffer_status)(int32_t type, size_t *return_size, uint32_t *return_flags);
HOST(proxy_set_buffer_bytes)(int32_t type, size_t start, size_t size, const char *data, size_t data_size);

/* Header maps */
HOST(proxy_get_header_map_size)(int32_t map, size_t *return_size);
HOST(proxy_get_header_map_pairs)(int32_t map, char **return_data, size_t *return_size);
HOST(proxy_set_header_map_pairs)(int32_t map, const char *data, size_t size);
HOST(proxy_get_header_map_value)(int32_t map, const char *key, size_t key_size, char **return_value,
                                 size_t *return_value_size);
HOST(proxy_add_header_map_value)(int32_t map, const char *key, size_t key_size, const char *value, size_t value_size);
HOST(proxy_replace_header_map_value)(int32_t map, const char *key, size_t key_size, const char *value,
                                     size_t value_size);
HOST(proxy_remove_header_map_value)(int32_t map, const char *key, size_t key_size);

/* Properties and foreign functions */
HOST(proxy_get_property)(const char *path, size_t path_size, char **return_value, size_t *return_value_size);
HOST(proxy_set_property)(const char *path, size_t path_size, const char *value, size_t value_size);
HOST(proxy_call_foreign_function)(const char *name, size_t name_size, const char *arguments, size_t arguments_size,
                                  char **return_data, size_t *return_size);

/* HTTP and gRPC calls */
HOST(proxy_http_call)(const char *cluster, size_t cluster_size, const char *headers, size_t headers_size,
                      const char *body, size_t body_size, const char *trailers, size_t trailers_size,
                      uint32_t timeout, uint32_t *return_token);
HOST(proxy_grpc_call)(const char *service, size_t service_size, const char *service_name, size_t service_name_size,
                      const char *method, size_t method_size, const char *metadata, size_t metadata_size,
                      const char *message, size_t message_size, uint32_t timeout, uint32_t *return_token);
HOST(proxy_grpc_stream)(const char *service, size_t service_size, const char *service_name, size_t service_name_size,
                        const char *method, size_t method_size, const char *metadata, size_t metadata_size,
                        uint32_t *return_token);
HOST(proxy_grpc_send)(uint32_t token, const char *message, size_t message_size, int32_t end_of_stream);
HOST(proxy_grpc_close)(uint32_t token);
HOST(proxy_grpc_cancel)(uint32_t token);
HOST(proxy_get_status)(uint32_t *return_code, char **return_message, size_t *return_message_size);

/* Shared data and queues */
HOST(proxy_get_shared_data)(const char *key, size_t key_size, char **return_value, size_t *return_value_size,
                            uint32_t *return_cas);
HOST(proxy_set_shared_data)(const char *key, size_t key_size, const char *value, size_t value_size, uint32_t cas);
HOST(proxy_register_shared_queue)(const char *name, size_t name_size, uint32_t *return_id);
HOST(proxy_resolve_shared_queue)(const char *vm_id, size_t vm_id_size, const char *name, size_t name_size,
                                 uint32_t *return_id);
HOST(proxy_enqueue_shared_queue)(uint32_t id, const char *data, size_t data_size);
HOST(proxy_dequeue_shared_queue)(uint32_t id, char **return_data, size_t *return_size);

/* Metrics */
HOST(proxy_define_metric)(int32_t type, const char *name, size_t name_size, uint32_t *return_id);
HOST(proxy_increment_metric)(uint32_t id, int64_t offset);
HOST(proxy_record_metric)(uint32_t id, uint64_t value);
HOST(proxy_get_metric)(uint32_t id, uint64_t *return_value);

/* The functions of wasi_snapshot_preview1 that every host offers. */
#define WASI(name) __attribute__((import_module("env"), import_name("wasi_snapshot_preview1." #name))) uint32_t name
WASI(clock_time_get)(uint32_t clock, uint64_t precision, uint64_t *return_time);
WASI(random_get)(uint8_t *data, size_t size);
WASI(environ_sizes_get)(size_t *return_count, size_t *return_size);
WASI(environ_get)(char **return_entries, char *return_data);

#endif
