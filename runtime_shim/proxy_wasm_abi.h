/* The host functions of the Proxy-Wasm ABI 0.2.1, in the order of its specification.
 *
 * Every one of them answers a status; 0 is OK. Names ending in `_size` are lengths in bytes; a `return_` pointer is
 * where the host writes its answer, whose memory the host takes from our `malloc` and we give back with `free`.
 */
#ifndef PROXY_WASM_ABI_H
#define PROXY_WASM_ABI_H

#include <stddef.h>
#include <stdint.h>

#define HOST(name) __attribute__((import_module("env"), import_name(#name))) uint32_t name

enum { STATUS_OK = 0, STATUS_NOT_FOUND = 1 };
enum { LOG_INFO = 2, LOG_ERROR = 4, LOG_CRITICAL = 5 };
enum { ACTION_CONTINUE = 0, ACTION_PAUSE = 1 };

/* Logging, clocks and timers */
HOST(proxy_log)(int32_t level, const char *message, size_t message_size);
HOST(proxy_get_log_level)(int32_t *return_level);
HOST(proxy_get_current_time_nanoseconds)(uint64_t *return_time);
HOST(proxy_set_tick_period_milliseconds)(uint32_t period);

/* Contexts and streams */
HOST(proxy_set_effective_context)(uint32_t context_id);
HOST(proxy_done)(void);
HOST(proxy_continue_stream)(int32_t stream_type);
HOST(proxy_close_stream)(int32_t stream_type);
HOST(proxy_send_local_response)(uint32_t status, const char *details, size_t details_size, const char *body,
                                size_t body_size, const char *headers, size_t headers_size, int32_t grpc_status);

/* Buffers */
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

/* The functions of wasi_snapshot_preview1 that every host offers. */
#define WASI(name) __attribute__((import_module("env"), import_name("wasi_snapshot_preview1." #name))) uint32_t name
WASI(clock_time_get)(uint32_t clock, uint64_t precision, uint64_t *return_time);
WASI(random_get)(uint8_t *data, size_t size);
WASI(environ_sizes_get)(size_t *return_count, size_t *return_size);
WASI(environ_get)(char **return_entries, char *return_data);

#endif
