/* Stand-ins for the host, linked into the runtime image while it is being built.
 *
 * The image is put together by a linker that refuses undefined symbols, and it starts the interpreter once where no
 * proxy is near. Each stand-in answers 12, Unimplemented. Linking then turns every use of one into an import: a name
 * with a dot is `module.name`, any other is a function of `env`. What the image's version of the ABI lacks stays as it is.
 */
#include <stdint.h>

#define STUB(name, ...)                                                                                                \
    __attribute__((export_name(name))) uint32_t CONCAT(stub_, __LINE__)(__VA_ARGS__) { return 12; }
#define CONCAT(a, b) CONCAT_(a, b)
#define CONCAT_(a, b) a##b

typedef uint32_t u32;
typedef uint64_t u64;

STUB("proxy_log", u32 a, u32 b, u32 c)
STUB("proxy_get_log_level", u32 a)
STUB("proxy_get_current_time_nanoseconds", u32 a)
STUB("proxy_set_tick_period_milliseconds", u32 a)
STUB("proxy_set_effective_context", u32 a)
STUB("proxy_done", void)
STUB("proxy_continue_stream", u32 a)
STUB("proxy_close_stream", u32 a)
STUB("proxy_send_local_response", u32 a, u32 b, u32 c, u32 d, u32 e, u32 f, u32 g, u32 h)
STUB("proxy_get_buffer_bytes", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_get_buffer_status", u32 a, u32 b, u32 c)
STUB("proxy_set_buffer_bytes", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_get_header_map_size", u32 a, u32 b)
STUB("proxy_get_header_map_pairs", u32 a, u32 b, u32 c)
STUB("proxy_set_header_map_pairs", u32 a, u32 b, u32 c)
STUB("proxy_get_header_map_value", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_add_header_map_value", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_replace_header_map_value", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_remove_header_map_value", u32 a, u32 b, u32 c)
STUB("proxy_get_property", u32 a, u32 b, u32 c, u32 d)
STUB("proxy_set_property", u32 a, u32 b, u32 c, u32 d)
STUB("proxy_call_foreign_function", u32 a, u32 b, u32 c, u32 d, u32 e, u32 f)
STUB("proxy_continue_request", void)
STUB("proxy_continue_response", void)
STUB("proxy_clear_route_cache", void)
STUB("proxy_get_configuration", u32 a, u32 b)
STUB("proxy_http_call", u32 a, u32 b, u32 c, u32 d, u32 e, u32 f, u32 g, u32 h, u32 i, u32 j)
STUB("proxy_grpc_call", u32 a, u32 b, u32 c, u32 d, u32 e, u32 f, u32 g, u32 h, u32 i, u32 j, u32 k, u32 l)
STUB("proxy_grpc_stream", u32 a, u32 b, u32 c, u32 d, u32 e, u32 f, u32 g, u32 h, u32 i)
STUB("proxy_grpc_send", u32 a, u32 b, u32 c, u32 d)
STUB("proxy_grpc_close", u32 a)
STUB("proxy_grpc_cancel", u32 a)
STUB("proxy_get_status", u32 a, u32 b, u32 c)
STUB("proxy_get_shared_data", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_set_shared_data", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_register_shared_queue", u32 a, u32 b, u32 c)
STUB("proxy_resolve_shared_queue", u32 a, u32 b, u32 c, u32 d, u32 e)
STUB("proxy_enqueue_shared_queue", u32 a, u32 b, u32 c)
STUB("proxy_dequeue_shared_queue", u32 a, u32 b, u32 c)
STUB("proxy_define_metric", u32 a, u32 b, u32 c, u32 d)
STUB("proxy_increment_metric", u32 a, u64 b)
STUB("proxy_record_metric", u32 a, u64 b)
STUB("proxy_get_metric", u32 a, u32 b)
STUB("wasi_snapshot_preview1.clock_time_get", u32 a, u64 b, u32 c)
STUB("wasi_snapshot_preview1.random_get", u32 a, u32 b)
STUB("wasi_snapshot_preview1.environ_sizes_get", u32 a, u32 b)
STUB("wasi_snapshot_preview1.environ_get", u32 a, u32 b)
