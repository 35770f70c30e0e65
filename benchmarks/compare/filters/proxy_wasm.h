/* The part of the Proxy-Wasm ABI that the hand-written filters use, and the little memory that they need. */
#include <stddef.h>
#include <stdint.h>

#define HOST(name) __attribute__((import_module("env"), import_name("proxy_" #name))) uint32_t
#define EXPORT(name) __attribute__((export_name(#name)))
#define LENGTH(text) (sizeof(text) - 1)

enum { REQUEST_HEADERS = 0, CALL_RESPONSE_HEADERS = 6, REQUEST_BODY = 0, REQUEST = 0, CONTINUE = 0, PAUSE = 1 };

HOST(get_header_map_value) get_header(uint32_t map, const char *key, size_t key_size, char **value, size_t *size);
HOST(add_header_map_value)
add_header(uint32_t map, const char *key, size_t key_size, const char *value, size_t size);
HOST(get_buffer_bytes) get_buffer(uint32_t buffer, size_t start, size_t maximum, char **data, size_t *size);
HOST(send_local_response)
send_response(uint32_t status, const char *details, size_t details_size, const char *body, size_t body_size,
              const char *headers, size_t headers_size, int32_t grpc_status);
HOST(http_call)
http_call(const char *upstream, size_t upstream_size, const char *headers, size_t headers_size, const char *body,
          size_t body_size, const char *trailers, size_t trailers_size, uint32_t milliseconds, uint32_t *token);
HOST(set_effective_context) set_effective_context(uint32_t context);
HOST(continue_stream) continue_stream(uint32_t stream);

EXPORT(proxy_abi_version_0_2_1) void abi_version(void) {}

EXPORT(proxy_on_context_create) void on_context_create(uint32_t context, uint32_t parent) {}

/* One buffer for all: every value is used up before the next one is asked for. */
EXPORT(malloc) void *allocate(size_t size) {
    static _Alignas(16) char buffer[1 << 20];
    return size <= sizeof buffer ? buffer : NULL;
}
